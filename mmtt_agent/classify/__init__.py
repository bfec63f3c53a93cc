"""Verdicts on capture files without Zeek, written as Zeek would write them."""
