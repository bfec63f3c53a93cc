"""Community IDs are those of a real Suricata."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest
from made_ends import all_kinds
from places import DATA

from mmtt_agent.community_id import NUMBERS, community_id

CONFIGURATION = """%YAML 1.1
---
outputs:
  - eve-log:
      enabled: yes
      filename: eve.json
      community-id: true
      community-id-seed: {seed}
      types: [flow]
"""


def flows(place, capture, seed: int) -> list[dict]:
    """What Suricata says of a capture's flows."""
    suricata = shutil.which("suricata")
    if suricata is None:
        pytest.skip("no Suricata: put it on PATH")
    (place / "suricata.yaml").write_text(CONFIGURATION.format(seed=seed))
    command = [suricata, "-c", place / "suricata.yaml", "-S", "/dev/null", "-l", place, "-k", "none", "-r", capture]
    subprocess.run(command, check=True, capture_output=True)
    return [json.loads(line) for line in (place / "eve.json").read_text().splitlines()]


@pytest.mark.parametrize("seed", [0, 4711])
@pytest.mark.parametrize("name", [*sorted(path.name for path in DATA.glob("*.pcap")), "all kinds"])
def test_they_are_those_of_suricata(tmp_path, name, seed):
    capture = DATA / name
    if name == "all kinds":
        capture = tmp_path / "made.pcap"
        capture.write_bytes(all_kinds())
    found = flows(tmp_path, capture, seed)
    assert found and (name != "all kinds" or len(found) >= 36)
    for flow in found:
        proto = flow["proto"]
        ports = [
            flow.get(port, flow.get(icmp)) for port, icmp in (("src_port", "icmp_type"), ("dest_port", "icmp_code"))
        ]
        ours = community_id(NUMBERS[proto.lower()], flow["src_ip"], ports[0], flow["dest_ip"], ports[1], seed)
        assert ours == flow["community_id"], flow
