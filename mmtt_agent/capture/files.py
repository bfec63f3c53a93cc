"""Capture files to blocks of records: pcap and pcapng, plain, gzip or zstd, from a path or a stream.

A file is read in pieces of some megabytes; what the whole file needs is kept by the caller as compact columns.
"""

from __future__ import annotations

import gzip
import io
import os
import shlex
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

import numpy as np
import zstandard

from .pcap import LAYOUTS, Pcap
from .pcapng import Pcapng
from .records import CaptureError, Records

#: Bytes asked of a gzip stream at once.
_GZIP_STEP = 1 << 17
GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
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
            CaptureError: not a capture, or damaged in the middle.
        """
        if not self.magic:
            raise CaptureError(f"{self.name}: empty (0 bytes{self.wrapping}); record it again")
        if self.magic == PCAPNG_MAGIC:
            return Pcapng(self).blocks()
        if (layout := LAYOUTS.get(self.magic)) is not None:
            return Pcap(self, *layout).blocks()
        if len(self.magic) < 4:
            raise CaptureError(f"{self.name}: ends after {len(self.magic)} bytes{self.wrapping}; record it again")
        raise CaptureError(
            f"{self.name}: not a capture: starts with {self.magic.hex(' ')}{self.wrapping}; "
            "give a pcap or pcapng file, plain, .gz or .zst"
        )

    def _unwrap(self, raw: _Counted) -> tuple[Any, str]:
        """The stream of the capture itself, and how to speak of its being compressed."""
        magic = raw.peek(4)
        if magic[:2] == GZIP_MAGIC:
            self._unpack = "gzip -dc"
            return gzip.GzipFile(fileobj=raw, mode="rb"), " of decompressed data"
        if magic == ZSTD_MAGIC:
            self._unpack = "zstd -dc --long=31"
            reader = zstandard.ZstdDecompressor(max_window_size=1 << 31).stream_reader(
                cast(BinaryIO, raw), read_across_frames=True
            )
            return reader, " of decompressed data"
        return raw, ""

    def take(self, size: int) -> bytes:
        """Read `size` bytes, fewer only at the end."""
        parts: list[bytes] = []
        while size > 0:
            try:
                if isinstance(self._stream, gzip.GzipFile):
                    # If the stream ends early, `read` would lose what it has got before the end.
                    part = self._stream.read1(min(size, _GZIP_STEP))
                else:
                    part = self._stream.read(size)
            except EOFError:
                self.counts["truncated_tail"] = 1
                self.warnings.append(f"{self.name}: the compressed data ends early; the packets before that were read")
                self._stream = io.BytesIO()
                break
            except (gzip.BadGzipFile, zlib.error, zstandard.ZstdError) as error:
                raise CaptureError(
                    f"{self.name}: the compressed data is damaged near byte {self._raw.total}: {error}; "
                    "copy the file again"
                ) from None
            except OSError as error:
                raise CaptureError(f"{self.name}: can't be read: {error.strerror or error}") from None
            if not part:
                break
            parts.append(part)
            size -= len(part)
        return b"".join(parts) if len(parts) != 1 else parts[0]

    def damaged(self, at: int, what: str) -> CaptureError:
        keep = f"{self._unpack} {self.path} | head -c {at}" if self._unpack else f"head -c {at} {self.path}"
        return CaptureError(
            f"{self.name}: damaged at byte {at}{self.wrapping}: {what}; keep what is before it with: {keep}"
        )

    @property
    def path(self) -> str:
        """What to call the file in a command."""
        return shlex.quote(self.name) if self._owned else "FILE"

    def truncated(self, at: int) -> None:
        self.counts["truncated_tail"] = 1
        if not self.warnings:
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
