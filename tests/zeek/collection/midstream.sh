# @TEST-DOC: A session whose beginning the capture has missed.
# @TEST-EXEC: $COLLECT $DATA/midstream.pcap >windows
# @TEST-EXEC: btest-diff windows
