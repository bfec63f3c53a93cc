"""`mmtt classify --follow` as its user sees it: each capture of a directory once, whatever happens meanwhile."""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import lz4.frame
import pytest
from click.testing import CliRunner
from places import DATA
from program import MMTT, mmtt
from repeated import parts, repeated
from tiny_bundle import make_bundle, with_incidents

from mmtt_agent.classify.follow.files import is_written, sequence
from mmtt_agent.program import program as command_line

LAB, OFFICE = (DATA / "lab.pcap").read_bytes(), (DATA / "office.pcap").read_bytes()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundle"), **with_incidents(0.0))


@pytest.fixture
def captures(tmp_path) -> Path:
    directory = tmp_path / "captures"
    directory.mkdir()
    return directory


@pytest.fixture
def follow(captures, bundle, tmp_path):
    """The command, to its end."""

    def run(*arguments, output: Path | None = tmp_path / "out"):
        into = () if output is None else ("-o", output)
        command = ("--follow", captures, "--bundle", bundle, *into, *arguments)
        done = CliRunner().invoke(command_line, ["classify", *map(str, command)])
        return SimpleNamespace(returncode=done.exit_code, stdout=done.stdout, stderr=done.stderr)

    return run


@contextmanager
def following(captures: Path, bundle: Path, output: Path, *arguments):
    """The command, running."""
    command = [*MMTT, "classify", "--follow", captures, "--bundle", bundle, "-o", output, *arguments]
    program = subprocess.Popen([*map(str, command)], stderr=subprocess.PIPE, text=True)
    try:
        yield program
    finally:
        if program.poll() is None:
            program.kill()
        if not program.stderr.closed:
            program.communicate()


def until(what, seconds: float = 30.0):
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
    return found


def rows(output: Path, log: str = "mmtt.log") -> list[list[str]]:
    if not (output / log).exists():
        return []
    return [line.split("\t") for line in (output / log).read_text().splitlines() if not line.startswith("#")]


def taken_of(output: Path) -> list[str]:
    """Captures' names, in the order of their rows."""
    return [*dict.fromkeys(Path(row[-1]).name for row in rows(output))]


def state(output: Path) -> dict:
    path = output / "mmtt_follow.json"
    return json.loads(path.read_text()) if path.exists() else {"counts": {}}


def old(path: Path) -> None:
    """So long without a change that nothing more is to come of its sequence."""
    os.utime(path, (time.time() - 1000,) * 2)


def write_as(captures: Path, *names: str, of: bytes = OFFICE) -> None:
    """Captures one after the other in time."""
    for number, name in enumerate(names):
        whole = repeated(of, number + 1)
        (captures / name).write_bytes(whole[:24] + whole[24 + number * (len(of) - 24) :])
        old(captures / name)


def alike(output: Path, but: int = -2) -> list[list[str]]:
    """Its rows by connection and window, without their last columns: the incident and the capture."""
    return sorted((row[:but] for row in rows(output)), key=lambda row: (row[1], row[7]))


def test_each_capture_is_taken_once_in_order_of_time_and_what_comes_later_too(captures, follow, tmp_path):
    out = tmp_path / "out"
    write_as(captures, "log.pcap.1764300009", "log.pcap.1764300010", "log.pcap.1764300011")
    # Names say less about the order than packets do.
    (captures / "log.pcap.1764300009").rename(captures / "log.pcap.999999999")
    done = follow("--once")
    assert done.returncode == 0 and done.stdout == "", done.stderr
    first = rows(out)
    assert taken_of(out) == ["log.pcap.999999999", "log.pcap.1764300010", "log.pcap.1764300011"]
    assert len({*Counter(row[-1] for row in first).values()}) == 1, "as many of each, as their packets are the same"
    (captures / "log.pcap.1764300012.lz4").write_bytes(lz4.frame.compress(LAB))
    assert follow("--once").returncode == 0
    assert rows(out)[: len(first)] == first and taken_of(out)[3:] == ["log.pcap.1764300012.lz4"]
    before = (out / "mmtt.log").read_bytes()
    assert "captures so far: 4 taken" in follow("--once").stderr
    assert (out / "mmtt.log").read_bytes() == before and before.count(b"#fields") == 1


def test_the_rows_are_those_of_the_captures_joined(captures, follow, bundle, tmp_path):
    """Also of connections that go on from one to the next, and where the program ends between the two."""
    whole = repeated(OFFICE, 2)
    (tmp_path / "all.pcap").write_bytes(whole)
    assert mmtt("classify", tmp_path / "all.pcap", "--bundle", bundle, "-o", tmp_path / "joined").returncode == 0
    wanted = alike(tmp_path / "joined", -1)
    assert len(wanted) == 50
    for number, part in enumerate(parts(whole, 12)):
        path = captures / f"log.pcap.17643000{number:02}"
        path.write_bytes(part)
        if number % 3 == 0 and number < 11:
            follow("--once")
            assert follow("--once").returncode == 0
    before = alike(tmp_path / "out")
    old(path)
    assert "no longer there" not in follow("--once").stderr
    found = alike(tmp_path / "out")
    assert len(before) < len(found), "what is open is told once nothing more comes"
    assert found == wanted
    names = Counter(Path(row[-1]).name for row in rows(tmp_path / "out"))
    assert len(names) == 12
    assert follow("--once").returncode == 0 and alike(tmp_path / "out") == wanted


def test_each_thread_s_captures_are_a_sequence(captures, follow, bundle, tmp_path):
    other = repeated(OFFICE, 2)
    other = other[:24] + other[len(OFFICE) :]
    for thread, capture in enumerate((OFFICE, other, LAB)):
        for number, part in enumerate(parts(capture, 4)):
            path = captures / f"log.pcap.{thread}.17643000{number:02}"
            path.write_bytes(part)
            old(path)
        (tmp_path / f"{thread}.pcap").write_bytes(capture)
    follow("--once")
    mmtt(
        "classify", *(tmp_path / f"{thread}.pcap" for thread in range(3)), "--bundle", bundle, "-o", tmp_path / "joined"
    )
    assert alike(tmp_path / "out") == alike(tmp_path / "joined")


def test_captures_from_before_those_that_were_taken_are_read_for_themselves(captures, follow, bundle, tmp_path):
    write_as(captures, "log.pcap.1764300009", "log.pcap.1764300010")
    (captures / "log.pcap.1764300009").rename(tmp_path / "log.pcap.1764300009")
    follow("--once")
    (tmp_path / "log.pcap.1764300009").rename(captures / "log.pcap.1764300009")
    follow("--once")
    mmtt("classify", captures, "--bundle", bundle, "-o", tmp_path / "each")
    assert alike(tmp_path / "out") == alike(tmp_path / "each")


def test_where_the_captures_before_are_gone_after_a_restart_it_says_so(captures, follow, tmp_path):
    for number, part in enumerate(parts(OFFICE, 3)):
        (captures / f"log.pcap.176430000{number}").write_bytes(part)
        assert follow("--once").returncode == 0
        (captures / f"log.pcap.176430000{number}").unlink()
    assert "log.pcap.1764300001: no longer there" in (said := follow("--once").stderr) or "and 2 more" in said
    assert rows(tmp_path / "out")


def test_incidents_are_found_over_all_captures(captures, follow, bundle, tmp_path):
    write_as(captures, *(f"log.pcap.176430001{number}" for number in range(6)))
    follow("--once")
    (tmp_path / "all.pcap").write_bytes(repeated(OFFICE, 6))
    mmtt("classify", tmp_path / "all.pcap", "--bundle", bundle, "-o", tmp_path / "joined")
    found, joined = (rows(tmp_path / at, "mmtt_incidents.log") for at in ("out", "joined"))
    # Whoever follows does not know that there will be no more: they are not closed.
    joined = [row for row in joined if row[2] != "closed"]
    assert {row[2] for row in joined} == {"opened", "grown"}
    still_to_come = [row for row in joined if row not in [each[:-1] for each in found]]
    assert [row[:-1] for row in found] == [row for row in joined if row not in still_to_come]
    assert len(still_to_come) < len(joined) / 2, "those of the last minute and a half"
    of_rows = {row[-2] for row in rows(tmp_path / "out")} - {"-"}
    assert of_rows and of_rows <= {row[1] for row in found if row[2] == "opened"}


@pytest.mark.parametrize("form", ["tsv", "json"])
def test_what_was_half_written_when_it_was_killed_is_taken_back(captures, follow, tmp_path, form):
    out = tmp_path / "out"
    write_as(captures, "log.pcap.1764300009", "log.pcap.1764300010")
    (captures / "log.pcap.1764300010").rename(tmp_path / "later")
    follow("--once", "--format", form)
    (tmp_path / "later").rename(captures / "log.pcap.1764300010")
    state = (out / "mmtt_follow.json").read_bytes()
    follow("--once", "--format", form)
    whole = {path.name: path.read_bytes() for path in out.glob("*.log")}
    # As it was when the rows had been added, and the state not yet written.
    (out / "mmtt_follow.json").write_bytes(state)
    with (out / "mmtt.log").open("ab") as log:
        log.write(b"half a ro")
    assert follow("--once", "--format", form).returncode == 0
    assert (out / "mmtt.log").read_bytes() == whole["mmtt.log"]


def test_killed_again_and_again_it_leaves_out_no_row_and_has_none_twice(captures, follow, bundle, tmp_path):
    for number, part in enumerate(parts(repeated(OFFICE, 4), 16)):
        (captures / f"log.pcap.17643000{number:02}").write_bytes(part)
        old(captures / f"log.pcap.17643000{number:02}")
    follow("--once")
    wanted = alike(tmp_path / "out")
    killed, random_, kills = tmp_path / "killed", random.Random(3), 0
    for _ in range(20):
        taken = state(killed)["counts"].get("taken", 0)
        with following(captures, bundle, killed, "--once") as program:
            until(lambda: state(killed)["counts"].get("taken", 0) > taken or program.poll() is not None)  # noqa: B023
            try:
                program.wait(0.1 * random_.random())
            except subprocess.TimeoutExpired:
                program.kill()
                kills += 1
            else:
                break
    with following(captures, bundle, killed, "--once") as program:
        assert program.wait(60) == 0
    assert alike(killed) == wanted and kills


def test_a_capture_that_is_being_written_is_taken_when_it_is_closed(captures, bundle, tmp_path):
    out = tmp_path / "out"
    with following(captures, bundle, out) as program:
        writing = (captures / "log.pcap.1764300009").open("wb")
        writing.write(OFFICE[:500_000])
        writing.flush()
        (captures / "whole.pcap").write_bytes(LAB)
        until(lambda: taken_of(out) == ["whole.pcap"])
        time.sleep(2.5)
        assert taken_of(out) == ["whole.pcap"], "it does not grow, but somebody has it open"
        writing.write(OFFICE[500_000:])
        writing.close()
        until(lambda: len(taken_of(out)) == 2)
        program.send_signal(signal.SIGTERM)
        assert program.wait(10) == 0
        assert "2 taken" in program.stderr.read()


def test_where_nobody_can_tell_whether_it_is_open_a_newer_one_says_that_it_is_finished(
    captures, follow, tmp_path, monkeypatch
):
    # As of another user's files, and on file systems without leases.
    monkeypatch.setattr("mmtt_agent.classify.follow.files.is_written", lambda path: None)
    write_as(captures, "log.pcap.1764300009", "log.pcap.1764300010", "log.pcap.2.1764300009")
    for number, path in enumerate(sorted(captures.iterdir())):
        os.utime(path, (time.time() + number - 20,) * 2)
    follow("--once")
    assert taken_of(tmp_path / "out") == ["log.pcap.1764300009"], "the others are the newest of their threads"
    os.utime(captures / "log.pcap.1764300010", (time.time() - 1000,) * 2)
    follow("--once")
    assert len(taken_of(tmp_path / "out")) == 2, "so long without a change: nobody will go on with it"


def test_the_kernel_says_whether_somebody_writes(tmp_path):
    path = tmp_path / "x"
    with path.open("wb"):
        assert is_written(path) is True
    assert is_written(path) is False
    assert is_written(tmp_path / "gone") is None


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.touch(),
        lambda path: path.rename(path.with_name("moved.pcap")),
        lambda path: subprocess.run(["gzip", path], check=True),
        lambda path: (shutil.copy2(path, path.with_name("copy")), path.unlink(), path.with_name("copy").rename(path)),
        lambda path: (path.rename(path.parent.parent / "away"), (path.parent.parent / "away").rename(path)),
    ],
    ids=["touched", "moved", "packed", "copied", "away and back"],
)
def test_what_has_been_taken_is_known_again(captures, follow, tmp_path, change):
    write_as(captures, "log.pcap.1764300009")
    follow("--once")
    before = rows(tmp_path / "out")
    change(captures / "log.pcap.1764300009")
    done = follow("--once")
    assert done.returncode == 0 and rows(tmp_path / "out") == before, done.stderr
    assert "captures so far: 1 taken" in done.stderr


def test_a_ring_of_files_by_the_same_names_is_taken_each_time(captures, follow, tmp_path):
    (captures / "ring.pcap0").write_bytes(OFFICE)
    follow("--once")
    of_office = len(rows(tmp_path / "out"))
    (captures / "ring.pcap0").write_bytes(LAB)  # the same inode
    follow("--once")
    assert len(rows(tmp_path / "out")) > of_office


def test_what_is_added_to_a_capture_that_was_taken_is_said_and_left_out(captures, follow, tmp_path):
    write_as(captures, "log.pcap.1764300009")
    follow("--once")
    before = rows(tmp_path / "out")
    with (captures / "log.pcap.1764300009").open("ab") as capture:
        capture.write(OFFICE[24:])
    done = follow("--once")
    assert "bytes were added after it had been taken; they are left out" in done.stderr
    assert rows(tmp_path / "out") == before
    assert "were added" not in follow("--once").stderr


def test_captures_that_go_before_they_are_taken_are_counted(captures, bundle, tmp_path):
    out = tmp_path / "out"
    with following(captures, bundle, out) as program:
        held = [(captures / name).open("wb") for name in ("log.pcap.1764300009", "log.pcap.1764300010")]
        until((out / "mmtt_follow.json").exists)
        time.sleep(3)  # longer than from one look to the next
        for name in ("log.pcap.1764300009", "log.pcap.1764300010"):
            (captures / name).unlink()
        (captures / "whole.pcap").write_bytes(LAB)
        until(lambda: state(out)["counts"].get("taken"))
        for each in held:
            each.close()
        program.send_signal(signal.SIGTERM)
        said = program.communicate()[1]
    assert "log.pcap.1764300009, and 1 more: gone before it was taken" in said.replace(
        "1764300010, and", "1764300009, and"
    )
    assert json.loads((out / "mmtt_follow.json").read_text())["counts"] == {"gone": 2, "taken": 1}


def test_what_cannot_be_read_is_said_once_and_the_others_are(captures, follow, tmp_path):
    write_as(captures, "log.pcap.1764300010")
    packed = gzip.compress(OFFICE)
    (captures / "log.pcap.1764300009").write_bytes(b"#!/bin/sh\n")
    (captures / "log.pcap.1764300011").write_bytes(b"")
    (captures / "log.pcap.1764300012.lz4").write_bytes(lz4.frame.compress(OFFICE)[:200_000])
    (captures / "log.pcap.1764300013.gz").write_bytes(packed[:99_000] + b"\xff" * 100 + packed[99_100:])
    done = follow("--once")
    assert done.returncode == 1
    for name, says in (("09", "not a capture"), ("11", "empty"), ("12.lz4", "ends early"), ("13.gz", "damaged at")):
        assert any(f"17643000{name}: " in line and says in line for line in done.stderr.splitlines()), done.stderr
    assert "2 unreadable" in done.stderr and "1 damaged" in done.stderr and "2 taken" in done.stderr
    assert {*taken_of(tmp_path / "out")} == {
        "log.pcap.1764300010", "log.pcap.1764300012.lz4", "log.pcap.1764300013.gz"
    }  # fmt: skip
    again = follow("--once")
    assert again.returncode == 0, "they are said once"
    assert [line for line in again.stderr.splitlines() if "still open" not in line] == done.stderr.splitlines()[-1:]


def test_what_is_open_at_the_end_of_the_last_capture_is_said_and_told_if_asked_for(captures, follow, bundle, tmp_path):
    (captures / "log.pcap.1764300009").write_bytes(OFFICE)
    assert mmtt("classify", captures, "--bundle", bundle, "-o", tmp_path / "whole").returncode == 0
    done = follow("--once")
    assert done.returncode == 0 and "connections are still open at its end" in done.stderr
    told = len(rows(tmp_path / "out"))
    done = follow("--once", "--to-the-end")
    assert done.returncode == 0 and "still open" not in done.stderr
    assert told < len(rows(tmp_path / "out")) and alike(tmp_path / "out") == alike(tmp_path / "whole")
    assert "still open" not in follow("--once").stderr


def test_logs_that_are_moved_away_are_begun_anew_at_a_hangup(captures, bundle, tmp_path):
    out = tmp_path / "out"
    write_as(captures, "log.pcap.1764300009", "log.pcap.1764300010")
    (captures / "log.pcap.1764300010").rename(tmp_path / "later")
    with following(captures, bundle, out) as program:
        until(lambda: len(rows(out)) == 25 and state(out)["counts"])
        time.sleep(0.5)  # the state is written after the rows
        for log in ("mmtt.log", "mmtt_incidents.log"):
            (out / log).rename(out / f"{log}.1")
        program.send_signal(signal.SIGHUP)
        until((out / "mmtt.log").exists)
        (tmp_path / "later").rename(captures / "log.pcap.1764300010")
        until(lambda: len(rows(out)) == 25)
        program.send_signal(signal.SIGTERM)
        program.wait(10)
    old, new = (out / "mmtt.log.1").read_text(), (out / "mmtt.log").read_text()
    assert old.startswith("#separator") and old.splitlines()[-1].startswith("#close")
    assert new.startswith("#separator") and taken_of(out) == ["log.pcap.1764300010"]
    assert len(rows(out)) == len(rows(out, "mmtt.log.1"))


def test_what_was_half_written_is_taken_back_from_a_log_that_was_moved_away_too(captures, follow, tmp_path):
    out = tmp_path / "out"
    write_as(captures, "log.pcap.1764300009")
    follow("--once")
    before = (out / "mmtt.log").read_bytes()
    (out / "mmtt.log").rename(out / "mmtt.log-20261128")
    with (out / "mmtt.log-20261128").open("ab") as log:
        log.write(b"half a ro")
    (captures / "more.pcap").write_bytes(LAB)
    assert follow("--once").returncode == 0
    assert (out / "mmtt.log-20261128").read_bytes() == before
    assert taken_of(out) == ["more.pcap"]


def test_logs_and_states_of_others_are_left_alone(captures, follow, bundle, tmp_path):
    write_as(captures, "log.pcap.1764300009")
    (tmp_path / "zeek").mkdir()
    (tmp_path / "zeek" / "mmtt.log").write_text("#separator \\x09\n")
    done = follow("--once", output=tmp_path / "zeek")
    assert done.returncode == 2 and "zeek/mmtt.log: is there already" in done.stderr
    assert (tmp_path / "zeek" / "mmtt.log").read_text() == "#separator \\x09\n"
    follow("--once")
    (tmp_path / "others").mkdir()
    other = mmtt("classify", "--follow", tmp_path / "others", "--bundle", bundle, "-o", tmp_path / "out", "--once")
    assert other.returncode == 2 and "of captures in" in other.stderr
    (tmp_path / "out" / "mmtt_follow.json").write_text('{"version": 1, "dire')
    assert "mmtt_follow.json: damaged" in follow("--once").stderr


def test_two_at_once_don_t_write_the_same_logs(captures, follow, bundle, tmp_path):
    with following(captures, bundle, tmp_path / "out"):
        until((tmp_path / "out" / "mmtt_follow.json").exists)
        done = follow("--once")
    assert done.returncode == 2 and "another mmtt classify --follow uses it" in done.stderr


def test_rows_can_be_printed_with_a_state_of_their_own(captures, follow, tmp_path):
    write_as(captures, "log.pcap.1764300009", "log.pcap.1764300010")
    state = ("--state", tmp_path / "state.json", "--once", "--format", "json")
    first = follow(*state, output=None)
    found = [json.loads(line) for line in first.stdout.splitlines()]
    assert {Path(row["capture"]).name for row in found} == {"log.pcap.1764300009", "log.pcap.1764300010"}
    assert follow(*state, output=None).stdout == ""
    assert [
        json.loads(line)["state"]
        for line in follow("--once", "--incidents", "--format", "json", output=None).stdout.splitlines()
    ]


def test_events_of_eve_are_added_to_one_file_or_sent(captures, follow, tmp_path):
    write_as(captures, "log.pcap.1764300009", "log.pcap.1764300010")
    follow("--once", "--format", "eve")
    lines = (tmp_path / "out" / "eve.json").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    assert Counter(event["event_type"] for event in events)["mmtt"] == 50
    assert {"mmtt", "mmtt_incident"} == {event["event_type"] for event in events}
    assert all(event["community_id"].startswith("1:") for event in events if event["event_type"] == "mmtt")
    assert {Path(event["pcap_filename"]).name for event in events} <= {path.name for path in captures.iterdir()}
    (captures / "more.pcap").write_bytes(LAB)
    follow("--once", "--format", "eve")
    assert (tmp_path / "out" / "eve.json").read_text().splitlines()[: len(lines)] == lines
    follow("--once", "--to", tmp_path / "sent.json", "--state", tmp_path / "state.json", output=None)
    follow("--once", "--to", tmp_path / "sent.json", "--state", tmp_path / "state.json", output=None)
    sent = sorted((tmp_path / "sent.json").read_text().splitlines())
    assert sent == sorted((tmp_path / "out" / "eve.json").read_text().splitlines())


def test_a_log_is_not_gone_on_with_in_another_format(captures, follow, tmp_path):
    write_as(captures, "log.pcap.1764300009")
    follow("--once")
    for arguments in (("--format", "json"), ("--community-id",)):
        done = follow("--once", *arguments)
        assert done.returncode == 2 and "mmtt.log: was written in another format, or with other columns" in done.stderr
    assert follow("--once", "--format", "eve").returncode == 0, "another file"
    for log in ("mmtt.log", "mmtt_incidents.log"):
        (tmp_path / "out" / log).unlink()
    write_as(captures, "log.pcap.1764300009", "log.pcap.1764300010")
    assert follow("--once", "--community-id").returncode == 0
    assert "community_id" in (tmp_path / "out" / "mmtt.log").read_text()


def test_a_full_disk_ends_it_and_nothing_is_half_written(captures, follow, tmp_path):
    if os.geteuid() or shutil.which("unshare") is None:
        pytest.skip("needs root, for a small file system")
    write_as(captures, "log.pcap.1764300009", "log.pcap.1764300010")
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", small], check=False).returncode:
        pytest.skip("can't mount here")
    try:
        done = follow("--once", output=small)
        assert done.returncode == 1 and "No space left on device" in done.stderr
        assert all(line.count("\t") for line in (small / "mmtt.log").read_text().splitlines()[8:])
        subprocess.run(["mount", "-o", "remount,size=4m", small], check=True)
        assert follow("--once", output=small).returncode == 0
        follow("--once")
        assert [row[:-2] for row in rows(small)] == [row[:-2] for row in rows(tmp_path / "out")]
    finally:
        subprocess.run(["umount", small], check=True)


def test_nothing_to_do_costs_no_time(captures, bundle, tmp_path):
    for number in range(500):
        (captures / f"log.pcap.17643{number:05}").write_bytes(OFFICE[:24])
    out = tmp_path / "out"
    with following(captures, bundle, out) as program:
        until(lambda: state(out)["counts"].get("taken") == 500, 60)
        time.sleep(2)

        def used() -> int:
            fields = Path(f"/proc/{program.pid}/stat").read_text().rpartition(")")[2].split()
            return int(fields[11]) + int(fields[12])

        before = used()
        time.sleep(5)
        assert used() - before <= 0.03 * 5 * os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize(
    "alike",
    [
        "log.pcap.1764304002 log.pcap.1764304003 log.pcap.1764304003.lz4",
        "log.pcap.3.1764304002.5 log.pcap.3.1764304003.123456.lz4",
        "x.pcap x.pcap1 x.pcap12.gz",
        "x.pcap00 x.pcap01 x.pcap10",
        "x-2026-11-28_04.13.07.pcap x-2026-11-29_00.00.00.pcap",
        "2026-11-28/snort.log.1764304002 2026-11-29/snort.log.1764304003",
        "cap_00001_20261128041307.pcapng cap_00002_20261128051307.pcapng",
    ],
)
def test_a_sequence_is_told_by_its_names(alike):
    assert len({sequence(name) for name in alike.split()}) == 1


def test_threads_and_sensors_have_sequences_of_their_own():
    names = "log.pcap.1.1764304002 log.pcap.2.1764304002 a1.pcap a2.pcap"
    assert len({sequence(name) for name in names.split()}) == 4


def test_wrong_usage(captures, follow, bundle):
    for arguments, says in (
        (("x.pcap",), "takes no FILE"),
        (("--format", "table"), "takes no FILE, --record or table"),
        (("--incidents",), "-o writes rows and incidents"),
        (("--to-the-end",), "--to-the-end goes with --once"),
    ):
        done = follow(*arguments)
        assert done.returncode == 2 and says in done.stderr
    done = mmtt("classify", "--once", "x.pcap")
    assert done.returncode == 2 and "go with --follow" in done.stderr
    assert "Missing argument" in mmtt("classify").stderr
    assert "no directory" in mmtt("classify", "--follow", captures / "gone").stderr
