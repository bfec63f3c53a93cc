"""Where things are in a checkout."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data"
ZEEK_SCRIPTS = ROOT / "zeek-scripts"
