"""``mmtt bench``: speed, as ratios to a peer or to a run without mmtt, measured in the same run."""
