# @TEST-DOC: A row in mmtt.log for each window; with a capture file nothing in it depends on the run but the uids.
# @TEST-REQUIRES: python3 -c "import websockets"
# @TEST-EXEC: bash %INPUT
# @TEST-EXEC: btest-diff said
# @TEST-EXEC: btest-diff rows

$RUN "" -r "$DATA/office.pcap"
(grep '^#fields' mmtt.log; zeek-cut ts id.orig_h id.orig_p id.resp_h id.resp_p proto window packets service \
    service_score application application_score malicious malicious_score malicious_kind status latency model incident <mmtt.log) >rows
