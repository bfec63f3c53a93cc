"""The capture reader and a real Zeek make the same windows of the same captures."""

from __future__ import annotations

import pytest
from parity import ROOT, SHARED, compare_all, expand

from mmtt_agent.zeek import find as find_zeek

#: Every so many-th capture of ../shared/data is looked at here; ``parity.py`` looks at all.
SAMPLE = 60


@pytest.fixture(scope="module")
def zeek():
    found = find_zeek()
    if found is None:
        pytest.skip("no Zeek: set ZEEK to the program, or put it on PATH")
    return found


def same(zeek, captures):
    result = compare_all(zeek, captures)
    assert not result.examples, "\n".join(result.examples[:5])
    assert result.windows
    return result


def test_the_projects_own_captures_give_the_same_windows_and_connections(zeek):
    result = same(zeek, expand([str(ROOT / "tests" / "data")]))
    assert result.connections_equal == result.connections


@pytest.mark.parametrize("group", ["ndpi", "benign", "malicious"])
def test_a_sample_of_other_peoples_captures_gives_the_same_windows(zeek, group):
    if not SHARED.is_dir():
        pytest.skip(f"no ../shared: {SHARED} is not there")
    same(zeek, expand([str(SHARED / group)])[::SAMPLE])
