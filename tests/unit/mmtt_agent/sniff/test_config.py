"""Settings of `mmtt sniff`: those of the example are the defaults, and what is wrong is told with its line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mmtt_agent.sniff import config
from mmtt_agent.sniff.config import Config, ConfigError, load
from mmtt_agent.watch import client

EXAMPLE = Path(config.__file__).parent / "install" / "mmtt-sniff.yaml"
UNIT = EXAMPLE.with_name("mmtt-sniff.service")


def test_the_example_shows_the_defaults():
    assert load(EXAMPLE, {"id": "a"}) == Config(id="a")


def test_the_example_shows_every_setting():
    shown = set(re.findall(r"^(?:# )?([a-z_]+):", EXAMPLE.read_text(), re.MULTILINE))
    assert shown == set(Config.__dataclass_fields__)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("workers: 0\n", "sniff.yaml:1: workers must be an integer from 1 to 64"),
        ("\ninterface: a/b\n", "sniff.yaml:2: interface must be the name of an interface"),
        ("interface: a,a\n", "interface must be each interface once"),
        ("interfaces: eth0\n", "unknown key 'interfaces'; known are interface, filter"),
        ("directory: x\noutput: y\n", "sniff.yaml:2: directory and output both say where verdicts go"),
        ("directory: x\nformat: table\n", "a table is for a terminal"),
        ("output: x\nformat: tsv\n", "tsv is for standard output or a directory"),
        ("checksums: maybe\n", "checksums must be true or false"),
        ("false_positives: 1%\nthresholds: {malicious: 0.5}\n", "both say what is malicious"),
        ("url: ws://x\n", "unknown key 'url'"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path, text, told):
    path = tmp_path / "sniff.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=re.escape(told)):
        load(path)


def test_who_watches_finds_it_by_its_settings(tmp_path):
    path = tmp_path / "sniff.yaml"
    path.write_text("interface: eth1\nmetrics: {listen: '127.0.0.1:4444'}\n")
    assert client.address(str(path), None) == ("127.0.0.1", 4444)
    path.write_text("interface: eth1\nworkers: none\n")
    with pytest.raises(ConfigError, match="workers must be an integer"):
        client.address(str(path), None)


def test_the_unit_gives_no_more_than_one_capability():
    text = UNIT.read_text()
    assert "AmbientCapabilities=CAP_NET_RAW\n" in text and "CapabilityBoundingSet=CAP_NET_RAW\n" in text
    assert "DynamicUser=yes" in text and "AF_PACKET" in text
