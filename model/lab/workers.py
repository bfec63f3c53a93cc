"""What a client does for as long as its activity lasts: some of it side by side, none of it beyond the end."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

from .part import Part


def side_by_side(part: Part, works: list[Callable[[], None]]) -> None:
    """Do all `works` at once and end this process with the activity, whatever is still under way.

    If each of them has failed well before the end, the process ends with the first one's words.
    """
    broken: list[str] = []

    def do(work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - each library fails in its own way; it is told below
            # The last answer may miss the end.
            if part.left() > 1:
                broken.append(f"{part.client}: {error!r}")

    threads = [threading.Thread(target=do, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.1, part.left() + 0.5))
    if len(broken) == len(works):
        print(broken[0], file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(len(broken) == len(works))


def run_bounded(part: Part, command: list[str], **options: Any) -> None:
    """Run a program until it ends by itself or the activity does; how it ends says nothing. `options` are Popen's."""
    tool = subprocess.Popen(
        command,
        cwd=part.scratch,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        **options,
    )
    try:
        tool.wait(max(1.0, part.left()))
    except subprocess.TimeoutExpired:
        tool.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            tool.wait(2)
