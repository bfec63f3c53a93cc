# @TEST-DOC: Segments that are sent twice count twice, out of order or not.
# @TEST-EXEC: $COLLECT repeated >windows
# @TEST-EXEC: btest-diff windows
