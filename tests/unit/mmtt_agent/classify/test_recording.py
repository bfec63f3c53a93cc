"""`mmtt classify --record`: the windows of its rows are remembered."""

from __future__ import annotations

import os
import resource
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")

from places import DATA
from program import MMTT, mmtt
from tiny_bundle import make_bundle, network

from mmtt_agent.classify.log import COLUMNS
from mmtt_agent.record import parts, read

OFFICE, LAB = DATA / "office.pcap", DATA / "lab.pcap"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundle"), network(embedding=16))


def nothing(line: str) -> None:
    raise AssertionError(line)


def rows(text: str) -> list[dict[str, str]]:
    lines = [line.split("\t") for line in text.splitlines() if not line.startswith("#")]
    return [dict(zip([name for name, _ in COLUMNS], line, strict=False)) for line in lines]


def test_what_is_recorded_is_what_the_log_says(tmp_path, bundle):
    done = mmtt("classify", OFFICE, LAB, "--bundle", bundle, "--record", tmp_path / "windows")
    assert done.returncode == 0, done.stderr
    said = sorted(
        (row for row in rows(done.stdout) if row["status"] == "ok"), key=lambda row: (row["uid"], row["window"])
    )
    found = read(tmp_path / "windows", nothing)
    order = sorted(range(len(found)), key=lambda at: (found.uid[at], found.window[at]))
    assert len(said) == len(found) > 10
    assert {row["status"] for row in rows(done.stdout)} == {"ok", "too_short"}
    for row, at in zip(said, order, strict=True):
        assert (row["uid"], row["window"], row["model"]) == (found.uid[at], str(found.window[at]), found.model[at])
        assert int(row["packets"]) == found.series.lengths[at]
        assert float(row["ts"]) == pytest.approx(found.ts[at] / 1e6, abs=1e-6)
        assert (row["service"], row["application"]) == (found.service[at], found.application[at])
        assert row["malicious"] == ("T" if found.malicious[at] else "F")
        for name in ("service_score", "application_score", "malicious_score"):
            assert float(row[name]) == pytest.approx(float(getattr(found, name)[at]), abs=1e-6)
    assert found.embedding.shape[1] == 16 and found.embedded.all()
    addresses = {row[name] for row in rows(done.stdout) for name in ("id.orig_h", "id.resp_h")}
    for part in parts(tmp_path / "windows"):
        assert not [each for each in addresses if each.encode() in part.path.read_bytes()]


def test_another_run_adds_to_them(tmp_path, bundle):
    for capture in (OFFICE, LAB, OFFICE):
        assert mmtt("classify", capture, "--bundle", bundle, "--record", tmp_path).returncode == 0
    lines: list[str] = []
    office = mmtt("classify", OFFICE, LAB, "--bundle", bundle).stdout
    assert len(read(tmp_path, lines.append)) == len([row for row in rows(office) if row["status"] == "ok"])
    assert len(lines) == 1 and "were recorded more than once" in lines[0]


def test_a_directory_that_cant_be_written_is_said_before_anything_is_read(tmp_path, bundle):
    (tmp_path / "file").write_text("")
    done = mmtt("classify", OFFICE, "--bundle", bundle, "--record", tmp_path / "file" / "windows", "-o", tmp_path / "o")
    assert (done.returncode, done.stdout) == (2, "") and not (tmp_path / "o").exists()
    assert done.stderr == (
        f"Error: {tmp_path}/file/windows: windows can't be recorded there: Not a directory; "
        "let its user write there, or name another directory\n"
    )


def test_without_pyarrow_it_says_what_to_type(tmp_path, bundle):
    (tmp_path / "pyarrow.py").write_text("raise ImportError\n")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = mmtt("classify", OFFICE, "--bundle", bundle, "--record", tmp_path / "w", env={"PYTHONPATH": path})
    assert done.returncode == 2 and done.stdout == "" and not (tmp_path / "w").exists()
    assert done.stderr.endswith("; type: pip install 'mmtt[learn]'\n")
    assert mmtt("classify", OFFICE, "--bundle", bundle, env={"PYTHONPATH": path}).returncode == 0


def test_a_full_disk_costs_no_row_and_is_no_success(tmp_path, bundle):
    """Files may not grow past some hundred bytes, which is what the writer finds where a disk is full."""
    program = [*MMTT, "classify", str(OFFICE), "--bundle", str(bundle), "--record", str(tmp_path / "windows")]
    done = subprocess.run(
        program, capture_output=True, text=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500)),
    )  # fmt: skip
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert len(rows(done.stdout)) == len(rows(mmtt("classify", OFFICE, "--bundle", bundle).stdout))
    assert "windows are not recorded, nor others until this is mended: File too large" in done.stderr
    assert not [*(tmp_path / "windows").rglob("*.parquet*")]
