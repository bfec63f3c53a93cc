"""What is lost, and for how long, when something breaks on a sensor: a row of the table at the end of the run for each.

Zeek with one agent, connections that begin all the while, and a fault in the midst. Whatever it is: every window has
one row, those without a verdict say so, the counters say the same as the log, no line of conn.log is missing, and
verdicts come again.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from bed import by_status, read_log, wait_for

#: Connections that begin in a second, and for how many seconds at least; longer where what is waited for takes longer.
RATE, SECONDS = 150.0, 18
FAKE_AGENT = Path(__file__).parents[1] / "zeek" / "fake_agent.py"
URL = "ws://127.0.0.1:27759/v1/messages/json"


class Story:
    """Traffic under way, a fault in it, and the accounts."""

    def __init__(self, bed) -> None:
        self.bed, self.log = bed, bed.directory / "zeek"
        self.back: float | None = None
        self.flows = 0

    def begin(self, script: str = "", environment: dict[str, str] | None = None, agent=None) -> None:
        self.bed.zeek(script=script, environment=environment)
        (agent or self.bed.agent)()
        self.used()
        self._end, self._begun = self.bed.traffic(None, RATE), time.monotonic()
        # Windows end with their connection, some seconds after its last packet; by then verdicts come steadily.
        wait_for(lambda: self.verdicts() > RATE / 2, 60, "verdicts")

    def used(self, agents: int = 1) -> None:
        wait_for(lambda: self.bed.metrics()["mmtt_agents"] == agents, 60, f"{agents} agents in use")

    def verdicts(self) -> float:
        return self.bed.metrics()["mmtt_windows_total ok"]

    def mended(self) -> None:
        """The fault is over: how long until the next verdict."""
        begun, before = time.monotonic(), self.verdicts()
        wait_for(lambda: self.verdicts() > before, 60, "verdicts after the fault")
        self.back = time.monotonic() - begun

    def end(self) -> None:
        """End the traffic, some seconds after what broke is mended."""
        time.sleep(max(6.0, self._begun + SECONDS - time.monotonic()))
        self.flows = self._end()["flows"]

    def finish(self) -> Counter[str]:
        """End the traffic, check the accounts; the rows by status."""
        self.end()
        # What Zeek still keeps of the last connections, and what is unanswered.
        time.sleep(7)
        wait_for(lambda: self.bed.metrics()["mmtt_outstanding_windows"] == 0, 60, "the last answers")
        counts = self.bed.metrics()
        self.bed.stop("zeek")
        return self.accounts(counts)

    def accounts(self, counts: Counter[str]) -> Counter[str]:
        rows, connections = read_log(self.log / "mmtt.log"), read_log(self.log / "conn.log")
        assert max(Counter((row["uid"], row["window"]) for row in rows).values()) == 1
        statuses = Counter(row["status"] for row in rows)
        assert statuses == by_status(counts), "the counters say the same as the log"
        connections = [row for row in connections if row["proto"] == "tcp"]
        assert len(connections) == self.flows, "no line of conn.log is missing"
        assert {row["uid"] for row in rows} <= {row["uid"] for row in connections}
        return statuses


@pytest.fixture
def story(bed):
    return Story(bed)


@pytest.fixture
def table(story, record_property):
    """Adds a row to the table that the run ends with."""

    def add(fault: str, statuses: Counter[str], lost: str = "") -> None:
        marked = ", ".join(f"{n} {status}" for status, n in statuses.items() if status != "ok")
        without = story.flows - sum(statuses.values())
        unseen = f"{without} not collected" if without else ""
        lost = lost or ", ".join(filter(None, (marked, unseen))) or "nothing"
        record_property("fault", f"{fault:46} {lost:40} {story.back:5.1f} s")

    return add


def test_agent_killed(bed, story, table):
    story.begin()
    bed.stop("agent", signal.SIGKILL)
    story.used(0)
    bed.agent()
    story.mended()
    statuses = story.finish()
    # What the agent had in hand, and connections that were open meanwhile; later ones were not collected at all.
    assert set(statuses) <= {"ok", "timeout", "no_agent", "too_short"} and statuses["ok"] > RATE * 5
    table("agent killed, another started", statuses)


def test_agent_killed_beside_another(bed, story, table):
    story.begin()
    bed.agent("other")
    story.used(2)
    time.sleep(2)
    bed.stop("agent", signal.SIGKILL)
    story.mended()
    statuses = story.finish()
    assert statuses == {"ok": story.flows}, "the other has taken over all of it"
    table("agent killed beside another", statuses)


def test_agent_restarted(bed, story, table):
    story.begin()
    assert bed.stop("agent") == 0
    bed.agent()
    story.mended()
    statuses = story.finish()
    # What was on its way as the agent said goodbye is shed, or nobody is left for it.
    assert statuses["shed"] + statuses["timeout"] < 64
    assert set(statuses) <= {"ok", "no_agent", "too_short", "shed", "timeout"} and statuses["ok"] > RATE * 5
    table("agent restarted", statuses)


def test_agent_stopped_for_a_while(bed, story, table):
    story.begin()
    bed.running["agent"].send_signal(signal.SIGSTOP)
    story.used(0)
    bed.running["agent"].send_signal(signal.SIGCONT)
    story.mended()
    statuses = story.finish()
    assert set(statuses) <= {"ok", "timeout", "no_agent", "too_short"} and statuses["ok"] > RATE * 5
    table("agent stopped (SIGSTOP) until it is given up", statuses)


def test_agent_is_slow(bed, story, table):
    def slow():
        bed.start("agent", sys.executable, FAKE_AGENT, "--url", URL, "--each", "0.02", "--credit", "128")

    story.begin(agent=slow)
    wait_for(lambda: bed.metrics()["mmtt_windows_total shed"] > 0, 30, "windows that are shed")
    bed.agent("fast")
    story.mended()
    statuses = story.finish()
    assert set(statuses) == {"ok", "shed"} and statuses["ok"] > RATE * 5
    table("agent slower than the traffic, then one more", statuses)


def test_two_agents_of_one_name(bed, story, table):
    story.begin()
    bed.start("double", sys.executable, FAKE_AGENT, "--url", URL, "--id", "agent")
    time.sleep(3)
    bed.stop("double", signal.SIGKILL)
    story.mended()
    statuses = story.finish()
    # Both answer; the second answer is not used. As one goes without a goodbye the other stays.
    assert statuses == {"ok": story.flows}
    table("two agents of one name", statuses)


def test_the_way_to_the_agent_is_cut(bed, story, table):
    story.begin()
    subprocess.run(["ip", "-n", bed.name, "link", "set", "lo", "down"], check=True)
    time.sleep(6)
    subprocess.run(["ip", "-n", bed.name, "link", "set", "lo", "up"], check=True)
    story.mended()
    statuses = story.finish()
    assert set(statuses) <= {"ok", "timeout", "no_agent", "too_short"} and statuses["ok"] > RATE * 5
    table("no network between them for six seconds", statuses)


def test_half_a_message(bed, story, table):
    story.begin()
    half = (
        "import socket, base64, os\n"
        "s = socket.create_connection(('127.0.0.1', 27759))\n"
        "s.sendall(b'GET /v1/messages/json HTTP/1.1\\r\\nHost: x\\r\\nUpgrade: websocket\\r\\n'\n"
        "          b'Connection: Upgrade\\r\\nSec-WebSocket-Version: 13\\r\\n'\n"
        "          b'Sec-WebSocket-Key: ' + base64.b64encode(os.urandom(16)) + b'\\r\\n\\r\\n')\n"
        "print(s.recv(4096).split()[1])\n"
        "s.sendall(b'\\x81\\xfe\\x03\\xe8abcd[\"mmtt')\n"
    )
    said = subprocess.run(
        ["ip", "netns", "exec", bed.name, sys.executable, "-c", half], capture_output=True, text=True, check=True
    )
    assert "101" in said.stdout
    story.mended()
    statuses = story.finish()
    assert statuses == {"ok": story.flows}
    table("half a message to Zeek, and the end", statuses)


def test_zeek_killed(bed, story, table):
    story.begin()
    begun = time.monotonic()
    bed.stop("zeek", signal.SIGKILL)
    (bed.directory / "zeek").rename(bed.directory / "killed")
    bed.zeek()
    wait_for(lambda: story.verdicts() > 0, 60, "verdicts of the new Zeek")
    story.back = time.monotonic() - begun
    story.end()
    time.sleep(7)
    # Before this Zeek ends as well, and the agent tries again.
    said = bed.said("agent")
    bed.stop("zeek")
    rows = read_log(bed.directory / "zeek" / "mmtt.log")
    assert Counter(row["status"] for row in rows).keys() <= {"ok", "too_short"} and len(rows) > RATE * 3
    assert "connected to Zeek" in said.rpartition("trying again")[2]
    table("Zeek killed, another started", Counter(), "what Zeek had in hand")


def test_no_space_for_the_logs(bed, story, table):
    """Zeek itself ends when it can't write a log; whoever supervises it starts it again."""
    logs = bed.directory / "logs"
    logs.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", logs], check=True)
    try:
        story.begin(f'redef Log::default_logdir = "{logs}";')
        bed.running.pop("zeek").wait(60)
        assert "No space left on device" in bed.said("zeek")
        begun = time.monotonic()
        subprocess.run(["mount", "-o", "remount,size=50m", logs], check=True)
        bed.zeek()
        wait_for(lambda: story.verdicts() > 0, 60, "verdicts of the new Zeek")
        story.back = time.monotonic() - begun
        bed.stop("zeek")
        before, after = len(read_log(logs / "mmtt.log")), len(read_log(story.log / "mmtt.log"))
        assert before > 0 and after > 0
        table("disk full for the logs, then Zeek started again", Counter(), "what Zeek had in hand: it ends")
    finally:
        subprocess.run(["umount", logs], check=True)


@pytest.mark.parametrize("jump", ["+3600", "-3600"])
@pytest.mark.skipif(shutil.which("faketime") is None, reason="no faketime: apt-get install faketime")
def test_the_clock_jumps(bed, story, table, tmp_path, jump):
    clock = tmp_path / "clock"
    clock.write_text("+0")
    library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    story.begin(environment={
        "LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_CACHE_DURATION": "1",
        "DONT_FAKE_MONOTONIC": "1",
    })  # fmt: skip
    bed.agent("other")
    story.used(2)
    clock.write_text(jump)
    time.sleep(3)
    story.mended()
    assert bed.metrics()["mmtt_agents"] == 2, "nobody was silent"
    # Who is really gone is still found out.
    bed.stop("agent", signal.SIGKILL)
    story.used(1)
    clock.write_text("+0")
    time.sleep(2)
    statuses = story.finish()
    assert any(abs(float(row["latency"])) > 3000 for row in read_log(story.log / "mmtt.log")), "the clock did jump"
    assert statuses == {"ok": story.flows}
    table(f"Zeek's clock jumps by {jump} s, and back", statuses)
