"""A real Zeek that listens for agents on another address than loopback: with certificates both ways, or not at all."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import certificates
import pytest
from bed import wait_for

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl to make certificates with")

ADDRESS = "10.99.0.1"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    made = tmp_path_factory.mktemp("tls")
    certificates.make(made)
    return made


def listen(bed, home: Path, certificate: str = "zeek", peers: str = "T") -> None:
    subprocess.run(["ip", "-n", bed.name, "address", "add", f"{ADDRESS}/24", "dev", "lo"], check=True)
    tls = (
        f'$cert_file="{home}/{certificate}.pem", $key_file="{home}/{certificate}.key", $ca_file="{home}/ca.pem", '
        f"$enable_peer_verification={peers}"
    )
    bed.zeek(
        script=f"redef MMTT::listen_address = {ADDRESS}; redef MMTT::listen_tls = Cluster::WebSocketTLSOptions({tls});"
    )


def agent(bed, home: Path, ca: str = "ca", certificate: str | None = "agent", url: str = f"wss://{ADDRESS}:27759"):
    """Its settings, and the command that ends where it can't connect."""
    lines = [
        f"url: {url}/v1/messages/json",
        "connect_timeout: 2",
        "metrics: {listen: off}",
        "tls:",
        f"  ca: {home}/{ca}.pem",
    ]
    if certificate:
        lines += [f"  cert: {home}/{certificate}.pem", f"  key: {home}/{certificate}.key"]
    settings = bed.directory / "agent.yaml"
    settings.write_text("\n".join(lines) + "\n")
    return bed.start(
        "agent",
        sys.executable,
        "-c",
        "from mmtt_agent.cli import main; main()",
        "agent",
        "-c",
        settings,
        "--exit-with-zeek",
    )


def test_with_good_certificates_verdicts_come(bed, home):
    listen(bed, home)
    agent(bed, home)
    wait_for(lambda: bed.metrics()["mmtt_agents"] == 1, 30, "the agent's use")
    bed.traffic(100, 100)()
    wait_for(lambda: bed.metrics()["mmtt_windows_total ok"] == 100, 30, "verdicts")


@pytest.mark.parametrize(
    ("theirs", "ca", "ours", "says"),
    [
        ("expired", "ca", "agent", "Zeek's certificate is not accepted: certificate has expired"),
        ("strange", "ca", "agent", "Zeek's certificate is not accepted: unable to get local issuer"),
        ("zeek", "ca", "expired", "does it accept the certificate in tls.cert"),
        ("zeek", "ca", "strange", "does it accept the certificate in tls.cert"),
        ("zeek", "ca", None, "does it accept the certificate in tls.cert"),
    ],
)
def test_with_others_nobody_is_used(bed, home, theirs, ca, ours, says):
    listen(bed, home, theirs)
    if ours is None:
        # The agent itself refuses an address that is not loopback without a certificate of its own.
        process = agent(bed, home, ca, None)
        assert process.wait(60) == 2 and "tls.cert" in bed.said("agent")
    else:
        assert agent(bed, home, ca, ours).wait(60) == 1
        assert says in bed.said("agent").splitlines()[-1]
    assert bed.metrics()["mmtt_agents"] == 0


def test_without_certificates_zeek_listens_to_nobody(bed, home):
    listen(bed, home, peers="F")
    wait_for(
        lambda: "could send verdicts" in bed.said("zeek") or "could send verdicts" in _reporter(bed), 20, "the warning"
    )
    assert agent(bed, home).wait(60) == 1
    assert "connection refused" in bed.said("agent").splitlines()[-1]


def _reporter(bed) -> str:
    path = bed.directory / "zeek" / "reporter.log"
    return path.read_text() if path.exists() else ""
