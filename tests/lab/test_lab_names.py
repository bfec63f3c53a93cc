"""What an activity's client calls its server is known to it and its children alone."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from mmtt_model.lab.play import name_of

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the lab needs root")

_ASK = """
import socket, subprocess, sys
from pathlib import Path
from mmtt_model.lab.play import answer_to
answer_to(Path(sys.argv[1]), "www.someplace.lab.test", "10.77.9.9")
print(socket.gethostbyname("www.someplace.lab.test"))
print(subprocess.run(["getent", "hosts", "www.someplace.lab.test"], capture_output=True, text=True).stdout.split()[0])
"""


def test_a_name_is_known_where_it_is_told_and_nowhere_else(tmp_path):
    before = Path("/etc/hosts").read_text()
    done = subprocess.run([sys.executable, "-c", _ASK, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["10.77.9.9", "10.77.9.9"], done.stderr
    assert Path("/etc/hosts").read_text() == before
    with pytest.raises(socket.gaierror):
        socket.gethostbyname("www.someplace.lab.test")


def test_names_are_as_long_as_names_are_and_the_same_for_a_seed():
    names = [name_of(Random(seed)) for seed in range(300)]
    assert names == [name_of(Random(seed)) for seed in range(300)]
    lengths = sorted(map(len, names))
    assert lengths[0] < 14 < lengths[150] < 28 < lengths[-1] <= 50
    assert all(name.endswith(".test") for name in names) and len(set(names)) > 290
