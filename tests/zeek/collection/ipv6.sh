# @TEST-DOC: IPv6, with and without extension headers.
# @TEST-EXEC: $COLLECT ipv6 >windows
# @TEST-EXEC: btest-diff windows
