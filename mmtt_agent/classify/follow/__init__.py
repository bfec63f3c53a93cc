"""``mmtt classify --follow``: a directory's captures, each taken once as soon as it is finished."""
