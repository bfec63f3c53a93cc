"""The captures of a sequence as the one capture that they are parts of: connections go on from one to the next."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from ...capture.files import CaptureFile
from ...capture.left_out import left_out
from ...capture.live import Found, LiveCapture
from ...capture.records import IMPOSSIBLE

#: µs that a capture may begin before the end of the one before it, as several threads' packets lie in them. One that
#: begins earlier is from before that one: there the connections begin anew.
_BACK = 60_000_000
#: Captures that windows which are told later may begin in.
_REMEMBERED = 1000


class Stream:
    """
    Args:
        checksums: leave out packets with a wrong checksum, as Zeek does.

    Attributes:
        evicted: connections that were given up, as too many were open at once.
        latest: time of the latest packet, in µs since 1970; 0 where there was none.
        problems, warnings, left_out: of the capture that was taken last, as :class:`Capture` has them.
    """

    def __init__(self, checksums: bool) -> None:
        self._checksums = checksums
        self._live = LiveCapture(checksums)
        #: When captures begin, in order, and which.
        self._begins: list[tuple[int, str]] = []
        self.latest = self.evicted = 0
        self.problems: list[str] = []
        self.warnings: list[str] = []
        self.left_out = ""

    def take(self, path: Path) -> Iterator[Found]:
        """What can be told with the packets of one more capture, a few megabytes at a time.

        Raises:
            CaptureError: it can't be read.
        """
        self.problems, self.warnings, self.left_out = [], [], ""
        counts, kinds = Counter(self._live.counts), _copied(self._live.kinds)
        begun = False
        with CaptureFile(path) as file:
            for records in file:
                times = records.time[records.time != IMPOSSIBLE]
                if first := not begun and len(times) > 0:
                    begun = True
                    if times[0] < self.latest - _BACK:
                        yield self.end()
                        counts, kinds = Counter(), {}
                        self._live, self._begins, self.latest = LiveCapture(self._checksums), [], 0
                if first:
                    self._begins = [*self._begins[-_REMEMBERED:], (max(int(times[0]), self.latest), str(path))]
                before = self._live.evicted
                yield self._live.take(records)
                self.evicted += self._live.evicted - before
                if len(times):
                    self.latest = max(self.latest, int(times.max()))
            if not begun and (error := file.nothing()):
                raise error
            self.problems, self.warnings = list(file.problems), file.warnings
            # Numbers of this capture alone.
            own = Counter(self._live.counts) + Counter(file.counts) - counts
            own["packets"] += file.lost
            of_kinds = {cause: Counter(of) - kinds.get(cause, Counter()) for cause, of in self._live.kinds.items()}
            if text := left_out(own, of_kinds):
                self.left_out = f"{path}: {text}"

    def capture(self, ts: int) -> str:
        """Which has the packets of that time, in µs since 1970."""
        if not self._begins:
            return ""
        return self._begins[max(0, bisect_right(self._begins, (ts, "\U0010ffff")) - 1)][1]

    @property
    def open(self) -> int:
        """Connections that may go on in the next capture."""
        return self._live.open

    def end(self) -> Found:
        """What is left to be told where no capture is to come after the last."""
        return self._live.end()


def _copied(kinds: Mapping[str, Mapping[str, int]]) -> dict[str, Counter[str]]:
    return {cause: Counter(of) for cause, of in kinds.items()}
