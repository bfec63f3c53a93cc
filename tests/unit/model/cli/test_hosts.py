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


def test_what_an_editor_puts_before_the_text_is_no_part_of_a_name(tmp_path):
    (tmp_path / "names").write_text("a.com\n", encoding="utf-8-sig")
    assert CliRunner().invoke(dataset, ["hosts", str(tmp_path / "names")]).output == "a.com\tweb\t-\n"


def test_a_line_without_end_is_told_and_so_is_an_input_that_is_closed():
    result = CliRunner().invoke(dataset, ["hosts", "/dev/zero"])
    assert result.exit_code == 1 and result.output.endswith(
        "line 1 has more than 65,536 characters; give a name a line\n"
    )
    code = "import sys; sys.argv = ['mmtt', 'dataset', 'hosts']; from mmtt_agent.cli import main; main()"
    done = subprocess.run(
        ["sh", "-c", '"$0" -c "$1" <&-', sys.executable, code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and "standard input is closed" in done.stderr and len(done.stderr.splitlines()) == 1


def test_torch_is_not_needed():
    code = (
        "import sys; sys.modules['torch'] = None; sys.argv = ['mmtt', 'dataset', 'hosts'];"
        "from mmtt_agent.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], input="a.com\n", capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout == "a.com\tweb\t-\n", done.stderr
