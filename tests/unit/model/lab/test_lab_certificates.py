"""The lab's certificates: chains of several sizes that verify, and keys that fit them."""

import ssl
import subprocess
from random import Random

import pytest

pytest.importorskip("cryptography", reason="the lab's extra is not installed: pip install 'mmtt[lab]'")
from mmtt_model.lab.certificates import KINDS, make_certificates


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates")
    make_certificates(folder, Random(3))
    return [folder / str(number) for number in range(KINDS)]


def test_each_is_verified_by_its_authority_and_fits_its_key(made):
    for folder in made:
        done = subprocess.run(
            ["openssl", "verify", "-CAfile", "ca.pem", "-untrusted", "cert.pem", "cert.pem"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(folder / "cert.pem", folder / "key.pem")


def test_what_a_server_sends_differs_as_it_does_in_life(made):
    end = "-----END CERTIFICATE-----"
    sizes = [
        sum(
            len(ssl.PEM_cert_to_DER_cert(block.strip() + end))
            for block in (folder / "cert.pem").read_text().split(end)[:-1]
        )
        for folder in made
    ]
    assert min(sizes) < 1500 < 2000 < max(sizes) < 8000
    assert len(set(sizes)) > KINDS / 2
