"""Runs the `mmtt` program as a user at a shell does."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any

MMTT = [sys.executable, "-c", "from mmtt_agent.cli import main; main()"]

#: Root may read everything; what a command then can't read it can't for this user, either.
UNPRIVILEGED = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search")


def mmtt(
    *arguments: object, shell: str = "", user: Sequence[str] = (), **options: Any
) -> subprocess.CompletedProcess[str]:
    """Its end.

    Args:
        shell: redirections such as ">&-".
        user: a program that runs it as another.
        options: of `subprocess.run`; `env` is what differs from this program's.
    """
    command = [*user, *MMTT, *(each if isinstance(each, bytes) else str(each) for each in arguments)]
    if shell:
        command = ["sh", "-c", f'exec "$@" {shell}', "sh", *command]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL, **options}
    if "input" in options:
        del options["stdin"]
    environment = os.environ | options.pop("env", {})
    done = subprocess.run(command, env=environment, timeout=120, check=False, **options)
    out, said = ((each or b"").decode("utf-8", "surrogateescape") for each in (done.stdout, done.stderr))
    assert "Traceback" not in said, said
    return subprocess.CompletedProcess(command, done.returncode, out, said)


def at_a_terminal(
    *arguments: object, width: int = 100, stdout: int | None = None, once: bytes = b"", end_by: int | None = None
) -> tuple[int, str]:
    """Its status and all that it has sent to the terminal it is on.

    Args:
        stdout: where it writes instead, if not there.
        once: what it has sent when it gets the signal `end_by`.
    """
    ours, theirs = pty.openpty()
    program = subprocess.Popen(
        [*MMTT, *map(str, arguments)],
        stdin=theirs,
        stdout=theirs if stdout is None else stdout,
        stderr=theirs,
        env=os.environ | {"TERM": "xterm", "COLUMNS": str(width), "LINES": "40"},
    )
    os.close(theirs)
    # One that does not end fails the test instead of holding up all others.
    watch = threading.Timer(120, program.kill)
    watch.start()
    sent = b""
    while True:
        try:
            sent += os.read(ours, 65536)
        except OSError:  # EIO: the other end is closed
            break
        if end_by is not None and once in sent:
            program.send_signal(end_by)
            end_by = None
    os.close(ours)
    status = program.wait()
    watch.cancel()
    said = sent.decode("utf-8", "surrogateescape")
    assert "Traceback" not in said, said
    return status, said
