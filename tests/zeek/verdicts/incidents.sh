# @TEST-DOC: What an agent finds over connections: rows of mmtt_incidents.log with addresses, a notice for each that opens.
# @TEST-REQUIRES: python3 -c "import websockets"
# @TEST-EXEC: bash %INPUT
# @TEST-EXEC: btest-diff rows
# @TEST-EXEC: btest-diff notices

$RUN "--incidents some" -r "$DATA/office.pcap"
(
    cat said
    grep '^#fields\|^#types' mmtt_incidents.log
    zeek-cut ts id state orig_h resp_h resp_p kind score connections first last orig_bytes resp_bytes reason \
        <mmtt_incidents.log
    echo "uids that conn.log has: $(zeek-cut uids <mmtt_incidents.log | grep -cFf - conn.log)"
) >rows
zeek-cut ts note id.orig_h src dst p msg sub <notice.log >notices
