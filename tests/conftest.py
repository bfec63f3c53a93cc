"""What all tests share: the run's last lines say how many tests had no Zeek, or Suricata, to run on."""

from __future__ import annotations

import signal


def pytest_terminal_summary(terminalreporter) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    for wanted, remedy in (
        ("no Zeek", "set ZEEK, or put zeek on PATH or at /opt/zeek/bin/zeek"),
        ("no Suricata", "apt-get install -t bookworm-backports suricata, or set SURICATA"),
        ("no ../shared", "the captures in ../shared/data are not here"),
    ):
        count = sum(wanted in str(report.longrepr) for report in skipped)
        if count:
            terminalreporter.write_line(f"{count} tests were skipped because there is {wanted}: {remedy}")


def pytest_configure() -> None:
    """Programs that tests start obey the signals that they are sent, also where whoever runs the tests ignores them
    (``nohup``, ``&``): what is ignored is passed on to them, what is caught is not."""
    for each in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(each) is signal.SIG_IGN:
            signal.signal(each, lambda *_: None)
