# @TEST-DOC: Incidents that can't be are refused and said so once; of hosts that are none of this Zeek's, the row has no address.
# @TEST-REQUIRES: python3 -c "import websockets"
# @TEST-EXEC: bash %INPUT
# @TEST-EXEC: btest-diff all

count='event zeek_done() { print fmt("refused %d, nameless %d", MMTT::counts$incidents_refused, MMTT::counts$incidents_nameless); }'
$RUN "--incidents wrong" -r "$DATA/office.pcap" -e "$count"
(
    cat said
    zeek-cut id state orig_h resp_h <mmtt_incidents.log
) >all
