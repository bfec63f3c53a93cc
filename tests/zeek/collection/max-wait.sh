# @TEST-DOC: A packet 60 s after the first belongs to the window, one a microsecond later does not; a connection gone quiet is ended by the clock.
# @TEST-EXEC: $COLLECT wait >windows
# @TEST-EXEC: btest-diff windows
