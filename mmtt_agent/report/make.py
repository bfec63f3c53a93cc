"""From inputs to the page."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from .. import whole
from ..classifier import Classifier
from ..classify.progress import Progress
from ..output import shown
from . import library
from .gather import gather
from .inputs import Inputs
from .page import page
from .shapes import Shapes
from .store import Store, StoreError
from .summary import summary

#: Lines on what was read that the page has at most.
_SAID = 100


class Unmade(Exception):
    """There can be no page; one line with the remedy."""


def make(
    inputs: Inputs,
    classifier: Classifier | None,
    output: Path,
    about: dict[str, Any],
    flows: int,
    told: Progress,
    say: Callable[[str], None],
    checksums: bool = True,
) -> tuple[int, int]:
    """Write the page; it is complete, or not there at all.

    Args:
        classifier: for captures; None where there are none.
        about: title, made (ms since 1970) and version, for its head.
        flows: to be listed at most.
        say: takes the lines for standard error.
        checksums: leave out packets with a wrong checksum.

    Returns:
        How many files were read, and how many were not, or not without loss. If none was there is no page.

    Raises:
        Unmade: no room on the way.
        library.LibraryError: the charts' library is not to be had.
        OSError: the page can't be written.
    """
    shapes = Shapes()
    try:
        with whole.written(output) as out, closing(Store()) as store:
            found = gather(inputs, classifier, store, shapes, told, say, checksums)
            if not found.read:
                raise _Nothing
            last = len(found.sources)
            told.counting(last, str(output), "flows", 0)
            store.finish(lambda done: told.counting(last, str(output), "flows", done))
            told.counting(last, str(output), "page", 0)
            data = summary(store, shapes, flows)
            said = [*map(shown, inputs.problems), *found.said]
            data |= about | {
                "sources": found.sources,
                "whole": not inputs.problems and all(source["whole"] for source in found.sources),
                "said": said[:_SAID],
                "said_more": len(said[_SAID:]),
            }
            for line in _left_out(data):
                say(line)
            for part in page(about["title"], data, library.javascript()):
                out.write(part)
    except _Nothing:
        return 0, 0
    except StoreError as error:
        raise Unmade(str(error)) from None
    return found.read, sum(not source["whole"] for source in found.sources)


class _Nothing(Exception):
    """Nothing could be read: there is to be no page."""


def _left_out(data: dict[str, Any]) -> list[str]:
    """What the page counts and does not show, a line each."""
    lines, left = [], data["left_out"]
    if left["flows"]:
        lines.append(
            f"the {data['totals']['flows'] - left['flows']:,} most suspicious flows are listed, {left['flows']:,} more "
            "are only counted; --flows lists more"
        )
    if left["incidents"]:
        lines.append(
            f"the {len(data['incidents']):,} surest incidents are shown, {left['incidents']:,} more only counted"
        )
    if left["shapes"]:
        lines.append(f"packets are drawn of the most suspicious windows, not of {left['shapes']:,} others")
    return lines
