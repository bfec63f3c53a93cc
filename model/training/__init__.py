"""From a data set and a network to weights: draws, losses, pretraining, a teacher, checkpoints, many at a time."""
