# @TEST-DOC: In bare mode (zeek -b), too: each script loads what it needs, and there are windows, verdicts and notices.
# @TEST-REQUIRES: python3 -c "import websockets"
# @TEST-EXEC: bash %INPUT
# @TEST-EXEC: btest-diff all

for script in "$PACKAGE"/*.zeek; do
    zeek -b -a "$script" || exit 1
done
$COLLECT "$DATA/lab.pcap" >windows || exit 1
$COLLECT "$DATA/lab.pcap" -b >windows.bare || exit 1
cmp windows windows.bare || exit 1
for optional in "" "$PACKAGE/unexpected-service.zeek" "$PACKAGE/broker-agents.zeek"; do
    rm -f ./*.log
    $RUN "--incidents some" -b -r "$DATA/office.pcap" $optional -e "redef MMTT::malicious_flows = T;"
    echo "# $(basename "$optional")"
    cat said
    zeek-cut status <mmtt.log | sort | uniq -c
    zeek-cut mmtt_service <conn.log | sort | uniq -c
    zeek-cut note <notice.log | sort | uniq -c
done >all
