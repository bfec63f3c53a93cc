"""Privileges that are given up, in a process of its own each time."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest

from mmtt_agent.sniff import privileges
from mmtt_agent.sniff.errors import SniffError

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

# Threads run before, as numpy's do; afterwards it tries what an intruder would.
_PROGRAM = """
import os, socket, sys, threading, time
from mmtt_agent.sniff import privileges
from mmtt_agent.sniff.errors import SniffError
if sys.argv[2] == "thread":
    threading.Thread(target=time.sleep, args=(2,), daemon=True).start()
try:
    privileges.drop(privileges.account(sys.argv[1] or None))
except SniffError as error:
    sys.exit(str(error))
print(os.getresuid(), os.getresgid(), os.getgroups())
for what in (lambda: os.setuid(0), lambda: os.setgid(0), lambda: os.setgroups([0]),
             lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW), lambda: os.chown("/proc/self", 0, 0),
             lambda: os.listdir("/proc/1/fd")):
    try:
        what()
        print("could")
    except OSError:
        pass
for line in open("/proc/self/status"):
    if line.startswith(("Cap", "NoNewPrivs")):
        print(*line.split())
"""


def run(user: str = "", *, thread: bool = False, before: tuple[str, ...] = (), **environment: str):
    return subprocess.run(
        [*before, sys.executable, "-c", _PROGRAM, user, "thread" if thread else ""],
        capture_output=True,
        text=True,
        check=False,
        env={key: value for key, value in os.environ.items() if key != "SUDO_USER"} | environment,
    )


def gone(numbers: tuple[int, int], bounding: bool = True) -> list[str]:
    """What a process says that is this user and group, and can't do anything more."""
    none = "0" * 16
    uid, gid = ((number,) * 3 for number in numbers)
    return [
        f"{uid} {gid} []", f"CapInh: {none}", f"CapPrm: {none}", f"CapEff: {none}",
        *([f"CapBnd: {none}"] if bounding else []), f"CapAmb: {none}", "NoNewPrivs: 1",
    ]  # fmt: skip


def others_run_python() -> bool:
    """Whether another user can."""
    if shutil.which("setpriv") is None or os.geteuid() != 0:
        return False
    command = ["setpriv", "--reuid=1", "--regid=1", "--clear-groups", sys.executable, "-c", "import mmtt_agent"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def ids(name: str) -> tuple[int, int]:
    entry = pwd.getpwnam(name)
    return entry.pw_uid, entry.pw_gid


@needs_root
@pytest.mark.parametrize("thread", [False, True])
@pytest.mark.parametrize(
    ("user", "environment", "becomes"),
    [
        ("", {}, "nobody"),
        ("daemon", {}, "daemon"),
        ("", {"SUDO_USER": "daemon"}, "daemon"),
        ("", {"SUDO_USER": "root"}, "nobody"),
        ("", {"SUDO_USER": "no-such-user"}, "nobody"),
        ("nobody", {"SUDO_USER": "daemon"}, "nobody"),
    ],
)
def test_root_becomes_a_user_for_good(user, environment, becomes, thread):
    done = run(user, thread=thread, **environment)
    assert (done.stdout.splitlines(), done.stderr) == (gone(ids(becomes)), "")


@needs_root
def test_root_stays_root_if_told_to():
    assert run("root").stdout.startswith("(0, 0, 0) (0, 0, 0)")


@needs_root
@pytest.mark.skipif(not others_run_python(), reason="no setpriv, or a Python that is root's alone")
def test_a_user_with_the_capability_loses_it():
    before = ("setpriv", "--reuid=1", "--regid=1", "--clear-groups", "--inh-caps=+net_raw", "--ambient-caps=+net_raw")
    done = run(before=before)
    said = [line for line in done.stdout.splitlines() if not line.startswith("CapBnd")]
    assert (said, done.stderr) == (gone((1, 1), bounding=False), "")
    # What runs already can't be taken it from.
    done = run(before=before, thread=True)
    assert done.returncode == 1
    assert done.stderr.startswith("privileges can't be given up: a thread still has capabilities")


@needs_root
@pytest.mark.skipif(not others_run_python(), reason="no setpriv, or a Python that is root's alone")
def test_only_root_becomes_another_user():
    done = run("nobody", before=("setpriv", "--reuid=1", "--regid=1", "--clear-groups"))
    assert done.stderr == "--user nobody: only root can become another user; leave it out, or run this with sudo\n"
    done = run("daemon", before=("setpriv", "--reuid=1", "--regid=1", "--clear-groups"))
    assert done.returncode == 0


@pytest.mark.parametrize("name", ["no-such-user", "", "a\0b"])
def test_there_is_no_such_user(name):
    with pytest.raises(SniffError, match=r"there is no such user; name another, or make it: useradd --system"):
        privileges.account(name)


@needs_root
def test_a_group_that_can_t_be_had_is_told(monkeypatch):
    monkeypatch.setattr(os, "setgroups", lambda _: (_ for _ in ()).throw(PermissionError(1, "Operation not permitted")))
    monkeypatch.setattr(privileges.ctypes, "CDLL", lambda *_, **__: SimpleNamespace(prctl=lambda *_: 1))
    with pytest.raises(SniffError, match=r"^--user nobody: can't become that user: Operation not permitted"):
        privileges.drop(pwd.getpwnam("nobody"))
