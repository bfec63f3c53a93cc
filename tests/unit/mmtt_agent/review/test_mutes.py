"""The file that Zeek reads: lines in the form that zeek-scripts/muted.zeek takes."""

from __future__ import annotations

import re

import pytest
from places import ZEEK_SCRIPTS

from mmtt_agent.review import mutes
from mmtt_agent.review.mutes import Mute, MuteError

LINES = [
    Mute("10.0.0.1", "10.1.0.0/16", "443/tcp", "scan", 1_900_000_000.0, "of the back-up \\ server"),
    Mute(resp="fd00::1", note="-"),
    Mute(kind="command_and_control"),
]


def test_lines_come_back_as_they_were_written(tmp_path):
    path = tmp_path / "muted.tsv"
    assert mutes.read(path) == []
    mutes.write(path, LINES)
    assert mutes.read(path) == LINES
    head, first, second, third = path.read_text().splitlines()
    assert head == "#fields\torig\tresp\tresp_p\tkind\tuntil\tnote"
    assert first == "10.0.0.1\t10.1.0.0/16\t443/tcp\tscan\t1900000000\tof the back-up \\x5c server"
    assert (second, third) == ("-\tfd00::1\t-\t-\t-\t\\x2d", "-\t-\t-\tcommand_and_control\t-\t-")


def test_zeek_reads_the_same_file_and_columns():
    script = ZEEK_SCRIPTS / "muted.zeek"
    if not script.exists():
        pytest.skip("the package does not mute yet")
    text = script.read_text(encoding="utf-8")
    assert re.search(r'muted_file = "(.+?)"', text)[1] == str(mutes.FILE)
    record = text.partition("type MutedLine: record {")[2].partition("}")[0]
    assert re.findall(r"(\w+): string &optional;", record) == [*Mute._fields]


def test_hosts_and_kinds_are_put_as_zeek_wants_them():
    found = mutes.checked(Mute("10.1.2.3/8", "10.0.0.1/32", None, "brute force", None, ""))
    assert found == Mute("10.0.0.0/8", "10.0.0.1", None, "brute_force", None, None)


@pytest.mark.parametrize(
    ("mute", "says"),
    [
        (Mute(), "would mute everything"),
        (Mute(until=1.0, note="x"), "would mute everything"),
        (Mute(orig="host"), "orig can't be 'host'; it is an address or a network"),
        (Mute(resp="10.0.0.0/33"), "resp can't be"),
        (Mute(resp_p="443"), "port can't be '443'; it is one such as 443/tcp"),
        (Mute(resp_p="65536/tcp"), "port can't be"),
        (Mute(resp_p="1/icmp"), "port can't be"),
        (Mute(kind="\t"), "kind can't be"),
        (Mute(kind="x" * 65), "kind can't be"),
        (Mute(kind="scan", note="one\ntwo"), "a note is one line"),
    ],
)
def test_what_cant_be_muted(mute, says):
    with pytest.raises(MuteError, match=re.escape(says)):
        mutes.checked(mute)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("10.0.0.1\t-\t-\t-\t-\t-\n", "1: 6 columns, where #fields should have said orig, resp"),
        ("#fields\torig\tresp\n1\t2\n", "2: 2 columns, where #fields should have said"),
        ("#fields\torig\tresp\tresp_p\tkind\tuntil\tnote\nx\t-\t-\t-\t-\t-\n", "2: orig can't be 'x'"),
        ("#fields\torig\tresp\tresp_p\tkind\tuntil\tnote\n\n# a\n-\t-\t-\ta\tsoon\t-\n", "4: until can't be 'soon'"),
        ("#fields\torig\tresp\tresp_p\tkind\tuntil\tnote\n-\t-\t-\t-\t-\t-\n", "2: that would mute everything"),
    ],
)
def test_a_line_that_somebody_has_spoilt_is_told_and_not_written_over(tmp_path, text, says):
    path = tmp_path / "muted.tsv"
    path.write_text(text)
    with pytest.raises(MuteError) as caught:
        mutes.read(path)
    assert str(caught.value).startswith(f"{path}:{says}") and str(caught.value).endswith("; correct the line")


def test_other_columns_and_another_order_will_do(tmp_path):
    path = tmp_path / "muted.tsv"
    path.write_text("#fields\tkind\tresp\torig\tby\tnote\tuntil\tresp_p\nscan\t-\t10.0.0.1\tme\t-\t-\t-\n")
    assert mutes.read(path) == [Mute(orig="10.0.0.1", kind="scan")]


def test_the_file_behind_a_link_is_changed_and_its_directory_made(tmp_path):
    (tmp_path / "link.tsv").symlink_to(tmp_path / "etc" / "muted.tsv")
    with mutes.changing(tmp_path / "link.tsv") as path:
        mutes.write(path, LINES)
    assert (tmp_path / "link.tsv").is_symlink() and mutes.read(tmp_path / "etc" / "muted.tsv") == LINES
