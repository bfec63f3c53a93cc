"""Trainings besides the one that ships, that say how good it is, and against what."""
