"""Live verdicts from an interface, without Zeek: ``mmtt sniff``."""
