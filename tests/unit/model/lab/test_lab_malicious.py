"""What plays malicious shapes: it refuses other networks' addresses, and its beacons are whole and say where they are
from.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest
import yaml

from mmtt_model.lab.activities import ACTIVITIES
from mmtt_model.lab.fence import check
from mmtt_model.lab.part import Part
from mmtt_model.lab.programs import programs

_OWN = {"python", "urllib", "smtplib", "none"}


def _part(address: str) -> Part:
    return Part("beacon_tls", "", "python", "python", address, 1.0, 1, Path(), Path())


@pytest.mark.parametrize("address", ["192.0.2.1", "10.80.0.1", "127.0.0.1", "8.8.8.8"])
def test_other_addresses_are_refused(address):
    with pytest.raises(SystemExit, match="not of the lab"):
        check(_part(address))


@pytest.mark.parametrize("address", ["10.77.1.9", "127.77.1.9"])
def test_the_labs_addresses_are_not_refused(address):
    check(_part(address))


def test_each_beacon_says_where_its_numbers_are_from():
    text = resources.files("mmtt_model.lab").joinpath("beacons.yaml").read_text()
    for name, entry in yaml.safe_load(text).items():
        assert len(entry["source"]) > 20
        play = entry["play"]
        assert {"interval", "jitter", "head", "up", "down", "task", "tasks", "result", "post", "keep"} <= set(play), (
            name
        )
        assert 0 <= play["jitter"] <= 1 and 0 < play["task"] < 0.5
        assert ACTIVITIES[f"beacon_{name}"].malicious == f"beacon_{name}"


def test_each_malicious_kind_has_two_implementations_of_known_programs():
    for name in ("beacons", "bots", "doh", "exfiltration", "guessing", "probing_tools", "sessions"):
        own = [entry for entry in ACTIVITIES.values() if entry.module.endswith(f".{name}")]
        assert own
        for entry in own:
            assert len(entry.implementations) >= 2
            assert {word for both in entry.implementations for word in both.split("/")} <= set(programs()) | _OWN | {
                "websockets"
            }
