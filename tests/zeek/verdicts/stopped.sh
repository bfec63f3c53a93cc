# @TEST-DOC: Zeek is stopped while verdicts are under way: every window has its row, every line of conn.log that waits is written, nothing is complained of.
# @TEST-REQUIRES: python3 -c "import websockets"
# @TEST-EXEC: bash %INPUT
# @TEST-EXEC: btest-diff all

# Stopped by the script rather than by a signal, while the trace waits for verdicts, so that it is always at the same place.
cat >stop.zeek <<'END'
event MMTT::tick(protocol: count, agent: string)
	{
	terminate();
	}
END
$RUN "--mode mute" -r "$DATA/office.pcap" stop.zeek
cp said all
zeek-cut status <mmtt.log | sort | uniq -c >>all
zeek-cut uid <conn.log | wc -l >>all
