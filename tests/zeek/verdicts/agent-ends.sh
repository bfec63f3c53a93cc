# @TEST-DOC: An agent that dies, is killed, leaves or falls silent half-way: what it had answered counts, Zeek ends, conn.log is complete.
# @TEST-REQUIRES: python3 -c "import websockets"
# @TEST-EXEC: bash %INPUT
# @TEST-EXEC: btest-diff all

patience='redef MMTT::answer_timeout = 3sec; redef MMTT::agent_start_timeout = 3sec;'
for mode in die killed bye mute silent stopped; do
    $RUN "--mode $mode --after 5 --credit 4" -r "$DATA/office.pcap" -e "$patience"
    echo "# $mode"
    cat said
    zeek-cut status <mmtt.log | grep -v too_short | uniq -c
    zeek-cut uid <conn.log | wc -l
done | sed 's/ended with status 137.*/ended with status 137/' >all
