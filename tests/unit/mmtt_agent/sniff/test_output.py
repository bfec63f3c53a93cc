"""Where rows go, and how many of them are said to have got there."""

from __future__ import annotations

import resource

import pytest

from mmtt_agent.classify.row import Row
from mmtt_agent.sniff.config import Config
from mmtt_agent.sniff.errors import SettingsError
from mmtt_agent.sniff.output import Output

ROW = Row(
    1_764_304_002_000_000, "CUid1", "10.0.0.1", 4000, "10.0.0.2", 443, "tcp", 0, 32, "web", 0.9, "unknown", 0.1,
    False, 0.02, None, "ok", None, "m@12345678", None, "",
)  # fmt: skip


@pytest.fixture
def room():
    """Sets how long a file may get."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_of_rows_that_there_was_no_room_for_the_others_are_not_counted_as_lost(tmp_path, room):
    said = []
    output = Output(Config(directory=str(tmp_path)), "json", lambda level, text: said.append(text))
    room(3000)
    for _ in range(20):
        output.write(ROW, "seen")
    output.flush()
    output.write(ROW, "seen")
    output.flush()
    room(1 << 20)
    log = tmp_path / "mmtt.log"
    there = log.read_text().splitlines()
    assert 2 < len(there) < 20 and all(line.endswith("}") for line in there)
    assert (output.written, output.lost) == (len(there), 21 - len(there))
    output.write(ROW, "seen")
    output.close()
    assert (output.written, output.lost) == (len(there) + 1, 21 - len(there))
    assert len(log.read_text().splitlines()) == output.written and len(said) == 2


@pytest.mark.parametrize("form", ["tsv", "eve"])
def test_two_don_t_write_the_same_logs(tmp_path, form):
    def output():
        return Output(Config(directory=str(tmp_path)), form, lambda *_: None)

    first = output()
    with pytest.raises(SettingsError, match="another mmtt sniff writes its logs there"):
        output()
    first.close()
    output().close()
