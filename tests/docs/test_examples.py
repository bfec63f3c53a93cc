"""The programs in examples/, run as a user runs them."""

import os
import random
import re
import subprocess
import sys

import pytest
from made_captures import A, B, Packet, framed, pcap, udp
from places import DATA, ROOT

from mmtt_agent import bundle, zeek
from mmtt_agent.capture import read_capture
from mmtt_agent.classifier import Classifier

ZEEK = zeek.find()


def run(program: str, *arguments, cwd=ROOT, **environment) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(ROOT / "examples" / program), *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


def test_a_capture_becomes_a_table():
    pytest.importorskip("pandas", reason="pandas is not installed")
    told = run("classify_capture.py", DATA / "lab.pcap")
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith("44 windows of 35 connections\n")
    assert re.search(r"10\.77\.1\.17 +636 +directory +LDAP +0\.\d+$", told.stdout, re.MULTILINE)


def test_a_capture_that_is_none_is_one_line(tmp_path):
    pytest.importorskip("pandas", reason="pandas is not installed")
    (tmp_path / "not.pcap").write_text("no capture")
    told = run("classify_capture.py", tmp_path / "not.pcap")
    assert told.returncode == 1 and len(told.stderr.splitlines()) == 1 and "not.pcap" in told.stderr


@pytest.mark.parametrize("form", ["tsv", "json"])
def test_a_log_of_classify_is_read(tmp_path, form):
    log = tmp_path / "mmtt.log"
    classify = "from mmtt_agent.cli import main; main()"
    arguments = ["classify", "--format", form, "-o", str(tmp_path), str(DATA / "lab.pcap")]
    subprocess.run([sys.executable, "-c", classify, *arguments], check=True)
    same_as_the_classifier(log)


@pytest.mark.parametrize("form", ["tsv", "json"])
@pytest.mark.skipif(not ZEEK, reason="no Zeek")
def test_a_log_of_zeek_is_read(tmp_path, form):
    agent = f"{sys.executable} -c 'from mmtt_agent.cli import main; main()' agent"
    options = ["LogAscii::use_json=T"] if form == "json" else []
    subprocess.run(
        [str(ZEEK), "-C", "-r", str(DATA / "lab.pcap"), str(ROOT / "zeek-scripts"), *options],
        cwd=tmp_path,
        check=True,
        env={**os.environ, "MMTT_AGENT": agent},
        timeout=120,
    )
    same_as_the_classifier(tmp_path / "mmtt.log")


def same_as_the_classifier(log) -> None:
    """The log's table holds what the classifier says of the same capture."""
    pytest.importorskip("pandas", reason="pandas is not installed")
    told = run("read_log.py", log)
    assert told.returncode == 0, told.stderr
    assert "ok           44\ntoo_short     2\n" in told.stdout
    sys.path.insert(0, str(ROOT / "examples"))
    try:
        from read_log import read_log
    finally:
        sys.path.pop(0)
    table = read_log(log)
    assert str(table["ts"].dtype).endswith("UTC]") and str(table["malicious"].dtype) == "boolean"
    short = table[table["status"] == "too_short"]
    assert short["service"].isna().all() and short["malicious_score"].isna().all()
    answered = table[table["status"] == "ok"]
    windows = read_capture(DATA / "lab.pcap").windows
    enough = windows.series.lengths >= 4
    verdicts = Classifier(bundle.load()).classify(windows.series[enough])
    assert sorted(answered["service"]) == sorted(verdicts.service)
    assert sorted(answered["malicious_score"]) == pytest.approx(sorted(verdicts.malicious_score), abs=1e-4)
    times = sorted(answered["ts"].astype("int64") // {"ns": 1000, "us": 1}[answered["ts"].dt.unit])
    assert times == pytest.approx(sorted(windows.ts[enough]), abs=1)


def flow(draw: random.Random, port: int, small: bool) -> list[Packet]:
    time, packets = 0, []
    for number in range(draw.randint(6, 30)):
        up = number == 0 or draw.random() < 0.5
        size = draw.randint(20, 120) if small else draw.randint(700, 1300)
        packets.append(Packet(time, udp(*((A, port, B, 9999) if up else (B, 9999, A, port)), size)))
        time += draw.randint(200_000, 900_000) if small else draw.randint(100, 20_000)
    return packets


def captures(directory, small: bool) -> None:
    directory.mkdir()
    for number in range(12):
        draw = random.Random(f"{small} {number}")
        packets = [packet for place in range(8) for packet in flow(draw, 40_000 + place, small)]
        packets.sort(key=lambda packet: packet.time)
        (directory / f"{number}.pcap").write_bytes(pcap(framed(packets)))


def test_two_directories_become_a_model_that_tells_them_apart(tmp_path):
    for name in ("torch", "pyarrow", "lightgbm"):
        pytest.importorskip(name, reason=f"{name} is not installed: pip install 'mmtt[train]'")
    captures(tmp_path / "talk", small=True)
    captures(tmp_path / "bulk", small=False)
    (tmp_path / "tiny.yaml").write_text(
        "name: mine\n"
        "architecture: {width: 16, heads: 2, feed_forward: 16, text_layers: 1, image_layers: 1}\n"
        "training: {epochs: 3, batch: 32, learning_rate: 0.01}\n"
    )
    told = run(
        "train_directories.py", "-o", "made", "--config", "tiny.yaml", "chat/Talk=talk", "file_transfer/Bulk!=bulk",
        cwd=tmp_path, OMP_NUM_THREADS="1",
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    assert told.stdout.splitlines()[-1].endswith("knows chat, file_transfer")
    made = Classifier(bundle.load(tmp_path / "made"))
    for name, service, malicious in (("talk", "chat", False), ("bulk", "file_transfer", True)):
        verdicts = made.classify(read_capture(tmp_path / name / "0.pcap", checksums=False).windows.series)
        assert verdicts.service.count(service) >= 6, verdicts
        assert (verdicts.malicious == malicious).mean() > 0.7


@pytest.mark.parametrize(
    ("words", "names"),
    [("chat=talk", "chat=talk"), ("nonsense/Talk=talk", "nonsense"), ("chat/Talk=nowhere", "nowhere")],
)
def test_directories_that_cant_be_are_refused_in_a_line(tmp_path, words, names):
    pytest.importorskip("torch", reason="torch is not installed: pip install 'mmtt[train]'")
    told = run("train_directories.py", "-o", tmp_path / "made", words, cwd=tmp_path)
    assert told.returncode != 0 and "Traceback" not in told.stderr and names in told.stderr
    assert not (tmp_path / "made").exists()
