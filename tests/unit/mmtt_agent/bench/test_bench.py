"""`mmtt bench` as a user calls it; how fast anything is, is not for tests to say."""

import re

import pytest
from click.testing import CliRunner
from places import DATA

from mmtt_agent.bench.cli import bench
from mmtt_agent.zeek import find


def test_the_agents_table_has_its_ratio_to_the_network_alone(tmp_path):
    from tiny_bundle import make_bundle

    done = CliRunner().invoke(bench, ["agent", "--seconds", "1", "--bundle", str(make_bundle(tmp_path / "tiny"))])
    assert done.exit_code == 0, done.output
    for name in ("verdicts per CPU second", "latency at half load", "memory", "JSON parse", "network"):
        assert re.search(rf"^{name} .*\d", done.output, re.MULTILINE), name
    assert re.search(r"the agent reaches \d+% of it", done.output)


@pytest.mark.skipif(find() is None, reason="no Zeek")
def test_zeeks_table_has_a_ratio_for_each_case():

    capture = DATA / "office.pcap"
    done = CliRunner().invoke(bench, ["zeek", "--runs", "1", str(capture)])
    assert done.exit_code == 0, done.output
    assert len(re.findall(r"^office\.pcap .* (?:cpu|wall) +[\d.]+ +[\d.]+ +[\d.]+", done.output, re.MULTILINE)) == 3


def test_no_zeek_is_told_in_one_line():
    done = CliRunner().invoke(bench, ["zeek", "--zeek", "/nonexistent"])
    assert done.exit_code == 1 and done.output == "Error: no Zeek /nonexistent; name it with --zeek FILE\n"
