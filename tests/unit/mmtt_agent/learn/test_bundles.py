"""Bundles of a site are exchanged whole: what was there can be gone back to, and stays where a new one can't be put."""

import errno
import os

import numpy as np
import pytest
from site_memory import WIDTH, embedding_bundle

from mmtt_agent import bundle as bundles
from mmtt_agent import whole
from mmtt_agent.bundle import SITE
from mmtt_agent.learn import bundles as written
from mmtt_agent.learn.errors import LearnError
from mmtt_agent.site import Site


def site(unknown: float) -> Site:
    return Site(
        {}, {}, np.zeros(WIDTH, np.float32), np.ones(WIDTH, np.float32), np.ones((WIDTH, 4), np.float32),
        np.zeros((0, 4), np.float32), np.zeros(0, bool), np.zeros(4, np.float32),
        np.ones(4, np.float32), unknown=unknown,
    )  # fmt: skip


@pytest.fixture
def base(tmp_path):
    return bundles.load(embedding_bundle(tmp_path / "base"))


@pytest.fixture
def place(tmp_path):
    return tmp_path / "place" / "bundle"


def write(place, base, unknown=0.5):
    written.write(place, base, site(unknown), "# Card\n", {"mmtt": "0"})


def content(directory) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


def of(place) -> float | None:
    found = bundles.load(place).site
    return found and found.unknown


def test_it_can_be_loaded_and_its_network_is_the_shipped_one(place, base):
    write(place, base)
    assert bundles.load(place).onnx == base.onnx and of(place) == 0.5
    assert {*content(place)} == {"model.onnx", "bundle.yaml", SITE, "CARD.md"}
    assert not [path for path in place.parent.iterdir() if path.name.startswith(".")]


def test_what_a_killed_run_has_left_goes(place, base):
    place.parent.mkdir(parents=True)
    old, new, other = (place.parent / name for name in (".bundle.abcd_123", ".bundle.abcdefgh", ".bundles.abcdefgh"))
    for each in (old, new, other):
        (each / "new").mkdir(parents=True)
        os.utime(each, (0, 0) if each != new else None)
    write(place, base)
    assert [each.exists() for each in (old, new, other)] == [False, True, True]


def test_others_may_read_it(place, base):
    umask = os.umask(0o022)
    try:
        write(place, base)
    finally:
        os.umask(umask)
    assert place.stat().st_mode & 0o777 == 0o755 and (place / SITE).stat().st_mode & 0o777 == 0o644


def test_after_the_first_fit_back_gives_the_shipped_network(place, base):
    write(place, base)
    written.back(place)
    assert bundles.load(place).model == base.model and of(place) is None


def test_back_twice_is_as_before(place, base):
    write(place, base, 0.25)
    write(place, base, 0.5)
    before = content(place.parent)
    written.back(place)
    assert of(place) == 0.25
    written.back(place)
    assert content(place.parent) == before


def test_only_the_latest_is_kept(place, base):
    for unknown in (0.25, 0.5, 0.75):
        write(place, base, unknown)
    written.back(place)
    assert of(place) == 0.5 and sorted(path.name for path in place.parent.iterdir()) == ["bundle", "bundle.previous"]


def test_back_brings_a_removed_one_back(place, base):
    write(place, base, 0.25)
    write(place, base, 0.5)
    place.rename(place.with_name("gone"))
    written.back(place)
    assert of(place) == 0.25


def test_without_an_earlier_one_there_is_no_way_back(place, base):
    embedding_bundle(place)
    before = content(place.parent)
    with pytest.raises(LearnError, match="no earlier bundle"):
        written.back(place)
    assert content(place.parent) == before


@pytest.mark.parametrize("many", range(7))
@pytest.mark.parametrize("fits", [0, 1])
def test_on_a_full_disk_all_is_as_it_was(place, base, monkeypatch, many, fits):
    for _ in range(fits):
        write(place, base, 0.25)
    place.parent.mkdir(exist_ok=True)
    before, left = content(place.parent), [many]
    real = whole.write

    def full(path, data):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        real(path, data)

    monkeypatch.setattr(whole, "write", full)
    if many >= (4 if fits else 6):
        write(place, base)
        return
    with pytest.raises(LearnError, match=r"No space left on device; .* is as it was"):
        write(place, base)
    assert content(place.parent) == before and len([*place.parent.iterdir()]) == 2 * fits


@pytest.mark.parametrize("at", range(3))
@pytest.mark.parametrize("error", [OSError(errno.EACCES, "Permission denied"), KeyboardInterrupt()])
@pytest.mark.parametrize("change", ["write", "back"])
def test_where_it_can_not_be_put_all_is_as_it_was(place, base, monkeypatch, at, error, change):
    write(place, base, 0.25)
    write(place, base, 0.5)
    before, left = content(place.parent), [at]
    real = os.rename

    def rename(*names):
        left[0] -= 1
        if left[0] == -1:
            raise error
        real(*names)

    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises((LearnError, KeyboardInterrupt)):
        write(place, base, 0.75) if change == "write" else written.back(place)
    assert content(place.parent) == before
    assert sorted(path.name for path in place.parent.iterdir()) == ["bundle", "bundle.previous"]


def test_a_directory_that_can_not_be_made_is_told(tmp_path, base):
    (tmp_path / "file").write_text("")
    with pytest.raises(LearnError, match=f"{tmp_path}/file"):
        write(tmp_path / "file" / "bundle", base)


def test_it_may_be_where_one_is(place, base, monkeypatch):
    write(place, base, 0.25)
    monkeypatch.chdir(place)
    write(type(place)("."), base, 0.5)
    assert of(place) == 0.5
    monkeypatch.chdir(place)
    written.back(type(place)("."))
    assert of(place) == 0.25


def test_an_empty_directory_is_none(place, base):
    place.mkdir(parents=True)
    assert not written.there(place)
    write(place, base)
    written.back(place)
    assert bundles.load(place).model == base.model


def test_what_an_agent_would_refuse_takes_nobody_s_place(place, base):
    write(place, base)
    before = content(place.parent)
    with pytest.raises(LearnError, match=r"what was learnt can't be used: .*; .*/bundle is as it was"):
        write(place, base, 2.0)
    assert content(place.parent) == before and len([*place.parent.iterdir()]) == 2
