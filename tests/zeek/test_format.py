"""All Zeek scripts are as zeek-format writes them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted([*(ROOT / "zeek-scripts").glob("*.zeek"), *(ROOT / "tests" / "zeek").glob("[!.]*.zeek")])
SCRIPTS += sorted(
    path for kind in ("collection", "verdicts") for path in (ROOT / "tests" / "zeek" / kind).glob("*.zeek")
)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_script_is_formatted(script):
    program = shutil.which("zeek-format", path=str(Path(sys.executable).parent)) or shutil.which("zeek-format")
    if program is None:
        pytest.skip("no zeek-format: pip install zeekscript")
    done = subprocess.run([program, script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == script.read_text(), f"run: zeek-format --inplace {script}"
