import pytest
import yaml


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A directory that training takes for the made windows."""
    from synthetic import synthetic

    from mmtt_model import run
    from mmtt_model.data import pairs

    monkeypatch.setattr(run, "load_or_build", lambda *_: synthetic())
    # There are no captures of them, so no hosts.
    monkeypatch.setattr(pairs, "load_or_build", lambda *_: None)
    return tmp_path / "data"


@pytest.fixture
def tiny(tmp_path):
    """The tiny network's configuration file."""
    from synthetic import TINY

    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(TINY))
    return path


@pytest.fixture
def recorded(tmp_path):
    """A lab's directory with 8 captures, each with 5 web flows and a beacon."""
    import random

    import zstandard
    from lab_run import SCENARIO, udp

    from mmtt_model.lab import truth
    from mmtt_model.lab.scenario import parse, plan
    from mmtt_model.lab.wire import Tap

    made, directory = plan(parse(SCENARIO, "test"), 0), tmp_path / "lab"
    (directory / "captures").mkdir(parents=True)
    web, beacon = (step.address for step in made.steps)
    draw, rows = random.Random(1), []
    for number in range(8):
        path = directory / "captures" / f"{number}.pcap"
        tap = Tap(path, 160)
        for flow in range(6):
            for turn in range(8):
                target = beacon if flow == 5 else web
                tap.packet(
                    1000.0 + flow * 9 + turn * draw.random(),
                    udp("10.77.0.1", target, (40000 + flow, 443), draw.randrange(50, 1200)),
                )
        tap.file.close()
        joined, _ = truth.join(truth.flows_of(path)[0], made)
        rows += [truth.row(path.name, flow, step, {}, "cable") for flow, step in joined]
    (directory / "flows.tsv.zst").write_bytes(zstandard.compress(truth.table(truth.COLUMNS, rows).encode()))
    return directory


@pytest.fixture(scope="module")
def one_thread():
    """Small networks on a busy machine: more threads only wait for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
