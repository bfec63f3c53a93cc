# @TEST-DOC: A capture that begins with the answer: once Zeek knows who is the originator, signs are as if it had seen all.
# @TEST-EXEC: $COLLECT tcp >whole
# @TEST-EXEC: $COLLECT flipped >windows
# @TEST-EXEC: cmp whole windows
