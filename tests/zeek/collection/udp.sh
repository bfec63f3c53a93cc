# @TEST-DOC: Datagrams; an empty one is not in the series.
# @TEST-EXEC: $COLLECT udp >windows
# @TEST-EXEC: btest-diff windows
