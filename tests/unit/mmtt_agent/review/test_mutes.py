"""The file that Zeek reads: lines in the form that zeek-scripts/muted.zeek takes."""

from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path

import pytest
from places import ZEEK_SCRIPTS

from mmtt_agent.review import mutes
from mmtt_agent.review.mutes import Mute, MuteError

LINES = [
    Mute("10.0.0.1", "10.1.0.0/16", "443/tcp", "scan", 1_900_000_000.0, "of the back-up \\ server"),
    Mute(resp="fd00::1", note="-"),
    Mute(kind="command_and_control"),
]


def put(path, lines):
    content = mutes.Content(path)
    for each in lines:
        content.add(each)
    mutes.write(path, content)


def test_lines_come_back_as_they_were_written(tmp_path):
    path = tmp_path / "muted.tsv"
    assert mutes.read(path).mutes == []
    put(path, LINES)
    assert mutes.read(path).mutes == LINES
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
def test_a_line_that_somebody_has_spoilt_is_told(tmp_path, text, says):
    path = tmp_path / "muted.tsv"
    path.write_text(text)
    found = mutes.read(path)
    (told,) = found.problems
    assert found.mutes == [] and told.startswith(f"{path}:{says}") and told.endswith("; correct the line")


HEAD = "#fields\tkind\tresp\torig\tby\tnote\tuntil\tresp_p"


def test_other_columns_and_another_order_will_do(tmp_path):
    path = tmp_path / "muted.tsv"
    path.write_text(f"{HEAD}\nscan\t-\t10.0.0.1\tme\t-\t-\t-\n")
    assert mutes.read(path).mutes == [Mute(orig="10.0.0.1", kind="scan")]


def test_what_is_not_changed_stays_as_it_is(tmp_path):
    """Comments, other columns, and lines that can't be read, whatever is in them."""
    path = tmp_path / "muted.tsv"
    spoilt = b"host\t-\t-\xff\t\xe2\x80\xa8"
    lines = [b"# ours", HEAD.encode(), b"a\t-\t-\tme\t-\t-\t-", spoilt, b"", b"b\t-\t-\tyou\t-\t-\t-"]
    path.write_bytes(b"\n".join(lines))
    found = mutes.read(path)
    assert len(found.problems) == 1 and found.problems[0].startswith(f"{path}:4: 4 columns")
    found.remove([0])
    found.add(Mute(orig="10.0.0.1", note="new"))
    found.replace(0, Mute(kind="b", until=1_900_000_000.0))
    mutes.write(path, found)
    assert path.read_bytes().split(b"\n") == [
        *lines[:2], spoilt, b"", b"b\t-\t-\tyou\t-\t1900000000\t-", b"-\t-\t10.0.0.1\t-\tnew\t-\t-", b"",
    ]  # fmt: skip


def test_a_note_that_is_no_text_is_told(tmp_path):
    path = tmp_path / "muted.tsv"
    path.write_bytes(b"#fields\torig\tresp\tresp_p\tkind\tuntil\tnote\n-\t-\t-\ta\t-\t\xff\\x41\n")
    assert mutes.read(path).problems == [f"{path}:2: its note is not UTF-8; correct the line"]


def test_nothing_is_added_where_the_columns_are_not_said(tmp_path):
    path = tmp_path / "muted.tsv"
    for text in ("nonsense\n", "#fields\torig\tresp\n"):
        path.write_text(text)
        with pytest.raises(MuteError, match="#fields should say orig, resp, resp_p, kind, until, note"):
            mutes.read(path).add(Mute(kind="scan"))


@pytest.mark.parametrize(
    ("mute", "says"),
    [
        (Mute(orig="0.0.0.0/0"), "would mute everything"),
        (Mute(resp="::/0"), "would mute everything"),
        (Mute("0.0.0.0/0", "::/0"), "would mute everything"),
        (Mute(orig="fe80::1%eth0"), "orig can't be 'fe80::1%eth0'; Zeek knows no scopes"),
        (Mute(resp_p="0/tcp"), "port can't be '0/tcp': nobody answers there"),
        (Mute(kind="scan", until=1e11), "longer than the file can say"),
    ],
)
def test_what_should_not_be_muted_anew(mute, says):
    with pytest.raises(MuteError, match=re.escape(says)):
        mutes.allowed(mute)


def test_a_network_of_all_will_do_beside_something_else():
    for mute in (
        Mute(orig="0.0.0.0/0", kind="scan"),
        Mute("0.0.0.0/0", "10.0.0.1"),
        Mute(resp="::/0", resp_p="22/tcp"),
    ):
        assert mutes.allowed(mute) == mute


def test_the_file_behind_a_link_is_changed(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "link.tsv").symlink_to(tmp_path / "etc" / "muted.tsv")
    with mutes.changing(tmp_path / "link.tsv") as path:
        put(path, LINES)
    assert (tmp_path / "link.tsv").is_symlink() and mutes.read(tmp_path / "etc" / "muted.tsv").mutes == LINES


@pytest.fixture
def umask():
    before = os.umask(0o077)
    yield
    os.umask(before)


def mode(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_file_can_be_read_by_zeek_whatever_the_umask(tmp_path, umask, monkeypatch):
    monkeypatch.setattr(mutes, "FILE", tmp_path / "mmtt" / "muted.tsv")
    with mutes.changing(mutes.FILE) as path:
        put(path, LINES)
    assert (mode(path), mode(path.parent)) == (0o644, 0o755)


def test_owner_and_mode_of_a_file_stay(tmp_path, umask):
    path = tmp_path / "muted.tsv"
    path.write_text("")
    path.chmod(0o664)
    owner = (12_345, 54_321) if os.geteuid() == 0 else (os.getuid(), os.getgid())
    os.chown(path, *owner)
    put(path, LINES)
    about = path.stat()
    assert mutes.read(path).mutes == LINES
    assert (mode(path), about.st_uid, about.st_gid) == (0o664, *owner)


def test_another_users_file_is_left_alone(tmp_path, monkeypatch):
    if os.geteuid() != 0:
        pytest.skip("only root has files of others")
    path = tmp_path / "muted.tsv"
    path.write_text("# theirs\n")
    os.chown(path, 12_345, 54_321)

    def refused(*_):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "fchown", refused)
    with pytest.raises(MuteError, match="it is another user's; only they and root can change it"):
        put(path, LINES)
    assert path.read_text() == "# theirs\n" and os.listdir(tmp_path) == ["muted.tsv"]


def test_what_is_no_file_is_neither_read_nor_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/full")
    (tmp_path / "loop").symlink_to("loop")
    for place in (tmp_path, tmp_path / "pipe", tmp_path / "device", Path("/dev/zero")):
        with pytest.raises(MuteError, match="not a regular file"):
            mutes.read(place)
        with pytest.raises(MuteError, match="not a regular file"):
            put(place, LINES)
        with pytest.raises(MuteError, match="not a regular file"), mutes.changing(place):
            pass
    with pytest.raises((MuteError, OSError)), mutes.changing(tmp_path / "loop"):
        pass


def test_a_directory_that_is_not_there_is_told(tmp_path):
    place = tmp_path / "etc"
    with pytest.raises(MuteError) as caught, mutes.changing(place / "muted.tsv"):
        pass
    assert str(caught.value) == f"{place}: there is no such directory; make it first: mkdir -p {place}"
    assert not place.exists()
