# @TEST-DOC: QUIC: one series for each connection.
# @TEST-EXEC: $COLLECT $DATA/office.pcap -f "udp port 443" >windows
# @TEST-EXEC: btest-diff windows
