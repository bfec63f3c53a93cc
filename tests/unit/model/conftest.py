import pytest
import yaml


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A directory that training takes for the made windows."""
    from synthetic import synthetic

    from mmtt_model import run

    monkeypatch.setattr(run, "load_or_build", lambda *_: synthetic())
    return tmp_path / "data"


@pytest.fixture
def tiny(tmp_path):
    """The tiny network's configuration file."""
    from synthetic import TINY

    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(TINY))
    return path
