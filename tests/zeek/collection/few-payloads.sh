# @TEST-DOC: A window is over after 64 packets, however few had payload.
# @TEST-EXEC: $COLLECT acknowledgements >windows
# @TEST-EXEC: btest-diff windows
