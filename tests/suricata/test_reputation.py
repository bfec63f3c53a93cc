"""What mmtt reputation writes, in a real Suricata: it alerts on whoever is listed, and no longer when they are out."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import sensor
from bed import Bed, missing, wait_for
from made_captures import A, conversation, framed, pcap
from program import mmtt
from test_follow import SEND

from mmtt_agent.classify.log import ROWS, TsvWriter
from mmtt_agent.classify.row import Row

BAD, OTHER = "45.33.32.156", "45.33.32.157"
LIST, SET = 1_900_190, 1_900_191


def verdicts(path: Path, days_ago: float, responder: str = BAD) -> Path:
    """A mmtt.log with four flows that look malicious."""
    ts = int((time.time() - days_ago * 86_400) * 1e6)
    with path.open("w") as out:
        writer = TsvWriter(out, ROWS, several=False)
        for number in range(4):
            writer.write(
                Row(ts + number, f"CUid{number}", "10.0.0.1", 4000 + number, responder, 443, "tcp", 0, 32, "web", 0.9,
                    "unknown", 0.1, True, 0.99, "command_and_control", "ok", None, "m@1", None, "")
            )  # fmt: skip
        writer.close()
    return path


def config(directory: Path, lists: Path, rules: str, socket: Path | None = None) -> Path:
    path = directory / "suricata.yaml"
    path.write_text(
        "%YAML 1.1\n---\nvars:\n  address-groups: {HOME_NET: any, EXTERNAL_NET: any}\noutputs:\n"
        "  - eve-log: {enabled: yes, filetype: regular, filename: eve.json, types: [alert]}\n"
        f"unix-command: {{enabled: {'yes' if socket else 'no'}, filename: {socket or 'none'}}}\n"
        f"reputation-categories-file: {lists}/mmtt-categories.txt\ndefault-reputation-path: {lists}\n"
        f"reputation-files: [mmtt-iprep.list]\ndefault-rule-path: {lists}\nrule-files: [{rules}]\n"
        "af-packet:\n  - interface: default\n    threads: 1\n    use-mmap: yes\n    tpacket-v3: yes\n"
    )
    return path


def alerts(directory: Path) -> list[tuple[int, str]]:
    """The rule, and whom it was about."""
    path = directory / "eve.json"
    events = map(json.loads, path.read_text().splitlines()) if path.exists() else ()
    return [(event["alert"]["signature_id"], event["dest_ip"]) for event in events]


def on_capture(directory: Path, lists: Path) -> list[tuple[int, str]]:
    directory.mkdir()
    capture = directory / "x.pcap"
    capture.write_bytes(pcap(framed([*conversation(A, BAD), *conversation(A, OTHER, sport=40_001)])))
    done = subprocess.run(
        [sensor.find(), "-c", config(directory, lists, "mmtt-iprep.rules, mmtt-dataset.rules"), "-r", capture,
         "-l", directory, "-k", "none"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode == 0 and "2 rules successfully loaded, 0 rules failed" in said, said
    return sorted(alerts(directory))


def test_it_alerts_on_who_is_listed_by_either_rule_and_not_when_that_is_too_old(tmp_path):
    lists = tmp_path / "lists"
    verdicts(tmp_path / "mmtt.log", 1)
    assert mmtt("reputation", "update", tmp_path / "mmtt.log", "-o", lists).returncode == 0
    assert on_capture(tmp_path / "first", lists) == [(LIST, BAD), (SET, BAD)]
    verdicts(tmp_path / "mmtt.log", 8)
    done = mmtt("reputation", "update", tmp_path / "mmtt.log", "-o", lists)
    assert done.stdout.startswith("0 addresses listed") and "1 gone" in done.stdout
    assert on_capture(tmp_path / "second", lists) == [], "an empty list is one that Suricata takes, too"


@pytest.fixture
def live(tmp_path):
    if (reason := missing()) and reason != "no Zeek":
        pytest.skip(f"no live link: {reason}")
    (tmp_path / "bed").mkdir()
    with Bed(tmp_path / "bed") as bed:
        yield bed


@pytest.mark.parametrize(("rules", "sid"), [("mmtt-dataset.rules", SET), ("mmtt-iprep.rules", LIST)])
def test_a_suricata_that_runs_is_told_who_comes_and_goes(tmp_path, live, rules, sid):
    lists, socket, log = tmp_path / "lists", tmp_path / "s.socket", tmp_path / "mmtt.log"
    ports = iter(range(40_000, 50_000))
    verdicts(log, 30)
    assert mmtt("reputation", "update", log, "-o", lists).returncode == 0
    folder = live.directory / "suricata"
    live.start(
        "suricata", sensor.find(), "-c", config(tmp_path, lists, rules, socket), "--af-packet=seen", "-l", tmp_path,
        "-k", "none",
    )  # fmt: skip
    wait_for(lambda: "Engine started" in (folder / "stdout").read_text(errors="replace") and socket.exists())

    def asked(*words: str) -> dict:
        if shutil.which("suricatasc") is None:
            pytest.skip("no suricatasc")
        done = subprocess.run(
            ["suricatasc", "-c", " ".join(words), socket], capture_output=True, text=True, timeout=60, check=False
        )
        return json.loads(done.stdout)

    def send() -> None:
        # Another flow each time: the reputation of one that is known is not looked up again.
        flows = [*conversation(A, BAD, sport=next(ports)), *conversation(A, OTHER, sport=next(ports))]
        (tmp_path / "x.pcap").write_bytes(pcap(framed(flows)))
        live.start("send", sys.executable, "-c", SEND, tmp_path / "x.pcap")
        assert live.running.pop("send").wait(60) == 0

    def updated(*arguments):
        # Suricata's socket is a file: no need to be in its network namespace.
        before = asked("ruleset-reload-time")["message"]
        done = mmtt("reputation", "update", log, "-o", lists, "--suricata", socket, "--reload", *arguments)
        assert done.returncode == 0, done.stderr
        if rules == "mmtt-iprep.rules":
            wait_for(lambda: asked("ruleset-reload-time")["message"] != before, why="the rules to be read again")
        return done

    def in_set() -> bool:
        return asked("dataset-lookup", "mmtt-responders", "ip", BAD)["message"] == "item found in set"

    send()
    time.sleep(2)
    assert alerts(tmp_path) == []
    verdicts(log, 1)
    if rules == "mmtt-dataset.rules":
        updated()
        assert in_set()
        send()
        wait_for(lambda: alerts(tmp_path) == [(sid, BAD)])
        verdicts(log, 30)
        assert "1 gone" in updated().stdout
        assert not in_set()
        assert json.loads((lists / "mmtt-reputation.json").read_text())["to_remove"] == []
    else:
        done = mmtt("reputation", "update", log, "-o", tmp_path / "others", "--suricata", socket)
        assert done.returncode == 1 and "this Suricata has no dataset mmtt-responders; have it load" in done.stderr
        updated()
        send()
        wait_for(lambda: alerts(tmp_path) == [(sid, BAD)])
    live.stop("suricata")


def test_a_suricata_that_cannot_be_reached_is_said_and_told_later_who_is_gone(tmp_path):
    lists, log = tmp_path / "lists", verdicts(tmp_path / "mmtt.log", 1)
    mmtt("reputation", "update", log, "-o", lists)
    verdicts(log, 30)
    done = mmtt("reputation", "update", log, "-o", lists, "--suricata", tmp_path / "no.socket")
    assert done.returncode == 1 and "no.socket: No such file or directory; is Suricata running" in done.stderr
    assert json.loads((lists / "mmtt-reputation.json").read_text())["to_remove"] == [BAD]
    assert (lists / "mmtt-responders.lst").read_text() == ""
