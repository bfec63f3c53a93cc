"""Each btest of this folder as a test of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmtt_agent.zeek import find as find_zeek

HERE = Path(__file__).resolve().parent
NAMES = sorted(
    f"{path.parent.name}.{path.stem}" for kind in ("collection", "verdicts") for path in (HERE / kind).glob("*.*")
)


@pytest.mark.parametrize("name", NAMES)
def test_btest(name, tmp_path):
    zeek = find_zeek()
    if zeek is None:
        pytest.skip("no Zeek: set ZEEK to the program, or put it on PATH")
    # btest, python3 and mmtt of this very Python.
    path = os.pathsep.join([str(zeek.parent), str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    done = subprocess.run(
        [HERE / "run", name],
        cwd=HERE,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    if "... skipped" in done.stdout + done.stderr:
        pytest.skip(f"{name}: what its @TEST-REQUIRES asks for is not here")
    assert done.returncode == 0, done.stdout + done.stderr
