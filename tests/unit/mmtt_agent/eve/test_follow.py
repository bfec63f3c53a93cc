"""A file that is written to, rotated away, truncated, replaced: every byte once, also across a restart."""

from __future__ import annotations

import gzip
import os
import shutil
from pathlib import Path

import pytest

from mmtt_agent.eve.follow import Follower, Position


class Log:
    """The file, and all that was ever written to it."""

    def __init__(self, path: Path) -> None:
        self.path, self.said = path, []
        self.follower = Follower(path, None, self.said.append)
        self.read = b""
        self.written = b""
        self.anew = 0

    def write(self, text: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(text)
        self.written += text

    def take(self, most: int = 1 << 20) -> None:
        """All there is now."""
        while True:
            data, another = self.follower.read(most)
            self.anew += another
            self.read += data
            if not data:
                return

    def ended(self, passed: int | None = None) -> Position | None:
        """Where another begins, when so many of the bytes that were read last are done with; else all."""
        passed = self.follower.count if passed is None else passed
        position = self.follower.position(passed)
        self.read = self.read[: len(self.read) - self.follower.count + passed]
        self.follower.close()
        return Position.read(position._asdict()) if position else None

    def begin(self, position: Position | None) -> None:
        self.follower = Follower(self.path, position, self.said.append)


@pytest.fixture
def log(tmp_path):
    made = Log(tmp_path / "eve.json")
    yield made
    made.follower.close()
    assert made.read == made.written


def line(number: int) -> bytes:
    return b'{"timestamp":"%06d","x":"%s"}\n' % (number, b"y" * 90)


def test_what_is_written_is_read(log):
    log.take()
    for number in range(30):
        log.write(line(number))
        log.take(most=64)
    assert (log.read, log.anew, log.said) == (log.written, 0, [])


def test_a_file_that_is_renamed_is_read_to_its_end_and_then_the_next(log, tmp_path):
    log.write(line(1))
    log.take()
    with log.path.open("ab") as old:
        log.path.rename(tmp_path / "eve.json.1")
        log.take()
        old.write(line(2))  # Suricata writes there until it is told
        log.path.touch()
        old.flush()
        log.take()
        old.write(line(3))
    log.written += line(2) + line(3)
    log.write(line(4))
    log.take()
    assert (log.read, log.anew, log.said) == (log.written, 1, [])


def test_half_a_line_at_the_end_of_a_rotated_file_is_told_from_the_next(log, tmp_path):
    log.write(line(1) + b"half")
    log.take()
    log.path.rename(tmp_path / "eve.json.1")
    log.write(line(2))
    data, another = log.follower.read(1000)
    log.read += data
    assert another and data == line(2)


def test_a_file_that_is_copied_and_truncated_is_read_to_its_end_from_the_copy(log, tmp_path):
    log.write(line(1))
    log.take()
    log.write(line(2))
    shutil.copy(log.path, tmp_path / "eve.json.1")
    os.truncate(log.path, 0)
    log.write(line(3))
    log.take()
    assert (log.read, log.anew, log.said) == (log.written, 1, [])
    shutil.copy(log.path, tmp_path / "eve.json.2")
    os.truncate(log.path, 0)
    for number in range(4, 20):
        log.write(line(number))  # longer than it was when it was looked at last
    log.take()
    assert log.said == []


def test_a_file_that_is_truncated_without_a_copy_is_said(log):
    log.write(line(1) * 3)
    log.take()
    os.truncate(log.path, 0)
    log.write(line(2))
    log.take()
    assert len(log.said) == 1 and "truncated" in log.said[0]


def test_a_file_that_is_removed_and_made_anew(log):
    log.write(line(1))
    log.take()
    log.path.unlink()
    log.take()
    log.write(line(2))
    log.take()
    assert (log.anew, log.said) == (1, [])


def test_nothing_is_lost_or_doubled_over_a_restart(log):
    log.write(line(1) + line(2) + line(3))
    log.take()
    log.begin(log.ended(passed=2 * len(line(1))))
    log.take()
    log.begin(log.ended())
    log.take()
    log.begin(log.ended(passed=0))
    log.take()
    log.write(line(4))
    log.take()
    assert log.said == []


def test_files_that_were_rotated_away_meanwhile_are_read_first(log, tmp_path):
    log.write(line(1))
    log.take()
    position = log.ended()
    log.write(line(2))
    for number, name in ((3, "eve.json.2"), (4, "eve.json.1")):
        log.path.rename(tmp_path / name)
        os.utime(tmp_path / name, (number, number))
        log.write(line(number))
    (tmp_path / "eve.json.out").write_bytes(b"not this")
    (tmp_path / "eve.json-mmtt").write_bytes(b"not this")
    log.begin(position)
    log.take()
    assert log.said == []


def test_a_rotated_file_may_be_packed_by_then(log, tmp_path):
    log.write(line(1))
    log.take()
    position = log.ended()
    log.write(line(2))
    with gzip.open(tmp_path / "eve.json.1.gz", "wb") as packed:
        packed.write(log.path.read_bytes())
    log.path.unlink()
    log.write(line(3))
    log.begin(position)
    log.take()
    assert log.said == []


def test_a_file_that_is_gone_for_good_is_said(log):
    log.write(line(1))
    log.take()
    position = log.ended()
    log.path.unlink()
    log.write(line(2))
    log.begin(position)
    log.take()
    assert len(log.said) == 1 and "gone" in log.said[0]


@pytest.mark.parametrize(
    "fields", [None, 1, {}, {"offset": 1, "head": "x"}, {"offset": -1, "head": "", "length": 0},
               {"offset": 1, "head": 2, "length": 0}, {"offset": 1, "head": "", "length": 1 << 40}],
)  # fmt: skip
def test_a_position_that_is_none_is_refused(fields):
    with pytest.raises(ValueError, match="not a position"):
        Position.read(fields)
