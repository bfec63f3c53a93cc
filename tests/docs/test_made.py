"""What in docs/ comes from the code is what the code says now, and all of it."""

import re
import subprocess
import sys

import agent_settings
import commands
import interface
import pytest
import zeek_options
import zeek_scripts
from places import ROOT, ZEEK_SCRIPTS

DOCS = ROOT / "docs"


def test_made_pages_and_pictures_are_up_to_date():
    pytest.importorskip("grimp", reason="import-linter is not installed: pip install import-linter")
    pytest.importorskip("torch", reason="torch is not installed, so `mmtt --help` says what is missing")
    told = subprocess.run(
        [sys.executable, "docs/make", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr


def test_the_check_sees_a_page_that_is_out_of_date(tmp_path):
    pytest.importorskip("grimp", reason="import-linter is not installed: pip install import-linter")
    code = (
        "import sys; sys.path.insert(0, 'docs/make'); import runpy, pages; from pathlib import Path;"
        f"pages.DOCS = Path({str(tmp_path)!r}); sys.argv = ['docs/make', '--check'];"
        "runpy.run_path('docs/make', run_name='__main__')"
    )
    for page in DOCS.glob("*.md"):
        text = page.read_text(encoding="utf-8")
        (tmp_path / page.name).write_text(text.replace("`0.9`", "`0.8`"), encoding="utf-8")
    (tmp_path / "img").symlink_to(DOCS / "img")
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert told.returncode == 1 and "options.md" in told.stderr and "python.md" not in told.stderr


def test_every_option_of_the_zeek_package_is_in_the_table_with_its_default():
    """Counted in another way than the table is made: by the words that make an option."""
    text = (DOCS / "options.md").read_text(encoding="utf-8")
    for script in ZEEK_SCRIPTS.glob("*.zeek"):
        code = script.read_text(encoding="utf-8")
        names = set(re.findall(r"^\toption (\w+)", code, re.MULTILINE))
        names |= {
            match[1] for match in re.finditer(r"^\tconst (\w+)[^;]*;", code, re.MULTILINE) if "&redef" in match[0]
        }
        assert names == {variable.name for variable in zeek_scripts.variables(script)}, script
        for name in names:
            assert f"| `MMTT::{name}` |" in text, name


def test_every_option_says_what_it_is_for():
    for script in zeek_scripts.scripts(ZEEK_SCRIPTS):
        for variable in zeek_scripts.variables(script):
            assert variable.about, f"{script.name}: {variable.name} has no comment"


def test_a_default_that_spans_lines_is_shown_whole():
    """Entries of expected_services, one a line of the table under it."""
    text = zeek_options.tables(ZEEK_SCRIPTS)
    rows = re.findall(r"^\| `(\d+/\w+)` \| (\w+(?:, \w+)*) \|$", text, re.MULTILINE)
    assert len(rows) > 20 and ("22/tcp", "remote_access, file_transfer") in rows


def test_every_setting_of_the_agent_has_its_default_and_what_it_may_be():
    table = agent_settings.table()
    for key in ("url", "threads", "reconnect.longest", "tls.key", "log.counts_every", "metrics.listen"):
        assert re.search(rf"^\| `{re.escape(key)}` \| \S.* \| \S.* \| \S.* \|$", table, re.MULTILINE), key
    assert "| `credit` | `4096` | an integer from 64 to 1000000 |" in table


def test_every_command_has_its_help():
    names = [name for name, _ in commands.pages()]
    text = (DOCS / "commands.md").read_text(encoding="utf-8")
    for name in names:
        assert f"\n## {name}\n" in text
    assert {"mmtt agent", "mmtt classify", "mmtt bench zeek", "mmtt dataset build", "mmtt lab run"} <= set(names)


@pytest.mark.parametrize("module", interface.PUBLIC)
def test_public_names_can_be_imported(module):
    found = __import__("importlib").import_module(module) if module.startswith("mmtt_agent") else None
    if found is None:
        pytest.importorskip("torch", reason="torch is not installed: pip install 'mmtt[train]'")
        found = __import__("importlib").import_module(module)
    for name in interface.PUBLIC[module]:
        thing = found
        for part in name.split("."):
            thing = getattr(thing, part)
        assert thing.__doc__, f"{module}.{name} has no docstring"
