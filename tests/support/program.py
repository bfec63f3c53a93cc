"""Runs the `mmtt` program as a user at a shell does."""

from __future__ import annotations

import os
import subprocess
import sys
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
