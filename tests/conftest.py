"""What all tests share: the run's last lines say how many tests had no Zeek to run on."""

from __future__ import annotations


def pytest_terminal_summary(terminalreporter) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    for wanted, remedy in (
        ("no Zeek", "set ZEEK, or put zeek on PATH or at /opt/zeek/bin/zeek"),
        ("no ../shared", "the captures in ../shared/data are not here"),
    ):
        count = sum(wanted in str(report.longrepr) for report in skipped)
        if count:
            terminalreporter.write_line(f"{count} tests were skipped because there is {wanted}: {remedy}")
