"""Signals that end the program while it holds something."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

HOLDS = """
import os, sys, time
from mmtt_agent import endings
with endings.cleaned_up():
    try:
        print("holds", flush=True)
        time.sleep(60)
    finally:
        time.sleep(float(sys.argv[1]))
        print("lets go", flush=True)
print("goes on", flush=True)
"""


def held(*before: str, cleaning: float = 0) -> subprocess.Popen:
    """The program, once it holds something; `cleaning` seconds it takes to let go."""
    program = subprocess.Popen([*before, sys.executable, "-c", HOLDS, str(cleaning)], stdout=subprocess.PIPE, text=True)
    assert program.stdout.readline() == "holds\n"
    return program


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGXCPU])
def test_it_lets_go_and_ends_by_the_signal(number):
    program = held("sh", "-c", 'ulimit -c 0; exec "$@"', "sh")
    program.send_signal(number)
    out, _ = program.communicate(timeout=30)
    assert (program.returncode, out) == (-number, "lets go\n")


def test_a_second_signal_does_not_keep_it_from_letting_go():
    """`timeout` sends its signal to the program, then to the program's group."""
    program = held(cleaning=1)
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGHUP):
        program.send_signal(number)
    out, _ = program.communicate(timeout=30)
    assert program.returncode in (-signal.SIGTERM, -signal.SIGHUP) and out == "lets go\n"


def test_what_is_to_outlive_its_terminal_does():
    program = held("nohup")
    program.send_signal(signal.SIGHUP)
    program.send_signal(signal.SIGTERM)
    out, _ = program.communicate(timeout=30)
    assert (program.returncode, out) == (-signal.SIGTERM, "lets go\n")


def test_a_forked_child_lets_go_of_nothing():
    code = """
import os, signal, time
from mmtt_agent import endings
with endings.cleaned_up():
    try:
        reader, writer = os.pipe()
        if not (child := os.fork()):
            os.write(writer, b".")
            time.sleep(60)
            os._exit(1)
        os.read(reader, 1)
        os.kill(child, signal.SIGTERM)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    finally:
        print("lets go", flush=True)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == f"{-signal.SIGTERM}\nlets go\n"
