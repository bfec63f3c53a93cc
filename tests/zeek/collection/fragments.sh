# @TEST-DOC: A datagram in fragments is one packet, at the time of its last fragment.
# @TEST-EXEC: $COLLECT fragments >windows
# @TEST-EXEC: btest-diff windows
