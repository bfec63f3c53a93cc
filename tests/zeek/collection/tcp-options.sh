# @TEST-DOC: Headers of all lengths; acknowledgements as long as small payloads are not taken for payload, nor the other way round.
# @TEST-EXEC: $COLLECT options >windows
# @TEST-EXEC: btest-diff windows
