"""A file that is there complete or not at all."""

from __future__ import annotations

import errno
import os

import pytest

from mmtt_agent import whole


def test_it_takes_the_place_of_the_old_one_when_it_is_complete(tmp_path):
    path = tmp_path / "log"
    path.write_text("old")
    with whole.written(path) as out:
        out.write("new ü")
        out.flush()
        assert path.read_text() == "old"
    assert path.read_bytes() == "new ü".encode()
    assert os.listdir(tmp_path) == ["log"]


def test_one_that_fails_changes_nothing(tmp_path):
    path = tmp_path / "log"
    path.write_text("old")

    def stopped() -> None:
        with whole.written(path) as out:
            out.write("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["log"]


def test_several_appear_together_or_not_at_all(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"

    def write(text: str, error: type[BaseException] | None = None) -> None:
        with whole.written_together(one, other) as (first, second):
            first.write(text)
            second.write(text)
            if error:
                raise error

    write("old")
    with pytest.raises(KeyboardInterrupt):
        write("new", KeyboardInterrupt)
    assert one.read_text() == other.read_text() == "old"
    other.unlink()
    other.mkdir()
    with pytest.raises(IsADirectoryError, match=str(other)):
        write("new")
    assert one.read_text() == "old" and {*os.listdir(tmp_path)} == {"one", "other"}


def test_what_is_wrong_names_the_file(tmp_path):
    (tmp_path / "log").mkdir()
    for path, number in ((tmp_path / "log", errno.EISDIR), (tmp_path / "absent" / "log", errno.ENOENT)):
        with pytest.raises(OSError, match=str(path)) as caught, whole.written(path):
            pass
        assert (caught.value.errno, caught.value.filename) == (number, str(path))
    with pytest.raises(OSError, match=f"No space left on device: '{tmp_path}/full'"), whole.written(tmp_path / "full"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_directory_that_may_be_written_to_but_not_read_will_do(tmp_path, monkeypatch):
    def list_nothing(_):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "listdir", list_nothing)
    with whole.written(tmp_path / "log") as out:
        out.write("new")
    assert (tmp_path / "log").read_text() == "new"


def test_what_a_killed_run_has_left_goes_and_what_another_run_writes_stays(tmp_path):
    left, fresh, others = tmp_path / ".log.abcdefgh", tmp_path / ".log.hgfedcba", tmp_path / ".log.gz"
    for part in (left, fresh, others):
        part.write_text("half")
    for part in (left, others):
        os.utime(part, (0, 0))
    with whole.written(tmp_path / "log") as slow:
        slow.write("slow")
        slow.flush()
        (written,) = {*os.listdir(tmp_path)} - {left.name, fresh.name, others.name}
        os.utime(tmp_path / written, (0, 0))
        with whole.written(tmp_path / "log") as quick:
            quick.write("quick")
        assert not left.exists() and fresh.exists() and others.exists()
    assert (tmp_path / "log").read_text() == "slow"
