"""A stream of bytes, cut into lines."""

from __future__ import annotations

#: Bytes of the longest line that is looked into. Suricata's own are rarely longer than some 100 KB.
MAX_LINE = 1 << 20


class Piece(bytes):
    """Part of a line that is too long to be looked into: passes as it is. The last one has the line's end."""


class Rest(Piece):
    """What there is of a line whose end will not come."""


class Ending(Piece):
    """The end that such a line gets, so that what follows is not taken for the rest of it: no part of the input."""


class Lines:
    """Cuts one stream; holds at most ``most`` bytes of it, and what it was fed with last.

    Attributes:
        inside: what comes next belongs to a line that is too long.
    """

    def __init__(self, most: int = MAX_LINE) -> None:
        self.inside = False
        self._most = most
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that are complete with ``data``, each with its end, and pieces of those that are too long."""
        *ended, rest = data.split(b"\n")
        found: list[bytes] = [line + b"\n" for line in ended]
        if ended and self._rest:
            found[0] = bytes(self._rest) + found[0]
            self._rest.clear()
        if ended and self.inside:
            found[0] = Piece(found[0])
            self.inside = False
        if found and max(map(len, found)) > self._most:
            found = [Piece(line) if len(line) > self._most else line for line in found]
        self._rest += rest
        if self._rest and (self.inside or len(self._rest) > self._most):
            self.inside = True
            found.append(Piece(self._rest))
            self._rest.clear()
        return found

    def end(self, more: bool) -> list[bytes]:
        """The stream is over.

        Args:
            more: others will follow.
        """
        found: list[bytes] = []
        if self._rest or self.inside:
            found = [Rest(self._rest), Ending(b"\n")] if more else [Rest(self._rest)]
        self._rest.clear()
        self.inside = False
        return found
