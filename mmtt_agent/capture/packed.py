"""Unpack gzip, zstd and lz4 so that nothing is lost of what comes before damage or an early end.

The libraries' own streams lose what they have unpacked in the call that meets the damage: of a small file, all of it.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import zstandard

GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
LZ4_MAGIC = b"\x04\x22\x4d\x18"
#: Bytes of gzip taken and given at a time.
_STEP, _MOST = 1 << 16, 1 << 18
#: Longest block of zstd, unpacked.
_BLOCK = 1 << 17
#: How far back a block of lz4 may take up what was before it.
_LZ4_BACK = 1 << 16


class PackedError(Exception):
    """The compressed data is damaged."""


class Stream(Protocol):
    def read(self, size: int, /) -> bytes: ...


class Unpacked:
    """What a compressed stream holds, piece by piece.

    Raises:
        PackedError: damage, after all that is before it was read.
        EOFError: the stream ends early, likewise.
    """

    def __init__(self, parts: Iterator[bytes]):
        self._parts, self._rest = parts, b""

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes; none at the end."""
        rest = self._rest
        while not rest and (part := next(self._parts, None)) is not None:
            rest = part
        self._rest = rest[size:]
        return rest[:size]


def gzip_parts(raw: Stream) -> Iterator[bytes]:
    """What gzip data holds; zeros may follow it, as on a tape."""
    data, unpack, begun = b"", zlib.decompressobj(31), False
    while True:
        data = data or raw.read(_STEP)
        if not begun:
            if not data:
                return
            if not (data := data.lstrip(b"\0")):
                continue
            if not GZIP_MAGIC.startswith(data[:2]):
                raise PackedError("something else follows the gzip data")
            begun = True
        before = unpack.copy()
        try:
            part = unpack.decompress(data, _MOST)
        except zlib.error as error:
            yield from _up_to_damage(before, data)
            raise PackedError(str(error)) from None
        if part:
            yield part
        elif not data:
            raise EOFError
        data = unpack.unconsumed_tail
        if unpack.eof:
            data, unpack, begun = unpack.unused_data, zlib.decompressobj(31), False


def _up_to_damage(unpack: zlib._Decompress, data: bytes) -> Iterator[bytes]:
    """What can be had of data that is damaged somewhere, byte by byte."""
    for at in range(len(data)):
        try:
            part = unpack.decompress(data[at : at + 1])
        except zlib.error:
            return
        if part:
            yield part


class _Buffered:
    """A stream taken in large steps and given in small ones."""

    def __init__(self, raw: Stream):
        self._raw, self._data, self._at = raw, b"", 0

    def read(self, size: int, /) -> bytes:
        if self._at == len(self._data):
            self._data, self._at = self._raw.read(4 * _STEP), 0
        at = self._at
        found = self._data[at : at + size]
        self._at = at + len(found)
        return found


def zstd_parts(raw: Stream) -> Iterator[bytes]:
    """What zstd frames hold, block by block."""
    context = zstandard.ZstdDecompressor(max_window_size=1 << 31)
    return _frames(_Buffered(raw), ZSTD_MAGIC, "zstd", lambda raw: _frame(raw, context))


def _frames(raw: Stream, own: bytes, name: str, frame: Callable[[Stream], Iterator[bytes]]) -> Iterator[bytes]:
    """What frames hold, of a format whose own begin with ``own``; ``frame`` reads one from there on."""
    while magic := _upto(raw, 4):
        if magic == own:
            yield from frame(raw)
        elif _is_skippable(magic):
            _skip(raw)
        elif own.startswith(magic):
            raise EOFError
        else:
            raise PackedError(f"something else follows the {name} data")


def _frame(raw: Stream, context: zstandard.ZstdDecompressor) -> Iterator[bytes]:
    """What a frame holds whose magic number was read (RFC 8878, 3.1.1)."""
    descriptor = _exactly(raw, 1)
    bits = descriptor[0]
    single = bits >> 5 & 1
    header = (1 - single) + (0, 1, 2, 4)[bits & 3] + (single, 2, 4, 8)[bits >> 6]
    unpack = context.decompressobj(write_size=_BLOCK)
    try:
        unpack.decompress(ZSTD_MAGIC + descriptor)
        waiting: list[bytes] = []
        last, size, fed, held = 0, header, 0, 0
        while not last:
            # What is left of this block, or of the frame's header, and the header of the next.
            data = _upto(raw, size + 3)
            waiting.append(data)
            if len(data) < size + 3:
                yield unpack.decompress(b"".join(waiting))
                raise EOFError
            about = int.from_bytes(data[-3:], "little")
            # A block of one byte repeated holds that byte.
            last, kind, size = about & 1, about >> 1 & 3, about >> 3
            held += len(data)
            if kind == 3 or size > _BLOCK:
                yield unpack.decompress(b"".join(waiting)[:-3])
                waiting = [data[-3:]]
            # Many at once are faster, but where one is damaged those with it are lost: an eighth of what was read.
            elif held < min(_STEP, fed >> 3) and len(waiting) < 16:
                size = 1 if kind == 1 else size
                continue
            yield unpack.decompress(b"".join(waiting))
            waiting, fed, held = [], fed + held, 0
            size = 1 if kind == 1 else size
        yield unpack.decompress(b"".join(waiting) + (_exactly(raw, size) if size else b""))
        if bits & 4:
            unpack.decompress(_exactly(raw, 4))
    except zstandard.ZstdError as error:
        raise PackedError(str(error)) from None


def _is_skippable(magic: bytes) -> bool:
    """Of zstd's and lz4's frames, one that holds nothing of the file."""
    return magic[1:] == b"\x2a\x4d\x18" and magic[0] >> 4 == 5


def _skip(raw: Stream) -> None:
    left = int.from_bytes(_exactly(raw, 4), "little")
    while left > 0:
        left -= len(_exactly(raw, min(left, _BLOCK)))


def lz4_parts(raw: Stream) -> Iterator[bytes]:
    """What lz4 frames hold, block by block.

    Raises:
        ImportError: the library is not there.
    """
    import lz4.frame  # an extra: few captures are packed so

    return _frames(_Buffered(raw), LZ4_MAGIC, "lz4", lambda raw: _lz4_frame(raw, lz4.frame))


def _lz4_frame(raw: Stream, library: Any) -> Iterator[bytes]:
    """What a frame holds whose magic number was read (lz4_Frame_format.md, 1.6)."""
    flags, sizes = about = _exactly(raw, 2)
    if flags >> 6 != 1:
        raise PackedError(f"version {flags >> 6} of the format")
    if flags & 1:
        raise PackedError("it needs a dictionary")
    about += _exactly(raw, (8 if flags & 8 else 0) + 1)
    with_checksum, longest = 4 if flags & 16 else 0, 1 << (8 + 2 * (sizes >> 4 & 7))
    context = library.create_decompression_context()
    before = b""
    try:
        library.decompress_chunk(context, LZ4_MAGIC + about)
        while size := int.from_bytes(head := _exactly(raw, 4), "little"):
            length = size & 0x7FFFFFFF
            if length > longest:
                raise PackedError(f"a block of {length} bytes, of at most {longest}")
            data = _upto(raw, length + with_checksum)
            if len(data) < length + with_checksum:
                # Suricata's own, as it was cut off: some thousands of packets are in it.
                yield data[:length] if size >> 31 else _of_cut_block(data[:length], before)
                raise EOFError
            # Told no length it would give but a part of a block that packs well.
            part, _, _ = library.decompress_chunk(context, head + data, longest)
            yield part
            before = (before + part)[-_LZ4_BACK:]
        library.decompress_chunk(context, head + (_exactly(raw, 4) if flags & 4 else b""))
    except RuntimeError as error:
        raise PackedError(str(error).rpartition(": ")[2]) from None


def _of_cut_block(data: bytes, before: bytes) -> bytes:
    """What can be had of a block whose end is missing (lz4_Block_format.md).

    Args:
        before: what the blocks before it hold, the last of it.
    """
    out, at = bytearray(before), 0
    try:
        while at < len(data):
            token, at = data[at], at + 1
            literals, at = _lz4_length(data, at, token >> 4)
            out += data[at : at + literals]
            at += literals
            back = data[at] | data[at + 1] << 8
            copied, at = _lz4_length(data, at + 2, token & 15)
            copied += 4
            start = len(out) - back
            if not back or start < 0:
                break
            while copied > 0:
                piece = out[start : start + copied]
                out += piece
                copied -= len(piece)
    except IndexError:
        pass  # the end
    return bytes(out[len(before) :])


def _lz4_length(data: bytes, at: int, length: int) -> tuple[int, int]:
    if length == 15:
        while True:
            more, at = data[at], at + 1
            length += more
            if more < 255:
                break
    return length, at


def _upto(raw: Stream, size: int) -> bytes:
    """So many bytes, fewer only at the end."""
    data = raw.read(size)
    while len(data) < size and (more := raw.read(size - len(data))):
        data += more
    return data


def _exactly(raw: Stream, size: int) -> bytes:
    if len(data := _upto(raw, size)) < size:
        raise EOFError
    return data
