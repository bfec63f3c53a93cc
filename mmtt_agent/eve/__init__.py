"""Suricata's events (EVE), enriched with verdicts: ``mmtt eve``."""
