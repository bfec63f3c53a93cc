"""Capture files to blocks of records: pcap and pcapng, plain, gzip, zstd or lz4, from a path or a stream.

A file is read in pieces of some megabytes; what the whole file needs is kept by the caller as compact columns.
"""

from __future__ import annotations

import io
import os
import shlex
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from .packed import (
    GZIP_MAGIC,
    LZ4_MAGIC,
    ZSTD_MAGIC,
    PackedError,
    Stream,
    Unpacked,
    gzip_parts,
    lz4_parts,
    zstd_parts,
)
from .pcap import LAYOUTS, Pcap
from .pcapng import Pcapng
from .records import CaptureError, Records

PCAPNG_MAGIC = b"\x0a\x0d\x0d\x0a"


class CaptureFile:
    """An open capture, iterated over as :class:`Records`.

    Attributes:
        bytes_read: bytes taken from the file so far (compressed ones, if it is).
        warnings: what the user should know about the file, one line each.
        counts: packets left out, by cause.
        lost: packets that are left out because the file is damaged.
    """

    def __init__(self, source: str | os.PathLike[str] | BinaryIO, name: str | None = None):
        """Open a path or a binary stream.

        Raises:
            CaptureError: it can't be opened, is empty or isn't a capture.
        """
        self.warnings: list[str] = []
        self.counts: dict[str, int] = {}
        self.lost = 0
        self._strangers: set[int] = set()
        self._first_stranger = self._first_too_long = 0
        #: Why nothing more can be had of the file, what keeps what is before that, and whether it merely ends early.
        self._stopped = self._keep = ""
        self._early = False
        self._owned: BinaryIO | None = None
        if not isinstance(source, str | os.PathLike):
            self.name = name or str(getattr(source, "name", "standard input"))
            raw = source
        else:
            self.name = name or os.fspath(source)
            try:
                raw = self._owned = open(source, "rb")  # noqa: SIM115 (closed with this)
            except OSError as error:
                raise CaptureError(f"{self.name}: can't be opened: {error.strerror}; check the path") from None
        self._raw = _Counted(raw)
        #: What unpacks the file on a command line.
        self._unpack = ""
        try:
            self._stream, self.wrapping = self._unwrap(self._raw)
            self.magic = self.take(4)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> CaptureFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._owned is not None:
            self._owned.close()

    @property
    def bytes_read(self) -> int:
        return self._raw.total

    def __iter__(self) -> Iterator[Records]:
        """Iterate over the packets, some megabytes at a time.

        Raises:
            CaptureError: not a capture. Damage further on ends it instead (:attr:`problems`).
        """
        if not self.magic:
            raise self.too_short(f"empty (0 bytes{self.wrapping}); record it again")
        if self.magic == PCAPNG_MAGIC:
            return Pcapng(self).blocks()
        if (layout := LAYOUTS.get(self.magic)) is not None:
            return Pcap(self, *layout).blocks()
        if len(self.magic) < 4:
            raise self.too_short(
                f"ends after {len(self.magic)} bytes{self.wrapping}; copy the file again, or record it again"
            )
        raise CaptureError(
            f"{self.name}: not a capture: starts with {self.magic.hex(' ')}{self.wrapping}; "
            "give a pcap or pcapng file, plain, .gz, .zst or .lz4"
        )

    def _unwrap(self, raw: _Counted) -> tuple[Stream, str]:
        """The stream of the capture itself, and how to speak of its being compressed."""
        magic = raw.peek(4)
        if magic[:2] == GZIP_MAGIC:
            self._unpack = "gzip -dc"
            return Unpacked(gzip_parts(raw)), " of decompressed data"
        if magic == ZSTD_MAGIC:
            self._unpack = "zstd -dc --long=31"
            return Unpacked(zstd_parts(raw)), " of decompressed data"
        if magic == LZ4_MAGIC:
            self._unpack = "lz4 -dc"
            try:
                return Unpacked(lz4_parts(raw)), " of decompressed data"
            except ImportError:
                raise CaptureError(
                    f"{self.name}: packed with lz4, which is not installed; type: pip install 'mmtt[suricata]'"
                ) from None
        return raw, ""

    def take(self, size: int, carry: bytes = b"", padding: bytes = b"") -> bytes:
        """Read `size` bytes, fewer only at the end, and put them between the two others: copied once."""
        parts = [carry]
        while size > 0:
            try:
                part = self._stream.read(size)
            except EOFError:
                self._early = True
                self._stop("the compressed data ends early")
                self.counts["truncated_tail"] = 1
                self.warnings.append(f"{self.name}: the compressed data ends early; the packets before that were read")
                break
            except PackedError as error:
                self._stop(f"the compressed data is damaged near byte {self._raw.total}: {error}")
                break
            except OSError as error:
                self._stop(f"can't be read from byte {self._raw.total} on: {error.strerror or error}")
                break
            if not part:
                break
            parts.append(part)
            size -= len(part)
        parts.append(padding)
        return b"".join(parts)

    def _stop(self, why: str) -> None:
        self._stream = io.BytesIO()
        self._stopped = self._stopped or why

    def damaged(self, at: int, what: str) -> None:
        """Nothing from this byte on can be read."""
        self._keep = f"{self._unpack} {self.path} | head -c {at}" if self._unpack else f"head -c {at} {self.path}"
        # Damage of the wrapping, where there is any, comes after what could be unpacked.
        self._stopped, self._early = f"damaged at byte {at}{self.wrapping}: {what}", False

    def too_short(self, text: str) -> CaptureError:
        """The error of a file that has not even what a capture begins with."""
        return CaptureError(f"{self.name}: " + (f"{self._stopped}; copy the file again" if self._stopped else text))

    def nothing(self) -> CaptureError | None:
        """The error of a file that is damaged before its first packet, if it is."""
        if not self._stopped or self._early:
            return None
        return CaptureError(f"{self.name}: {self._stopped}; no packet is before that; copy the file again")

    @property
    def path(self) -> str:
        """What to call the file in a command."""
        return shlex.quote(self.name) if self._owned else "FILE"

    def truncated(self, at: int) -> None:
        if not self._stopped:
            self.counts["truncated_tail"] = 1
            self.warnings.append(
                f"{self.name}: ends in the middle of the packet at byte {at}{self.wrapping}; "
                "the packets before it were read"
            )

    def no_interface(self, at: int, numbers: np.ndarray) -> None:
        """Packets, the first at this byte, are of interfaces that the file has not described."""
        if "no_interface" not in self.counts:
            self._first_stranger = at
        self._strangers.update(np.unique(numbers).tolist())
        self._note("no_interface", len(numbers), len(numbers))

    def too_long(self, at: int, packets: int, lost: int) -> None:
        """Packets, the first at this byte, claim more bytes than their blocks have, so that some are lost."""
        if "damaged_block" not in self.counts:
            self._first_too_long = at
        self._note("damaged_block", packets, lost)

    def _note(self, cause: str, packets: int, lost: int) -> None:
        self.counts[cause] = self.counts.get(cause, 0) + packets
        self.lost += lost

    @property
    def problems(self) -> list[str]:
        """What is damaged in the file though it can be read, one line each."""
        found = []
        if strangers := self.counts.get("no_interface"):
            numbers = sorted(self._strangers)
            shown = ", ".join(map(str, numbers[:5])) + (" and others" if len(numbers) > 5 else "")
            found.append(
                f"{self.name}: damaged at byte {self._first_stranger}{self.wrapping}: {_packets(strangers)} of an "
                f"interface that the file does not describe ({shown}); without them connections may be cut or turned "
                "round; copy the file again, or write it anew"
            )
        if too_long := self.counts.get("damaged_block"):
            found.append(
                f"{self.name}: damaged at byte {self._first_too_long}{self.wrapping}: {_packets(too_long)} longer "
                "than the block that should hold it; only what is in the block was read; copy the file again"
            )
        if self._stopped and not self._early:
            keep = f"keep that with: {self._keep}" if self._keep else "copy the file again"
            found.append(f"{self.name}: {self._stopped}; only what is before that was read; {keep}")
        return found


def _packets(number: int) -> str:
    return f"{number:,} packet{' is' if number == 1 else 's are'}"


class _Counted(io.RawIOBase):
    """A stream that counts what is read from it and lets one look at its start."""

    def __init__(self, raw: BinaryIO):
        self._raw = raw
        self._head = b""
        self.total = 0

    def readable(self) -> bool:
        return True

    def peek(self, size: int) -> bytes:
        while len(self._head) < size and (part := self._raw.read(size - len(self._head))):
            self._head += part
        return self._head[:size]

    def read(self, size: int = -1) -> bytes:
        if self._head and size != 0:
            data, self._head = (self._head, b"") if size < 0 else (self._head[:size], self._head[size:])
        else:
            data = self._raw.read(size) or b""
        self.total += len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)
