"""A capture's packets in time: which of them Zeek takes, its clock at each, and what is odd about the times."""

from __future__ import annotations

import numpy as np

from .records import IMPOSSIBLE, CaptureError, Records


class TimeLine:
    """Goes through a capture's records in order.

    Attributes:
        counts: packets that Zeek does not take, by cause.
    """

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        # Zeek's clock begins at one second.
        self._now, self._latest = 1_000_000, 0
        self._back, self._furthest = 0, 0

    def begin_anew(self) -> None:
        """Let network time begin with the next record, whatever it was before."""
        self._now, self._latest = 1_000_000, 0

    def usable(self, records: Records) -> np.ndarray:
        """Which records can be used: not those that are empty, from before 1970 or of a time that can't be."""
        empty = np.minimum(records.captured, records.wire) <= 0
        early = (records.time < 0) & ~empty
        usable: np.ndarray = ~(empty | early)
        impossible = early & (records.time == IMPOSSIBLE)
        self._count("empty", empty)
        self._count("impossible_time", impossible)
        self._count("after_2038" if records.wraps else "before_1970", early & ~impossible)
        return usable

    def _count(self, cause: str, packets: np.ndarray) -> None:
        if number := int(np.count_nonzero(packets)):
            self.counts[cause] = self.counts.get(cause, 0) + number

    def clock(self, time: np.ndarray) -> np.ndarray:
        """Zeek's network time, which never goes back, at packets of these times (µs): int64 ``(n,)``."""
        latest = np.maximum.accumulate(np.maximum(time, self._latest))
        self._latest = int(latest[-1])
        behind = latest - time
        if (furthest := int(behind.max())) > 0:
            self._back += int(np.count_nonzero(behind))
            self._furthest = max(self._furthest, furthest)
        return latest if latest[0] >= self._now else np.maximum(latest, self._now)

    def warnings(self, name: str, path: str, packets: int) -> list[str]:
        """What to tell of the times, one line each.

        Args:
            name: what the file is called in messages.
            path: and in commands.
            packets: how many there are in all.

        Raises:
            CaptureError: no packet of the capture can be used because of its time.
        """
        told = []
        if late := self.counts.get("after_2038"):
            text = (
                f"{name}: {late:,} of {packets:,} packets are from after 2038-01-19, which Zeek can't read from a "
                f"pcap file; convert it with: editcap -F pcapng {path} converted.pcapng"
            )
            if late == packets:
                raise CaptureError(text)
            told.append(text)
        if self._back:
            told.append(
                f"{name}: time goes back at {self._back:,} of {packets:,} packets, by up to "
                f"{_seconds(self._furthest)} s, which can cut connections and turn them round; put the packets in "
                f"order with: reordercap {path} ordered.pcap (a wrong clock is set right with: editcap -t)"
            )
        return told


def _seconds(time: int) -> str:
    return f"{time / 1e6:,.6f}".rstrip("0").rstrip(".")
