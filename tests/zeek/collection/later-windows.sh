# @TEST-DOC: Windows from packets 1, 257 and 2049 on, with 32 packets each. Sizes are the numbers of the packets.
# @TEST-EXEC: $COLLECT later >windows
# @TEST-EXEC: btest-diff windows
