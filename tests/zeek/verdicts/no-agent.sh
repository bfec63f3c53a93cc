# @TEST-DOC: An agent that can't be started: one line says so, the rows say no_agent, conn.log is complete.
# @TEST-EXEC: bash %INPUT
# @TEST-EXEC: btest-diff said

MMTT_AGENT=/nonexistent/mmtt timeout 100 zeek -C "$PACKAGE" -r "$DATA/office.pcap" 2>stderr
echo "exit status $?" >said
sed 's/^.*, line [0-9]*: mmtt: /mmtt: /; s/sh: .*: not found/sh: not found/' stderr >>said
zeek-cut status <mmtt.log | sort | uniq -c >>said
zeek-cut uid <conn.log | wc -l >>said
