# @TEST-DOC: conn.log has each connection's verdict, whether the connection ends before the verdict or after, and in the same order.
# @TEST-REQUIRES: python3 -c "import websockets"
# @TEST-EXEC: bash %INPUT
# @TEST-EXEC: btest-diff verdicts

fields="ts id.orig_h id.orig_p id.resp_h id.resp_p mmtt_service mmtt_application mmtt_malicious"
for delay in 0 0.7; do
    $RUN "--credit 4 --delay $delay" -D -r "$DATA/office.pcap" || exit 1
    zeek-cut $fields <conn.log >conn.$delay
done
cmp conn.0 conn.0.7 || exit 1
mkdir without && (cd without && zeek -D -C -r "$DATA/office.pcap") || exit 1
zeek-cut ts id.orig_h id.orig_p conn_state <without/conn.log | sort >want
zeek-cut ts id.orig_h id.orig_p conn_state <conn.log | sort >have
cmp want have || exit 1
cp conn.0 verdicts
