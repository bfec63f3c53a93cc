"""Figures from logits and labels, in numpy alone: scores, calibration, what a score hangs on."""
