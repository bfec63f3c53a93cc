"""The programs in examples/, run as a user runs them."""

import os
import random
import re
import signal
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
    assert re.search(r"10\.77\.1\.\d+ +\d+ +[a-z_]+ +\w.* +0\.\d+$", told.stdout, re.MULTILINE)


def test_a_capture_that_is_none_is_one_line(tmp_path):
    pytest.importorskip("pandas", reason="pandas is not installed")
    (tmp_path / "not.pcap").write_text("no capture")
    told = run("classify_capture.py", tmp_path / "not.pcap")
    assert told.returncode == 1 and len(told.stderr.splitlines()) == 1 and "not.pcap" in told.stderr


def test_what_a_capture_lost_is_told_beside_its_table(tmp_path):
    pytest.importorskip("pandas", reason="pandas is not installed")
    arp = b"\xff" * 12 + b"\x08\x06" + bytes(28)
    (tmp_path / "arp.pcap").write_bytes(pcap([Packet(0, arp), Packet(1, arp)]))
    told = run("classify_capture.py", "arp.pcap", cwd=tmp_path)
    assert (told.returncode, told.stdout) == (0, "0 windows of 0 connections\n")
    assert told.stderr == "arp.pcap: left out of 2 packets: 2 not IP (ARP)\n"


@pytest.mark.parametrize("program", ["classify_capture.py", "read_log.py"])
def test_into_a_pipe_that_nobody_reads_no_traceback_goes(tmp_path, program):
    pytest.importorskip("pandas", reason="pandas is not installed")
    (tmp_path / "mmtt.log").write_text(log_of([row_of("1")]))
    reader, writer = os.pipe()
    os.close(reader)
    what = DATA / "lab.pcap" if program == "classify_capture.py" else tmp_path / "mmtt.log"
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / program), str(what)],
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writer)
    assert done.returncode == -signal.SIGPIPE and b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("program", "lacks", "says"),
    [
        ("classify_capture.py", "pandas", "pip install mmtt pandas"),
        ("read_log.py", "pandas", "pip install pandas"),
        ("train_directories.py", "torch", "pip install 'mmtt[train]'"),
    ],
)
def test_what_is_not_installed_is_named_in_a_line(tmp_path, program, lacks, says):
    (tmp_path / f"{lacks}.py").write_text(f"raise ModuleNotFoundError('gone', name={lacks!r})")
    told = run(program, "x", PYTHONPATH=str(tmp_path))
    assert (told.returncode, told.stderr) == (1, f"this needs {lacks}, which is not installed; type: {says}\n")


def row_of(ts: str, packets: str = "5") -> str:
    return f"{ts}\t10.0.0.1\t{packets}\tweb\t0.5\tok"


def log_of(rows: list[str]) -> str:
    fields = "ts\tid.orig_h\tpackets\tservice\tmalicious_score\tstatus"
    head = ["#separator \\x09", f"#fields\t{fields}", "#types\ttime\taddr\tcount\tstring\tdouble\tstring"]
    return "\n".join([*head, *rows, ""])


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("mmtt.log", log_of([row_of("1"), row_of("1e11")]), "mmtt.log:5: ts can't be 1e11"),
        ("mmtt.log", log_of([row_of("soon")]), "mmtt.log:4: ts can't be soon"),
        ("mmtt.log", log_of([row_of("1", "1.5")]), "mmtt.log:4: packets can't be 1.5"),
        ("mmtt.log", log_of([row_of("1"), "1\t2"]), "mmtt.log:5: 2 columns, and 6 #fields"),
        ("mmtt.log", '{"ts":1,"status":"ok"}\n{"ts":1e30}\n', "mmtt.log:2: ts can't be 1e+30"),
        ("mmtt.log", '{"ts":1}\n{"ts"', "mmtt.log:2: not JSON"),
        ("conn.log", '{"ts":1}\n', "conn.log: has no column status; is it mmtt.log?"),
        ("mmtt.log", "", "mmtt.log: has no #fields and #types; is it a log of Zeek's?"),
        ("mmtt.log.gz", "text", "mmtt.log.gz: damaged: Not a gzipped file (b'te')"),
        ("mmtt.log", b"\xff", "mmtt.log: not UTF-8; is it a log of Zeek's?"),
    ],
)
def test_a_log_that_cant_be_is_a_line_with_its_place(tmp_path, name, text, says):
    pytest.importorskip("pandas", reason="pandas is not installed")
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    told = run("read_log.py", name, cwd=tmp_path)
    assert (told.returncode, told.stderr) == (1, says + "\n")


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
