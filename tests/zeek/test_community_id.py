"""Community IDs are those of a real Zeek."""

from __future__ import annotations

import json
import subprocess

import pytest
from made_ends import all_kinds
from places import DATA

from mmtt_agent.community_id import NUMBERS, community_id
from mmtt_agent.zeek import find


@pytest.mark.parametrize("seed", [0, 4711])
@pytest.mark.parametrize("name", [*sorted(path.name for path in DATA.glob("*.pcap")), "all kinds"])
def test_they_are_those_of_zeek(tmp_path, name, seed):
    zeek = find()
    if zeek is None:
        pytest.skip("no Zeek: set ZEEK to the program, or put it on PATH")
    capture = DATA / name
    if name == "all kinds":
        capture = tmp_path / "made.pcap"
        capture.write_bytes(all_kinds())
    options = f"redef CommunityID::seed = {seed}; redef LogAscii::use_json = T;"
    command = [zeek, "-C", "-r", capture, "protocols/conn/community-id-logging", "-e", options]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    connections = [json.loads(line) for line in (tmp_path / "conn.log").read_text().splitlines()]
    assert connections and (name != "all kinds" or len(connections) >= 36)
    for each in connections:
        orig, resp = each["id.orig_h"], each["id.resp_h"]
        number = NUMBERS["ipv6-icmp" if each["proto"] == "icmp" and ":" in orig else each["proto"]]
        ours = community_id(number, orig, each["id.orig_p"], resp, each["id.resp_p"], seed)
        assert ours == each["community_id"], each
