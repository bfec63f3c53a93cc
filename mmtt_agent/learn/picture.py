"""Pictures of letters, for a terminal: a flow's shape, and the hours of a day."""

from __future__ import annotations

from collections.abc import Sequence

from ..series import MAX_PAYLOAD_PACKETS

#: Payload of a full packet on Ethernet, in bytes: what is larger was put together by a network card.
_FULL = 1460
#: Lines of a bar, and steps in a line.
_LINES, _STEPS = 3, 2
_EIGHTHS = " ▁▂▃▄▅▆▇█"
#: For terminals that can't show blocks.
_PLAIN = " .:-=+*#@"


def shape(sizes: Sequence[int], encoding: str) -> list[str]:
    """A window as bars, a packet in two columns: up what the originator sent, down what it got; a line between.
    Lines with nothing in them are left out.

    Args:
        sizes: payload bytes, positive from the originator.
        encoding: what can be shown.
    """
    up_blocks, down_blocks, middle = (" ▄█", " ▀█", "─") if _can(encoding, "▄▀█─") else (" .#", " '#", "-")
    steps = [max(1, round(min(abs(size), _FULL) / _FULL * _LINES * _STEPS)) if size else 0 for size in sizes]
    up = [step if size > 0 else 0 for step, size in zip(steps, sizes, strict=True)]
    down = [step if size < 0 else 0 for step, size in zip(steps, sizes, strict=True)]
    lines = [_line(up, at, up_blocks) for at in range(_LINES - 1, -1, -1)]
    lines.append(middle * 2 * min(max(len(sizes), 1), MAX_PAYLOAD_PACKETS))
    return [line for line in lines + [_line(down, at, down_blocks) for at in range(_LINES)] if line]


def _line(steps: Sequence[int], at: int, blocks: str) -> str:
    """One line of all bars, the ``at``-th from the middle."""
    return "".join(blocks[min(max(step - at * _STEPS, 0), _STEPS)] + " " for step in steps).rstrip()


def bars(counts: Sequence[int], encoding: str) -> str:
    """Each count as one letter, in parts of the greatest; what is not nothing can be seen."""
    letters = _EIGHTHS if _can(encoding, _EIGHTHS) else _PLAIN
    most = max(counts, default=0)
    return "".join(letters[-(-count * (len(letters) - 1) // most)] if count else letters[0] for count in counts)


def _can(encoding: str, letters: str) -> bool:
    try:
        letters.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
