"""A stream of bytes, cut into lines."""

from __future__ import annotations

#: Bytes of the longest line that is looked into. Suricata's own are rarely longer than some 100 KB.
MAX_LINE = 1 << 20


class Piece(bytes):
    """Part of a line that is too long to be looked into: passes as it is."""


class Ending(Piece):
    """The end that a line gets that broke off: no part of the input."""


class Lines:
    """Cuts one stream; holds at most ``most`` bytes of it.

    Attributes:
        too_long: lines that came in pieces.
        inside: what comes next belongs to one of these.
    """

    def __init__(self, most: int = MAX_LINE) -> None:
        self.too_long = 0
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
        if len(data) + len(self._rest) > self._most:  # else none can be
            for place, line in enumerate(found):
                if len(line) > self._most and type(line) is bytes:
                    found[place] = Piece(line)
                    self.too_long += 1
        self._rest += rest
        if self._rest and (self.inside or len(self._rest) > self._most):
            self.too_long += not self.inside
            self.inside = True
            found.append(Piece(self._rest))
            self._rest.clear()
        return found

    @property
    def waiting(self) -> int:
        """Bytes of a line that is not complete."""
        return len(self._rest)

    def end(self) -> bytes:
        """The stream is over: what there is of a line without an end."""
        rest = bytes(self._rest)
        self._rest.clear()
        return rest
