# @TEST-DOC: A TCP connection: its payload, signed by who sent it, and times from its first packet; handshake and end are not in it.
# @TEST-EXEC: $COLLECT tcp >windows
# @TEST-EXEC: btest-diff windows
