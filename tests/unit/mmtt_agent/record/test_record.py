"""Windows that are recorded and read again, whatever the disk does meanwhile."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyarrow")

import pyarrow
import pyarrow.parquet
from made_batches import ONE_OCLOCK, batch

from mmtt_agent import whole
from mmtt_agent.record import Recorder, RecordError, parts, read, rows, writer
from mmtt_agent.record.keeper import keep
from mmtt_agent.record.parts import HOUR

_DAY = 86_400


@pytest.fixture
def said() -> list[str]:
    return []


def record(directory, *batches, name="a", days=None, most=None, say=print) -> Recorder:
    recorder = Recorder(directory, name, days, most, say)
    for each in batches:
        recorder.put(each)
    recorder.close()
    return recorder


def nothing(line: str) -> None:
    raise AssertionError(line)


def test_what_is_read_is_what_was_put(tmp_path):
    put = batch(100, width=256)
    recorder = record(tmp_path / "new" / "windows", put, say=nothing)
    assert (recorder.recorded, recorder.dropped, recorder.problems, recorder.waiting) == (100, 0, 0, 0)
    (part,) = parts(recorder.directory)
    assert str(part.path.relative_to(recorder.directory)) == "2026-11-28/13-a-0.parquet"
    assert recorder.size == part.size == part.path.stat().st_size
    found = read(recorder.directory, nothing)
    assert found.uid.tolist() == [*put.uid] and found.window.tolist() == [*put.window]
    assert np.array_equal(found.ts, put.ts) and found.model.tolist() == ["made@1"] * 100
    for name in ("sizes", "times", "lengths"):
        assert np.array_equal(getattr(found.series, name), getattr(put.series, name))
        assert getattr(found.series, name).dtype == np.int32
    for name in ("service", "application", "malicious", "malicious_kind"):
        assert getattr(found, name).tolist() == [*getattr(put.verdicts, name)]
    for name in rows.SCORES:
        assert np.array_equal(getattr(found, name), getattr(put.verdicts, name).astype(np.float32))
    assert found.incident.tolist() == [*put.incidents]
    assert np.array_equal(found.embedding, put.verdicts.embedding.astype(np.float16)) and found.embedded.all()


def test_a_file_says_what_wrote_it_and_knows_no_addresses(tmp_path):
    record(tmp_path, batch(3))
    schema = pyarrow.parquet.read_schema(parts(tmp_path)[0].path)
    assert schema.metadata[b"format"] == b"1" and b"mmtt" in schema.metadata
    assert not [name for name in schema.names if name.startswith(("id.", "orig", "resp", "server"))]
    assert str(schema.field("embedding").type) == "fixed_size_list<element: halffloat not null>[8]"
    assert str(schema.field("ts").type) == "timestamp[us, tz=UTC]"


def test_windows_lie_by_the_hour_and_are_read_in_order_of_time(tmp_path):
    later = batch(4, first=4, ts=ONE_OCLOCK + HOUR - 2000)  # two of them at two o'clock
    record(tmp_path, later, batch(4))
    record(tmp_path, batch(4, first=8, ts=ONE_OCLOCK + 11 * HOUR), name="b")
    names = [str(part.path.relative_to(tmp_path)) for part in parts(tmp_path)]
    assert [name.rpartition("-")[0] for name in names] == ["2026-11-28/13-a", "2026-11-28/14-a", "2026-11-29/00-b"]
    found = read(tmp_path, nothing)
    assert [uid[-2:] for uid in found.uid] == [f"{number:02d}" for number in range(12)]
    some = read(tmp_path, nothing, since=ONE_OCLOCK + 2000, until=ONE_OCLOCK + HOUR)
    assert [uid[-2:] for uid in some.uid] == ["02", "03", "04", "05"]
    assert np.array_equal(some.embedding, found.embedding[2:6])
    assert len(read(tmp_path, nothing, until=0)) == 0


def test_one_writer_after_the_other_in_an_hour_writes_over_nothing(tmp_path):
    for number in range(3):
        record(tmp_path, batch(2, first=2 * number))
    assert len(parts(tmp_path)) == 3 and len(read(tmp_path, nothing)) == 6


def test_what_was_recorded_twice_counts_as_it_was_the_last_time(tmp_path, said):
    record(tmp_path, batch(5, model="old@1"), name="z")
    record(tmp_path, batch(3, model="new@2"), name="a")
    found = read(tmp_path, said.append)
    assert found.model.tolist() == ["new@2"] * 3 + ["old@1"] * 2
    assert said == [f"{tmp_path}: 3 windows were recorded more than once: as they were the last time"]


def test_other_models_are_read_and_embeddings_of_another_width_are_not(tmp_path, said):
    record(tmp_path, batch(3, model="older@1", width=4), batch(3, first=3, width=0))
    record(tmp_path, batch(3, first=6, ts=ONE_OCLOCK - HOUR))
    found = read(tmp_path, said.append)
    assert len(found) == 9 and {*found.model} == {"older@1", "made@1"} and found.other_widths == 3
    assert found.embedding.shape == (9, 8) and found.embedded.tolist() == [True] * 3 + [False] * 6
    assert said == [
        f"{tmp_path}: 3 windows have an embedding of another network than the latest: they are read without"
    ]


def test_embeddings_need_not_be_read(tmp_path, said):
    record(tmp_path, batch(2))
    whole, without = read(tmp_path, nothing), read(tmp_path, said.append, embeddings=False)
    assert whole.embedded.all() and not without.embedded.any() and without.embedding.shape == (2, 0)
    assert without.uid.tolist() == whole.uid.tolist() and (without.series.sizes == whole.series.sizes).all()
    assert not said


def test_a_part_that_is_damaged_is_said_and_left_out(tmp_path, said):
    for number in range(4):
        record(tmp_path, batch(100, first=100 * number), name=f"w{number}")
    whole_one, short, garbled, empty = (part.path for part in parts(tmp_path))
    short.write_bytes(short.read_bytes()[:-100])
    content = bytearray(garbled.read_bytes())
    content[len(content) // 3 : len(content) // 2] = bytes(len(content) // 2 - len(content) // 3)
    garbled.write_bytes(content)
    empty.write_bytes(b"")
    (tmp_path / "2026-11-28" / ".13-w9-0.parquet.abcdefgh").write_bytes(b"PAR1")
    found = read(tmp_path, said.append)
    assert {*found.uid} == {f"C{each:017d}" for each in range(100)}
    assert [line.partition(": damaged (")[0] for line in sorted(said)] == sorted(map(str, (short, garbled, empty)))
    assert all("\n" not in line and line.endswith("its windows are left out") for line in said)
    assert whole_one.exists()


@pytest.mark.parametrize("change", ["column", "null", "kind"])
def test_a_file_of_something_else_is_left_out(tmp_path, said, change):
    record(tmp_path, batch(3))
    path = parts(tmp_path)[0].path
    table = pyarrow.parquet.read_table(path)
    metadata = table.schema.metadata
    if change == "column":
        table = table.drop_columns(["times"])
    elif change == "null":
        at = table.schema.get_field_index("incident")
        table = table.set_column(at, pyarrow.field("incident", pyarrow.string()), pyarrow.array(["", None, ""]))
    else:
        at = table.schema.get_field_index("window")
        table = table.set_column(at, "window", pyarrow.array([0.5, 1.5, 2.5]))
    pyarrow.parquet.write_table(table.replace_schema_metadata(metadata), path)
    assert len(read(tmp_path, said.append)) == 0
    assert len(said) == 1 and said[0].startswith(f"{path}: damaged (")


def test_another_format_is_refused(tmp_path):
    record(tmp_path, batch(3))
    path = parts(tmp_path)[0].path
    pyarrow.parquet.write_table(pyarrow.parquet.read_table(path).replace_schema_metadata({"format": "2"}), path)
    with pytest.raises(RecordError, match=r"13-a-0.parquet: its format is '2', mmtt .* reads '1'; install the mmtt"):
        read(tmp_path, nothing)


def test_where_nothing_is_recorded_it_says_how_to(tmp_path):
    with pytest.raises(RecordError, match=r"no windows were recorded there; set record\.directory"):
        read(tmp_path, nothing)
    with pytest.raises(RecordError, match="nowhere: No such file or directory"):
        read(tmp_path / "nowhere", nothing)


def test_a_directory_that_cant_be_written_is_said_at_once(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError, match=f"{tmp_path}/file: windows can't be recorded there: File exists"):
        Recorder(tmp_path / "file", "a", None, None, nothing)


def test_a_full_queue_drops_and_counts_and_nobody_waits(tmp_path, monkeypatch, said):
    go_on = threading.Event()
    write = whole.write
    monkeypatch.setattr(writer, "PART_WINDOWS", 1)
    monkeypatch.setattr(writer, "MAX_WAITING", 640)
    monkeypatch.setattr(writer, "_SOON", 64)
    monkeypatch.setattr(whole, "write", lambda *arguments: go_on.wait(30) and write(*arguments))
    recorder = Recorder(tmp_path, "a", None, None, said.append)
    began = time.monotonic()
    for number in range(100):
        recorder.put(batch(64, first=64 * number, width=1))
    assert time.monotonic() - began < 10
    assert recorder.dropped >= 6400 - 2 * 640 and recorder.dropped % 64 == 0
    go_on.set()
    recorder.close()
    assert len(said) == 1 and "windows are not recorded: more come than can be written; is the disk slow" in said[0]
    assert recorder.recorded + recorder.dropped == 6400 == len(read(tmp_path, nothing)) + recorder.dropped


def test_what_was_put_can_be_waited_for(tmp_path):
    recorder = Recorder(tmp_path, "a", None, None, nothing)
    for number in range(3):
        recorder.put(batch(5, first=5 * number))
        recorder.flush(20)
        assert (recorder.recorded, recorder.waiting) == (5 * number + 5, 0)
        assert len(read(tmp_path, nothing)) == 5 * number + 5
    recorder.close()
    assert len(parts(tmp_path)) == 3


def test_one_that_waits_drops_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "MAX_WAITING", 128)
    monkeypatch.setattr(writer, "_SOON", 64)
    recorder = Recorder(tmp_path, "a", None, None, nothing, waits=True)
    for number in range(50):
        recorder.put(batch(64, first=64 * number, width=1))
    recorder.close()
    assert (recorder.recorded, recorder.dropped) == (3200, 0)


def test_a_full_disk_is_said_once_and_counted_until_there_is_room(tmp_path, monkeypatch, said):
    monkeypatch.setattr(writer, "PART_WINDOWS", 1)
    monkeypatch.setattr(writer, "_SOON", 1)
    full, fsync = [True], os.fsync

    def sync(handle: int) -> None:
        if full[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", sync)
    recorder = Recorder(tmp_path, "a", None, None, said.append)

    def put(number: int) -> None:
        recorder.put(batch(10, first=10 * number))
        deadline = time.monotonic() + 20
        while recorder.waiting and time.monotonic() < deadline:
            time.sleep(0.01)

    for number in range(3):
        put(number)
    assert (recorder.recorded, recorder.dropped, recorder.problems) == (0, 30, 3)
    assert recorder.problem == "No space left on device"
    assert said == [
        f"{tmp_path}: 10 windows are not recorded, nor others until this is mended: No space left on device"
    ]
    assert os.listdir(tmp_path / "2026-11-28") == []
    full[0] = False
    put(3)
    recorder.close()
    assert (recorder.recorded, recorder.dropped, recorder.problem) == (10, 30, "")
    assert said[1:] == [f"{tmp_path}: windows are recorded again; 30 were not"]


def aged(path, days: float) -> None:
    at = time.time() - days * _DAY
    os.utime(path, (at, at))


def test_what_is_too_old_goes_and_so_does_its_day(tmp_path, said):
    record(tmp_path, batch(3), batch(3, first=3, ts=ONE_OCLOCK + 24 * HOUR))
    old, new = (part.path for part in parts(tmp_path))
    aged(old, 31)
    aged(new, 29)
    removed: list[str] = []
    recorder = Recorder(tmp_path, "b", 30, None, said.append, removed.append)
    recorder.close()
    assert not old.parent.exists() and new.exists()
    assert removed == [f"{tmp_path}: 1 parts older than 30 days are removed"] and said == []
    assert recorder.parts_removed == 1


def test_a_capture_of_years_ago_is_not_too_old_at_once(tmp_path):
    record(tmp_path, batch(3, ts=1_000_000_000_000_000), days=1)
    assert len(read(tmp_path, nothing)) == 3


def test_past_the_bytes_the_oldest_go(tmp_path):
    for number in range(5):
        record(tmp_path, batch(3, first=3 * number), name=f"w{number}")
    paths = [part.path for part in parts(tmp_path)]
    for path, days in zip(paths, (2, 5, 1, 4, 3), strict=True):
        aged(path, days)
    size = paths[0].stat().st_size
    kept = keep(tmp_path, None, size * 3 + size // 2)
    assert [path.exists() for path in paths] == [True, False, True, False, True]
    assert (kept.too_old, kept.too_much) == (0, 2) and kept.size == sum(part.size for part in parts(tmp_path))
    assert keep(tmp_path, None, 0).too_much == 3 and os.listdir(tmp_path) == []


def test_what_is_not_the_recorders_is_left(tmp_path):
    record(tmp_path, batch(3))
    mine = [tmp_path / "site.yaml", tmp_path / "2026-11-28" / "notes.parquet", tmp_path / "other" / "13-a-0.parquet"]
    (tmp_path / "other").mkdir()
    for path in mine:
        path.write_text("mine")
        aged(path, 100)
    keep(tmp_path, 30, 0)
    assert all(path.exists() for path in mine)


def test_a_killed_writer_leaves_no_half_part(tmp_path):
    """Whenever it is killed: what has a part's name is whole, and what has not goes in time."""
    code = (
        "import sys, itertools; sys.path[:0] = sys.argv[2:]\n"
        "from pathlib import Path; from made_batches import batch; from mmtt_agent.record import Recorder, writer\n"
        "writer.PART_WINDOWS = writer.MAX_WAITING = 500; writer._SOON = 1\n"
        "recorder = Recorder(Path(sys.argv[1]), 'a', None, None, print, waits=True)\n"
        "made = batch(500); print('ready', flush=True)\n"
        "for _ in itertools.count(): recorder.put(made)\n"
    )
    program = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path), *sys.path], stdout=subprocess.PIPE, text=True
    )
    assert program.stdout.readline() == "ready\n"
    deadline = time.monotonic() + 30
    while len(parts(tmp_path)) < 3 and time.monotonic() < deadline:
        time.sleep(0.005)
    program.send_signal(signal.SIGKILL)
    program.communicate()
    there = parts(tmp_path)
    assert there and all(pyarrow.parquet.read_metadata(part.path).num_rows >= 500 for part in there)
    left = tmp_path / "2026-11-28" / ".13-a-99.parquet.abcd_123"
    left.write_bytes(b"PAR1")
    aged(left, 1)
    keep(tmp_path, None, None)
    assert not left.exists()


def test_what_a_stuck_disk_keeps_is_counted_when_the_end_cant_wait(tmp_path, monkeypatch, said):
    stuck = threading.Event()
    monkeypatch.setattr(whole, "write", lambda *_: stuck.wait(30))
    recorder = Recorder(tmp_path, "a", None, None, said.append)
    recorder.put(batch(7))
    recorder.close(0.5)
    assert said == [f"{tmp_path}: 7 windows are not recorded: they are not written after 0.5 s"]
    assert recorder.dropped == 7
    stuck.set()


def children() -> set[int]:
    """Processes of this one."""
    found = set()
    for each in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if (
                each.isdigit()
                and int(Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()[1]) == os.getpid()
            ):
                found.add(int(each))
    return found


@pytest.fixture
def process(tmp_path, said):
    """A recorder, and the number of its process."""
    before = children()
    recorder = Recorder(tmp_path, "a", None, None, said.append)
    (number,) = children() - before
    yield recorder, number
    recorder.close()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc")
def test_what_its_process_had_is_counted_when_that_is_killed_and_another_goes_on(tmp_path, process, said, monkeypatch):
    monkeypatch.setattr(writer, "_SOON", 1)
    recorder, number = process
    recorder.put(batch(5))
    deadline = time.monotonic() + 20
    while not recorder._open and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(number, signal.SIGKILL)
    recorder.put(batch(3, first=5))
    recorder.flush(20)
    assert (recorder.recorded, recorder.dropped, recorder.problems, recorder.waiting) == (0, 8, 1, 0)
    ended = "the process that makes the files was ended by SIGKILL"
    assert said == [f"{tmp_path}: 8 windows are not recorded, nor others until this is mended: {ended}"]
    recorder.put(batch(4, first=8))
    recorder.flush(20)
    assert (recorder.recorded, recorder.dropped, len(read(tmp_path, nothing))) == (4, 8, 4)
    assert said[1:] == [f"{tmp_path}: windows are recorded again; 8 were not"]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc")
def test_signals_to_all_processes_of_an_agent_lose_no_window(tmp_path, process):
    recorder, number = process
    recorder.put(batch(5))
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(number, each)
    recorder.close()
    assert recorder.recorded == 5 == len(read(tmp_path, nothing)) and number not in children()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc")
def test_its_process_ends_with_an_agent_that_is_killed(tmp_path):
    code = (
        "import sys, time; sys.path[:0] = sys.argv[2:]\n"
        "from pathlib import Path; from made_batches import batch; from mmtt_agent.record import Recorder\n"
        "recorder = Recorder(Path(sys.argv[1]), 'a', None, None, print); recorder.put(batch(5))\n"
        "print(recorder._process._process.pid, flush=True); time.sleep(60)\n"
    )
    program = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path), *sys.path], stdout=subprocess.PIPE, text=True
    )
    place = Path("/proc", program.stdout.readline().strip())
    assert place.exists()
    program.send_signal(signal.SIGKILL)
    program.communicate()
    deadline = time.monotonic() + 20
    while place.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not place.exists()
