"""What becomes of what the program says where it can't be said, for every command."""

from __future__ import annotations

import os
import signal

import click
import pytest
from click.testing import CliRunner
from places import DATA
from program import mmtt

from mmtt_agent.output import Program, shown, utc

#: All of it is TCP or UDP, so that nothing is to be said of it.
LAB = DATA / "lab.pcap"
#: A command of each kind: what click says, what a command echoes, rows, and what rich draws.
COMMANDS = [
    ("--version",),
    ("--help",),
    ("classify", "--help"),
    ("bench", "--help"),
    ("doctor", "--zeek", "/absent"),
    ("agent", "--print", "config"),
    ("classify", LAB),
    ("classify", LAB, "--format", "json"),
    ("classify", LAB, "--format", "table"),
]
FULL = "Error: standard output: No space left on device\n"
CLOSED = "Error: standard output: Bad file descriptor\n"


def ids(command):
    return " ".join(str(each) for each in command if each != LAB)


@pytest.mark.parametrize("command", COMMANDS, ids=ids)
def test_what_cant_be_written_is_one_line_and_a_status(command):
    # Status 1 of doctor says that something is wrong on the sensor.
    status = 3 if command[0] == "doctor" else 1
    for shell, says in ((">/dev/full", FULL), (">&-", CLOSED)):
        done = mmtt(*command, shell=shell)
        assert (done.returncode, done.stderr) == (status, says)


@pytest.mark.parametrize("command", COMMANDS, ids=ids)
def test_a_pipe_that_nobody_reads_ends_it_as_it_ends_cat(command):
    reader, writer = os.pipe()
    os.close(reader)
    done = mmtt(*command, stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (-signal.SIGPIPE, "")


def test_rows_that_fill_the_disk_half_way_are_no_success(tmp_path):
    """More than fits a buffer: the first of it is written."""
    limited = ("sh", "-c", 'ulimit -f 8; exec "$@"', "sh")
    out = tmp_path / "rows"
    with out.open("wb") as file:
        done = mmtt("classify", LAB, "--format", "json", user=limited, stdout=file)
    assert (done.returncode, done.stderr) == (1, "Error: standard output: File too large\n")
    assert out.stat().st_size > 0


@pytest.mark.parametrize("shell", ["2>&-", "2>/dev/full"])
def test_what_cant_be_said_on_standard_error_costs_nothing_else(shell, tmp_path):
    bad = tmp_path / "bad.pcap"
    bad.write_bytes(b"no capture")
    whole = mmtt("classify", bad, LAB)
    quiet = mmtt("classify", bad, LAB, shell=shell)
    assert (whole.returncode, quiet.returncode) == (1, 1)
    assert "bad.pcap: not a capture" in whole.stderr
    assert rows(quiet.stdout) == rows(whole.stdout) != []
    assert mmtt("nonsense", shell=shell).returncode == 2


def rows(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith("#")]


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "latin-1"},
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "cp1251:strict"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        {"LC_ALL": "POSIX"},
    ],
    ids=lambda each: " ".join(each.values()),
)
def test_a_locale_that_lacks_what_a_table_is_drawn_with(environment):
    done = mmtt("classify", LAB, "--format", "table", env={"COLUMNS": "140", **environment})
    assert (done.returncode, done.stderr) == (0, "")
    assert "10.77.0.1" in done.stdout and "with a verdict" in done.stdout
    # The log is Zeek's, byte for byte, whatever the locale.
    assert rows(mmtt("classify", LAB, env=environment).stdout) == rows(mmtt("classify", LAB).stdout)


def test_names_in_errors_are_shown_escaped(tmp_path):
    for bundle in ("gone\n\x1b[31mred", b"gone\xff"):
        done = mmtt("classify", LAB, "--bundle", bundle)
        assert done.returncode == 2
        place = f"{shown(os.fsdecode(bundle))}/bundle.yaml"
        assert done.stderr == f"Error: {place}: No such file or directory; name a directory with a bundle\n"
    done = mmtt("classify", LAB, "\x1b[31m--what\n")
    assert "\x1b" not in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_file_that_a_command_did_not_expect_to_fail_is_one_line():
    @click.group(cls=Program)
    def program() -> None:
        pass

    @program.command()
    def fails() -> None:
        os.stat("/dev/null/x\n")

    done = CliRunner().invoke(program, ["fails"])
    assert (done.exit_code, done.output) == (1, "Error: /dev/null/x\\n: Not a directory\n")


def test_in_a_working_directory_that_is_gone_what_can_be_done_is_and_the_rest_says_why(tmp_path):
    gone = tmp_path / "gone"
    (tmp_path / "lab.pcap").write_bytes(LAB.read_bytes())
    for command, status, said in (
        ("classify ../lab.pcap", 0, ""),
        ("bench zeek --zeek x.sh", 1, "Error: no Zeek x.sh; name it with --zeek FILE\n"),
    ):
        gone.mkdir()
        leave = ("sh", "-c", 'rmdir "$PWD"; exec "$@"', "sh")
        done = mmtt(*command.split(), user=leave, cwd=gone)
        assert (done.returncode, done.stderr) == (status, said)
        assert status != 0 or len(rows(done.stdout)) == 46

    @click.group(cls=Program)
    def program() -> None:
        pass

    @program.command()
    def fails() -> None:
        gone.mkdir()
        before = os.getcwd()
        os.chdir(gone)
        gone.rmdir()
        try:
            os.getcwd()
        finally:
            context = click.get_current_context()
            context.find_root().call_on_close(lambda: os.chdir(before))

    done = CliRunner().invoke(program, ["fails"])
    assert done.output == "Error: the working directory has been deleted; cd to one that is there\n"


@pytest.mark.parametrize(
    ("imported", "command"), [("click", "--version"), ("yaml", "agent --help"), ("yaml", "--help")]
)
def test_ctrl_c_while_it_is_still_starting_is_quiet(tmp_path, imported, command):
    (tmp_path / f"{imported}.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    done = mmtt(*command.split(), env={"PYTHONPATH": str(tmp_path)})
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


def test_shown():
    assert shown("täglich [x] 東京.pcap") == "täglich [x] 東京.pcap"
    assert shown("a\nb\tc\x1b[31m\x07\x7f\x9b\u202e") == "a\\nb\\tc\\x1b[31m\\x07\\x7f\\x9b\\u202e"
    assert shown(os.fsdecode(b"\xff.pcap")) == "\\xff.pcap"


def test_a_time_that_no_calendar_has_is_shown_all_the_same():
    assert utc(0, "%Y-%m-%d") == "1970-01-01"
    assert utc(9e12, "%Y-%m-%d") == "9000000000000 s"
