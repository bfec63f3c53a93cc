"""`mmtt dataset hosts`: a line for each name, in their order."""

import subprocess
import sys

import pytest
from click.testing import CliRunner

from mmtt_model.cli.dataset import dataset

NAMES = "ocsp.digicert.com\n\n  RR1---sn-x.googlevideo.com. \n10.0.0.1\nwww.nobody-knows.org\n"
ANSWERS = [
    "ocsp.digicert.com\tinfrastructure\tOCSP",
    "RR1---sn-x.googlevideo.com.\tstreaming\tYouTube",
    "10.0.0.1\t-\t-",
    "www.nobody-knows.org\tweb\t-",
]


@pytest.mark.parametrize("by", ["file", "input", "-"])
def test_a_line_for_each_name(by, tmp_path):
    (tmp_path / "names").write_text(NAMES)
    file = {"file": [str(tmp_path / "names")], "input": [], "-": ["-"]}[by]
    result = CliRunner().invoke(dataset, ["hosts", *file], input=NAMES)
    assert result.exit_code == 0 and result.output.splitlines() == ANSWERS


@pytest.mark.parametrize(("content", "says"), [(None, "No such file"), (b"a.com\n\xff\xfe\n", "UTF-8")])
def test_a_file_that_cannot_be_read_is_one_line(content, says, tmp_path):
    if content is not None:
        (tmp_path / "names").write_bytes(content)
    result = CliRunner().invoke(dataset, ["hosts", str(tmp_path / "names")])
    assert result.exit_code == 1 and says in result.stderr and len(result.stderr.splitlines()) == 1


def test_torch_is_not_needed():
    code = (
        "import sys; sys.modules['torch'] = None; sys.argv = ['mmtt', 'dataset', 'hosts'];"
        "from mmtt_agent.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], input="a.com\n", capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout == "a.com\tweb\t-\n", done.stderr
