"""Where the ``mmtt`` program begins: it imports nothing that takes long, so that Ctrl-C is quiet from the start."""

from __future__ import annotations

import signal
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program.

    Args:
        arguments: instead of the command line's.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:
        # Nothing is held yet that would have to be let go of: no exception, whose traceback would show the imports.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from .program import program

    signal.signal(signal.SIGINT, before)
    program(arguments)
