"""The notebook: what people write in it, by hand and by command."""

from __future__ import annotations

import os
import stat
from datetime import date

import pytest

from mmtt_agent.learn import notebook
from mmtt_agent.learn.notebook import Group, Notebook, NotebookError

TEXT = """\
domains:
  intra.example.org: {service: web, application: Intranet}
  "*.Files.example.org": {service: site_backup}
groups:
  - {name: Backup, service: file_transfer, uids: [CAbc1, CAbc2], asked: 2026-11-28}
  - {name: Backup, uids: [CAbc2, CAbc2, "123"]}   # one of the same flows, and one like a number
  - {leave: true, uids: [CAbc3]}
flows:
  CHhAvVGS1DHFjwGM9: harmless
  CMal: malicious
"""
BOOK = Notebook(
    {"intra.example.org": ("web", "Intranet"), "files.example.org": ("site_backup", None)},
    [
        Group("Backup", "file_transfer", ["CAbc1", "CAbc2"], asked=date(2026, 11, 28)),
        Group("Backup", None, ["CAbc2", "123"]),
        Group(None, None, ["CAbc3"], leave=True),
    ],
    {"CHhAvVGS1DHFjwGM9": False, "CMal": True},
)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "site.yaml"
    path.write_text(TEXT)
    return path


def test_what_people_write_is_read(path):
    assert notebook.read(path) == BOOK


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "domains:\ngroups:\nflows:\n", "groups: []\nflows: {}\n"])
def test_nothing_is_no_error(tmp_path, text):
    assert notebook.read(tmp_path / "site.yaml") == Notebook()
    (tmp_path / "site.yaml").write_text(text)
    assert notebook.read(tmp_path / "site.yaml") == Notebook()


def test_a_change_keeps_all_else_and_who_may_read_it(path):
    path.chmod(0o640)
    with notebook.changing(path) as found:
        found.groups.append(Group("Bücher", "web", ["C9"], asked=date(2026, 11, 29)))
        found.flows["C9"] = True
    new = notebook.read(path)
    assert new.groups == [*BOOK.groups, Group("Bücher", "web", ["C9"], asked=date(2026, 11, 29))]
    assert (new.domains, new.flows) == (BOOK.domains, {**BOOK.flows, "C9": True})
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert "- name: Bücher\n  service: web\n  uids: [C9]\n  asked: 2026-11-29\n" in path.read_text()
    assert [each.name for each in path.parent.iterdir()] == ["site.yaml"], "no part is left"


def test_what_is_not_changed_is_not_written(path):
    before = path.read_text()
    with notebook.changing(path) as found:
        found.flows["CMal"] = True
    assert path.read_text() == before
    changing = notebook.changing(path)
    changing.__enter__().flows.clear()
    assert not changing.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert path.read_text() == before, "nor what is broken off"


def test_a_link_stays_one(path):
    link = path.with_name("link.yaml")
    link.symlink_to(path)
    with notebook.changing(link) as found:
        found.flows["C9"] = True
    assert link.is_symlink() and notebook.read(path).flows["C9"]


@pytest.mark.parametrize(("text", "line", "words"), [
    ("[", 1, "not YAML"), ("groups: [\n", 2, "not YAML"), ("a: b: c", 1, "not YAML"),
    ("- a\n", 1, "the file must hold"),
    ("\n\ngroup: []", 3, "unknown key 'group'; known are domains, groups, flows"),
    ("flows: {}\nflows: {}", 2, "flows is given twice"), ("[a]: b", 1, "a key is one word"),
    ("groups: {}", 1, "groups must be a list"), ("groups: [a]", 1, "a group must hold"),
    ("groups:\n- {name: A}", 2, "must have uids"), ("groups:\n- {name: A, uids: []}", 2, "must have uids"),
    ("groups:\n- {name: A, uids: C1}", 2, "uids must be a list"), ("groups:\n- {name: A, uids: [[C1]]}", 2, "a uid is"),
    ("groups:\n- name: A\n  uids:\n  - C1\n  - C 2", 5, "a uid is one word such as CHhAvVGS1DHFjwGM9, not 'C 2'"),
    ("groups:\n- {uids: [C1]}", 2, "a name or a service, or leave: true"),
    ("groups:\n- {uids: [C1], leave: false}", 2, "a name or a service, or leave: true"),
    ("groups:\n- {uids: [C1], leave: true, name: A}", 2, "has no name"),
    ("groups:\n- {uids: [C1], leave: yup}", 2, "true or false"),
    ("groups:\n- {uids: [C1], nam: A}", 2, "unknown key 'nam'; known are name, service"),
    ("groups:\n- {uids: [C1], name: A, name: B}", 2, "name is given twice"),
    ("groups:\n- {uids: [C1], name: 5}", 2, "in quotes"), ("groups:\n- {uids: [C1], name: no}", 2, "in quotes"),
    ("groups:\n- {uids: [C1], name: unknown}", 2, "a name is"), ("groups:\n- {uids: [C1], name: ' '}", 2, "a name is"),
    (f"groups:\n- {{uids: [C1], name: {'x' * 65}}}", 2, "1 to 64"),
    ('groups:\n- {uids: [C1], name: "a\\eb"}', 2, "a name is"),
    ("groups:\n- {uids: [C1], service: File transfer}", 2, "such as file_transfer"),
    ("groups:\n- {uids: [C1], name: A, asked: today}", 2, "a date such as"),
    ("groups:\n- {uids: [C1], name: A, asked: 2026-99-99}", 2, "a date such as"),
    ("groups:\n- {uids: [C1], name: A}\n- {uids: [C2, C1], name: B}", 3, "C1 is B here, and A in the group of line 2"),
    ("groups:\n- {uids: [C1], name: A, service: chat}\n- {uids: [C1], name: A, service: web}", 3, "and A / chat in"),
    ("groups:\n- {uids: [C1], leave: true}\n- {uids: [C1], name: A}", 3, "and left alone in the group of line 2"),
    ("flows:\n  C1: harmless\n  C2: bad", 3, "C2 must be harmless or malicious"), ("flows: [C1]", 1, "flows must hold"),
    ("flows:\n  C1: harmless\n  C1: malicious", 3, "C1 is there twice, harmless and malicious"),
    ("flows:\n  C 1: harmless", 2, "a uid is"),
    ("domains:\n  a b: {service: web}", 2, "'a b' is no name"), ("domains:\n  a.org: web", 2, "must have a service"),
    ("domains:\n  a.org: {service: web}\n  A.org: {service: chat}", 3, "another answer"),
    ("domains:\n  a.org: {service: web, app: X}", 2, "unknown key 'app'"),
    ("domains:\n  a.org: {service: web, application: 5}", 2, "application must be text"),
    ("domains:\n  a.org: {service: web, application: unknown}", 2, "a name is"),
    ("domains:\n  a.org: {service: Own thing}", 2, "a service one word"),
])  # fmt: skip
def test_what_is_wrong_is_one_line_with_its_place(tmp_path, text, line, words):
    path = tmp_path / "site.yaml"
    path.write_text(text)
    with pytest.raises(NotebookError) as raised:
        notebook.read(path)
    assert str(raised.value).startswith(f"{path}:{line}: ") and words in str(raised.value)
    assert "\n" not in str(raised.value)
    with pytest.raises(NotebookError), notebook.changing(path):
        pass
    assert path.read_text() == text


def test_what_is_no_file(tmp_path):
    for place, words in ((tmp_path, "not a regular file"), (tmp_path / "no" / "site.yaml", "no such directory")):
        with pytest.raises(NotebookError, match=words), notebook.changing(place):
            pass
    (tmp_path / "latin").write_bytes(b"groups: \xff")
    with pytest.raises(NotebookError, match="not UTF-8"):
        notebook.read(tmp_path / "latin")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read(path):
    path.chmod(0)
    with pytest.raises(NotebookError, match="Permission denied"):
        notebook.read(path)
