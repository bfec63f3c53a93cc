"""What every command of ``mmtt`` says, and what becomes of it when it can't be said.

A command writes to standard output and raises as if all could be written. :class:`Program`, which the commands hang
on, makes one clean line and a status of what can't, whether the disk is full, standard output is closed, the locale
lacks a letter, or a name holds what a terminal would obey.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import select
import signal
import sys
from datetime import datetime, timezone
from typing import IO, Any, TextIO

import click

from .endings import Ended, end_by

#: What tables are drawn with, for a locale that lacks it.
_PLAIN = {"█": "#", "→": "->", "…": "..."}


def shown(text: object) -> str:
    r"""``text`` on one line and with nothing in it that a terminal would obey: what is not printable is escaped.

    Bytes of a file name that are not UTF-8 are ``\xff``, other characters ``\n``, ``\x1b``, ``\u202e``.
    """
    text = str(text)
    return text if text.isprintable() else "".join(c if c.isprintable() else escaped(c) for c in text)


class Unusable(click.ClickException):
    """Wrong settings, bundle or files: nothing was done, and trying again would not help."""

    exit_code = 2


def say(line: object) -> None:
    """A line for standard error, beside what the command writes."""
    click.echo(f"mmtt: {shown(line)}", err=True)


def escaped(character: str) -> str:
    r"""One character as ``\n``, ``\x1b`` or ``\u202e``; one that stands for a byte that is not UTF-8, as that byte."""
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:
        return f"\\x{number - 0xDC00:02x}"
    return ascii(character)[1:-1]


def utc(seconds: float, form: str) -> str:
    """A time since 1970 as ``strftime`` has it; one that no calendar has, as a damaged capture's may be, in seconds."""
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).strftime(form)
    except (ValueError, OverflowError, OSError):
        return f"{seconds:.0f} s"


def _replace(error: UnicodeError) -> tuple[str, int]:
    """The error handler "mmtt": what an encoding lacks is drawn or spelled with what it has."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_PLAIN.get(c) or escaped(c) for c in lacking), error.end


codecs.register_error("mmtt", _replace)


class OutputError(click.ClickException):
    """Standard output takes no more.

    Attributes:
        reader_gone: it is a pipe that nobody reads any more, as in ``mmtt ... | head``: no fault, and nothing is said.
    """

    def __init__(self, error: OSError) -> None:
        super().__init__(f"standard output: {error.strerror}")
        self.reader_gone = error.errno == errno.EPIPE

    def show(self, file: IO[Any] | None = None) -> None:
        if not self.reader_gone:
            super().show(file)


class _Stream(io.FileIO):
    """Standard output or error as bytes.

    Attributes:
        problem: why it takes no more. It is raised once; what comes after it is lost.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number, "wb", closefd=False)
        self.problem: OutputError | None = None

    def write(self, data: Any, /) -> int:
        while self.problem is None:
            try:
                if (written := super().write(data)) is not None:
                    return written
                # Whoever shares it has made it non-blocking.
                select.select([], [self], [])
            except OSError as error:
                self.problem = OutputError(error)
                if self.fileno() == 1:
                    raise self.problem from None
        # Nobody is left to be told what standard error does not take.
        return memoryview(data).nbytes


def _take_over() -> _Stream | None:
    """Put streams that behave in the place of standard output and error; None where another program has put its own."""
    # One that is closed would be the next file that is opened, and would be read or written in its place.
    for number, mode in enumerate((os.O_WRONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _text(_Stream(2), sys.stderr, line_buffering=True)
    if sys.stdout is not sys.__stdout__:
        return None
    output = _Stream(1)
    sys.stdout = _text(output, sys.stdout, line_buffering=output.isatty())
    return output


def _text(stream: _Stream, instead_of: TextIO | None, line_buffering: bool) -> io.TextIOWrapper:
    encoding = instead_of.encoding if instead_of else "utf-8"
    return io.TextIOWrapper(io.BufferedWriter(stream), encoding, "mmtt", line_buffering=line_buffering)


def _is_nowhere() -> bool:
    """Whether the working directory is gone, which fails whatever asks for it without a file's name."""
    try:
        os.getcwd()
    except OSError:
        return True
    return False


class Program(click.Group):
    """A group of commands whose errors are one line each, whatever was to be printed where."""

    def main(self, *arguments: Any, **options: Any) -> Any:
        output = _take_over()
        try:
            return super().main(*arguments, **options)
        except SystemExit as end:
            if output is None:
                raise
            try:
                sys.stdout.flush()
            except OutputError as error:
                error.show()
            if isinstance(end, Ended):
                end_by(end.number)
            if output.problem is None:
                raise
            if output.problem.reader_gone:
                # As cat and zeek-cut end there: without a word, and with a status that no fault has.
                end_by(signal.SIGPIPE)
            sys.exit(end.code or OutputError.exit_code)
        except KeyboardInterrupt:
            end_by(signal.SIGINT)

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        try:
            return super().make_context(*arguments, **options)
        except KeyboardInterrupt:
            raise Ended(signal.SIGINT) from None  # as in invoke: `mmtt --help` loads all commands here

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except KeyboardInterrupt:
            # A status of its own would let the loop of a shell go on that Ctrl-C was to end.
            raise Ended(signal.SIGINT) from None
        except OSError as error:
            name = f"{shown(error.filename)}: " if error.filename is not None else ""
            if not name and _is_nowhere():
                raise click.ClickException("the working directory has been deleted; cd to one that is there") from None
            raise click.ClickException(f"{name}{error.strerror or error}") from None
        except click.exceptions.NoArgsIsHelpError:
            raise  # its message is the help, of many lines
        except click.ClickException as error:
            error.message = shown(error.message)  # type: ignore[misc]  # click sets it once, and reads it when it shows it
            raise
