"""Bytes become lines, whatever parts they come in; what is too long is not held."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mmtt_agent.eve.lines import Ending, Lines, Piece, Rest


@given(st.lists(st.binary(max_size=12) | st.sampled_from([b"\n", b"a\nb", b"x" * 30])), st.booleans())
def test_nothing_is_lost_or_doubled_however_it_is_cut(parts, more):
    lines = Lines(most=10)
    found = [line for part in parts for line in lines.feed(part)] + lines.end(more)
    assert b"".join(line for line in found if not isinstance(line, Ending)) == b"".join(parts)
    for line in found:
        if not isinstance(line, Piece):
            assert line.count(b"\n") == 1 and line.endswith(b"\n") and len(line) <= 11
    assert not more or not found or found[-1].endswith(b"\n")


def test_a_line_that_is_too_long_comes_in_pieces_and_the_next_whole():
    lines = Lines(most=10)
    found = [line for part in (b"x" * 8, b"x" * 8, b"x" * 8, b"x\nabc\n") for line in lines.feed(part)]
    assert [(bytes(line), isinstance(line, Piece)) for line in found] == [
        (b"x" * 16, True), (b"x" * 8, True), (b"x\n", True), (b"abc\n", False),
    ]  # fmt: skip


def test_a_line_that_broke_off_ends_before_the_next():
    lines = Lines()
    assert lines.feed(b'a\n{"time') == [b"a\n"]
    rest, end = lines.end(more=True)
    assert (type(rest), rest, type(end), end) == (Rest, b'{"time', Ending, b"\n")
    assert lines.feed(b"b\n") == [b"b\n"] and lines.end(more=False) == []
