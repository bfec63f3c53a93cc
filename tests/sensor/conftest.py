import pytest
from bed import Bed, missing


@pytest.fixture(scope="session")
def why_not() -> str:
    return missing()


@pytest.fixture
def bed(why_not, tmp_path):
    if why_not:
        pytest.skip(why_not)
    with Bed(tmp_path) as made:
        yield made


def pytest_terminal_summary(terminalreporter):
    """The table of faults."""
    rows = [
        value
        for report in terminalreporter.getreports("passed")
        for name, value in report.user_properties
        if name == "fault" and report.when == "call"
    ]
    if rows:
        terminalreporter.section("faults")
        terminalreporter.line(f"{'':46} {'lost':40} back after")
        for row in rows:
            terminalreporter.line(row)
