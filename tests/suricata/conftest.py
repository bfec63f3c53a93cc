"""What the tests with a real Suricata share."""

from __future__ import annotations

from pathlib import Path

import pytest
import sensor
from bed import Bed
from watched_link import why_not

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items) -> None:
    if sensor.find() is None:
        for item in items:
            if HERE in Path(item.path).parents:
                item.add_marker(pytest.mark.skip(reason="no Suricata"))


@pytest.fixture
def bed(tmp_path):
    if reason := why_not():
        pytest.skip(reason)
    with Bed(tmp_path) as made:
        yield made


def pytest_terminal_summary(terminalreporter) -> None:
    """The table of faults."""
    rows = [
        value
        for report in terminalreporter.getreports("passed")
        for name, value in report.user_properties
        if name == "eve fault" and report.when == "call"
    ]
    if rows:
        terminalreporter.section("faults beside Suricata")
        terminalreporter.line(f"{'':52} {'lost':>5} {'twice':>6}  said")
        for row in rows:
            terminalreporter.line(row)
