"""`mmtt bench` as a user calls it; how fast anything is, is not for tests to say."""

import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from places import DATA

from mmtt_agent.bench import captures, zeek
from mmtt_agent.bench.agent import shares
from mmtt_agent.bench.cli import bench
from mmtt_agent.zeek import find


def test_the_agents_table_has_its_ratio_to_the_network_alone(tmp_path):
    from tiny_bundle import make_bundle

    done = CliRunner().invoke(bench, ["agent", "--seconds", "1", "--bundle", str(make_bundle(tmp_path / "tiny"))])
    assert done.exit_code == 0, done.output
    for name in ("verdicts per CPU second", "latency at half load", "memory", "JSON parse", "network"):
        assert re.search(rf"^{name} .*\d", done.output, re.MULTILINE), name
    assert re.search(r"the agent reaches \d+% of it", done.output)
    assert "bar" not in done.output.lower()


def test_no_share_is_negative():
    stages = {"features": 30.0, "network": 60.0}
    table = shares(stages, 100.0)
    assert [line.split()[-1] for line in table] == ["30%", "60%", "10%", "100%"]
    # Measured one after the other, so on a busy machine the parts may come to more than the whole.
    busy = shares(stages, 80.0)
    assert not any(re.search(r"-\d", line) for line in busy)
    assert busy[-1].endswith("measure again") and not any("rest" in line for line in busy)


@pytest.mark.skipif(find() is None, reason="no Zeek")
@pytest.mark.skipif(not zeek._PACKAGE.is_dir(), reason="no Zeek package beside the installed mmtt")
def test_zeeks_table_has_a_ratio_for_each_case():
    capture = DATA / "office.pcap"
    done = CliRunner().invoke(bench, ["zeek", "--runs", "1", str(capture)])
    assert done.exit_code == 0, done.output
    assert len(re.findall(r"^office\.pcap .* (?:cpu|wall) +[\d.]+ +[\d.]+ +[\d.]+", done.output, re.MULTILINE)) == 3


def a_zeek(directory: Path, said: str = "", status: int = 0) -> Path:
    """A program that says that and ends so, as Zeek would that can't load something; beside it a zeek-config."""
    (directory / "said").write_text(said)
    for name, line in (("zeek", f"cat '{directory}/said' >&2; exit {status}"), ("zeek-config", "echo /nowhere")):
        program = directory / name
        program.write_text(f"#!/bin/sh\n{line}\n")
        program.chmod(0o755)
    return directory / "zeek"


def bench_zeek(*arguments) -> str:
    """The one line that it ends with."""
    done = CliRunner().invoke(bench, ["zeek", *map(str, arguments)])
    assert done.exit_code == 1 and len(done.output.splitlines()) == 1, done.output
    return done.output


def test_nothing_is_made_for_a_zeek_that_does_not_find_the_package(tmp_path):
    program = a_zeek(tmp_path, "fatal error in <cmdline>: can't find mmtt/collect", 1)
    text = bench_zeek("--zeek", program, "--keep", tmp_path / "kept")
    assert "does not find the package mmtt; install it (zkg install" in text and "./mmtt bench zeek" in text
    assert not (tmp_path / "kept").exists()


def test_what_else_zeek_says_is_passed_on(tmp_path):
    text = bench_zeek("--zeek", a_zeek(tmp_path, "error in local.zeek, line 3: syntax", 1), "--keep", tmp_path / "kept")
    assert "can't load local: error in local.zeek, line 3: syntax" in text
    assert not (tmp_path / "kept").exists()


def test_a_zeek_without_its_installation_is_one_line(tmp_path):
    a_zeek(tmp_path)
    (tmp_path / "zeek-config").unlink()
    config, remedy = tmp_path / "zeek-config", "name the program of a Zeek installation with --zeek FILE"
    text = bench_zeek("--zeek", tmp_path / "zeek")
    assert f"Error: {config}: No such file or directory; {remedy}" in text
    config.write_text("#!/bin/sh\nexit 7\n")
    config.chmod(0o755)
    assert f"Error: {config} --zeekpath ends with status 7; {remedy}" in bench_zeek("--zeek", tmp_path / "zeek")


def test_nothing_is_made_where_there_is_no_room(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=500_000_000))
    text = bench_zeek("--zeek", a_zeek(tmp_path), "--keep", tmp_path / "kept")
    assert f"{tmp_path}/kept: the captures take 1.1 GB, and 0.5 GB are free there; name a directory" in text
    assert not (tmp_path / "kept").exists()


def test_a_capture_half_made_is_not_left(tmp_path, monkeypatch):
    def full(rng):
        yield 0, 1, 2, [(0, True, None, b"x")]
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(captures._CAPTURES, "short", full)
    with pytest.raises(OSError, match="No space"):
        captures.make(tmp_path)
    assert [*tmp_path.iterdir()] == []


def test_no_zeek_is_told_in_one_line():
    done = CliRunner().invoke(bench, ["zeek", "--zeek", "/nonexistent"])
    assert done.exit_code == 1 and done.output == "Error: no Zeek /nonexistent; name it with --zeek FILE\n"
