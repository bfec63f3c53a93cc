"""`mmtt agent` over wss:// with certificates both ways: good ones, and each way in which they are not."""

import asyncio
import re
import shutil
import ssl

import certificates
import pytest
from agent_program import Agent, run
from fake_zeek import FakeZeek, classify, flows
from tiny_bundle import make_bundle

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl to make certificates with")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Certificates and a bundle."""
    home = tmp_path_factory.mktemp("tls")
    certificates.make(home)
    make_bundle(home / "bundle")
    return home


def server_side(files, name: str = "zeek") -> ssl.SSLContext:
    """As Zeek does with enable_peer_verification."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files / f"{name}.pem", files / f"{name}.key")
    context.load_verify_locations(files / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def settings(files, ca: str | None, cert: str | None):
    lines = ["connect_timeout: 0.3", "tls:"]
    lines += [f"  ca: {files / ca}.pem"] if ca else []
    lines += [f"  cert: {files / cert}.pem", f"  key: {files / cert}.key"] if cert else []
    path = files / "agent.yaml"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_certificates_both_ways(files):
    async def story():
        config = settings(files, "ca", "agent")
        async with FakeZeek(tls=server_side(files)) as zeek:
            program = Agent("-c", config, "--url", zeek.url, "--bundle", files / "bundle", "--id", "a1")
            async with program:
                await zeek.next("MMTT::agent_hello")
                await zeek.send(classify("mmtt/agent/a1", 1, flows(3)))
                assert {record[2] for record in (await zeek.next("MMTT::verdicts"))[1][2]} == {"ok"}

    asyncio.run(story())


@pytest.mark.parametrize(
    ("ca", "cert", "served", "says"),
    [
        (
            "other",
            "agent",
            "zeek",
            "Zeek's certificate is not accepted: (self-signed|unable to get local issuer)",
        ),
        (
            None,
            "agent",
            "zeek",
            "Zeek's certificate is not accepted: (self-signed|unable to get local issuer)",
        ),
        ("ca", "agent", "expired", "Zeek's certificate is not accepted: certificate has expired"),
        ("ca", None, "zeek", "does it accept the certificate in tls.cert"),
        ("ca", "expired", "zeek", "does it accept the certificate in tls.cert"),
        ("ca", "agent", None, "does it speak TLS"),
    ],
)
def test_certificates_that_are_not_accepted_are_told_in_one_line(files, ca, cert, served, says):
    async def story():
        config = settings(files, ca, cert)
        async with FakeZeek(tls=server_side(files, served) if served else None) as zeek:
            url = zeek.url.replace("ws:", "wss:")
            program = Agent("-c", config, "--exit-with-zeek", "--url", url, "--bundle", files / "bundle")
            async with program:
                assert await program.ends() == 1
                *before, last = program.log.splitlines()
                assert last.startswith("Error: ") and not any("Error" in line for line in before)
                assert re.search(says, last), last

    asyncio.run(story())


def test_files_that_are_no_certificates(files):
    config = settings(files, "ca", "agent")
    url, bundle = "wss://127.0.0.1:1/", files / "bundle"
    config.write_text(f"tls:\n  ca: {files / 'agent.key'}\n")
    status, lines = run("-c", config, "--url", url, "--bundle", bundle)
    assert status == 2 and len(lines) == 1 and "no certificates in PEM" in lines[0]
    config.write_text(f"tls:\n  cert: {files / 'agent.pem'}\n  key: {files / 'zeek.key'}\n")
    status, lines = run("-c", config, "--url", url, "--bundle", bundle)
    assert status == 2 and len(lines) == 1 and "not a certificate and its key" in lines[0]
