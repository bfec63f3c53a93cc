"""Training, evaluation and export of the model that mmtt ships (needs torch)."""
