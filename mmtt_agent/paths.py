"""Files and directories on the command line: click's type, without the empty path, which would be taken for ``.``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


class Named(click.Path):
    """A path with a name. An empty one is what a variable that is not set leaves: an error, not the directory here."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not str(value):
            self.fail("the path is empty; is a variable not set?", param, ctx)
        return super().convert(value, param, ctx)


#: Whether it can be read is asked where it is read: a directory that is only written to need not be readable.
PATH = Named(path_type=Path, readable=False)
#: For what the agent's settings hold as text, and what may be a program on PATH.
TEXT = Named(readable=False)
