"""Data that `mmtt train` refuses costs one line, and leaves nothing where the bundle would be."""

import dataclasses

import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install 'mmtt[train]'")

from click.testing import CliRunner
from synthetic import synthetic

from mmtt_agent.program import program
from mmtt_model import run


@pytest.fixture
def rare():
    """The services that have too few captures, and how many."""
    return {"gaming": 1}


@pytest.fixture
def refused(monkeypatch, rare):
    """Data without a service that has captures enough; kept in the file that a later run would begin with."""

    def load(directory, cache, *_):
        cache.write_bytes(b"what was read")
        data = synthetic()
        return dataclasses.replace(data, services=[], report=data.report | {"dropped_services": rare})

    monkeypatch.setattr(run, "load_or_build", load)


def train(out, tiny):
    return CliRunner().invoke(program, ["train", str(tiny), "--data", "data", "-o", str(out)])


def test_nothing_is_left_of_data_that_is_refused(refused, tiny, tmp_path):
    done = train(tmp_path / "out", tiny)
    assert done.exit_code == 1 and "leaves no services; lower it" in done.output
    assert not (tmp_path / "out").exists()


def test_what_was_there_before_stays(refused, tiny, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "CARD.md").write_text("of another run")
    assert train(tmp_path / "out", tiny).exit_code == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["CARD.md"]


def test_data_that_is_not_there_leaves_no_directory(tiny, tmp_path):
    assert train(tmp_path / "out", tiny).exit_code == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("rare", [{}])
def test_where_nothing_is_named_nothing_is_said_of_settings(refused, tiny, tmp_path):
    done = train(tmp_path / "out", tiny)
    assert done.exit_code == 1 and "the service of no flow is known" in done.output and "lower" not in done.output
