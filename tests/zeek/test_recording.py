"""`zeek -r` whose settings have a memory: all of its verdicts are in it when Zeek has ended, which ends its agent."""

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("pyarrow")

from places import DATA, ZEEK_SCRIPTS
from tiny_bundle import make_bundle, network

from mmtt_agent.record import read
from mmtt_agent.zeek import find as find_zeek

ZEEK = find_zeek()
pytestmark = pytest.mark.skipif(ZEEK is None, reason="no Zeek")


def test_all_verdicts_of_a_capture_are_recorded(tmp_path):
    bundle = make_bundle(tmp_path / "bundle", network(embedding=16))
    settings = tmp_path / "agent.yaml"
    settings.write_text(f"record: {{directory: {tmp_path / 'windows'}}}\n")
    program = f"{sys.executable} -c 'from mmtt_agent.cli import main; main()' agent -c {settings} --bundle {bundle}"
    done = subprocess.run(
        [ZEEK, "-C", "-r", DATA / "office.pcap", ZEEK_SCRIPTS, "LogAscii::use_json=T"],
        cwd=tmp_path,
        env=os.environ | {"MMTT_AGENT": program},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0 and "mmtt" not in done.stdout + done.stderr
    rows = [json.loads(line) for line in (tmp_path / "mmtt.log").read_text().splitlines()]
    said: list[str] = []
    found = read(tmp_path / "windows", said.append)
    told = {(row["uid"], row["window"]): row for row in rows if row["status"] == "ok"}
    assert told.keys() == {*zip(found.uid.tolist(), found.window.tolist(), strict=True)} and said == []
    for uid, window, service, score in zip(found.uid, found.window, found.service, found.service_score, strict=True):
        assert told[uid, window]["service"] == service
        assert told[uid, window]["service_score"] == pytest.approx(float(score), abs=1e-6)
