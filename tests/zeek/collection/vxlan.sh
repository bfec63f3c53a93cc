# @TEST-DOC: Inside VXLAN the inner connection has its own series, and the tunnel one of its own.
# @TEST-EXEC: $COLLECT vxlan >windows
# @TEST-EXEC: btest-diff windows
