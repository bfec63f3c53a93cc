"""Certificates as servers show them: chains of public authorities' kind, of many sizes, and some that sign themselves.

What a server sends first is mostly certificates, so their sizes are most of what the first packets of TLS show.
"""

from __future__ import annotations

import datetime
import ipaddress
import math
import struct
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    _Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    _Signed = tuple[x509.Certificate, _Key]

#: Kinds of chains in one capture; its activities take one each, harmless or not.
KINDS = 8


def make_certificates(folder: Path, draw: Random) -> None:
    """Write `KINDS` folders `0`, `1`, … with cert.pem (the server's, then those between), key.pem and ca.pem (what
    verifies it).

    The sizes' orders of magnitude are those of Nawrocki et al., "On the Interplay between TLS Certificates and QUIC
    Performance", CoNEXT 2022: chains of 1 to 6 kB, most with one certificate between, RSA more often than ECDSA.
    """
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    def key(bits: int) -> _Key:
        return rsa.generate_private_key(65537, bits) if bits else ec.generate_private_key(ec.SECP256R1())

    # Two authorities, an RSA one and an ECDSA one, and below each what signs for it.
    roots = [_signed(None, key(bits), None, draw, issuing=True) for bits in (4096, 0)]
    issuers = [
        (root, _signed(root, key(bits), None, draw, issuing=True)) for root, bits in zip(roots, (2048, 0), strict=True)
    ]
    for number in range(KINDS):
        here = folder / str(number)
        here.mkdir(parents=True)
        bits = draw.choice((2048, 2048, 0))
        if draw.random() < 0.2:
            own = _signed(None, key(bits), 1, draw)
            chain = [own]
        else:
            root, issuer = issuers[draw.random() < 0.3]
            own = _signed(issuer, key(bits), 1 + int(draw.lognormvariate(math.log(2), 1.2)), draw)
            # Some send the authority's own certificate too, though nobody needs it.
            chain = [own, issuer] + ([root] if draw.random() < 0.2 else [])
        (here / "cert.pem").write_bytes(b"".join(_pem(certificate) for certificate, _ in chain))
        (here / "ca.pem").write_bytes(_pem((chain[0] if len(chain) == 1 else root)[0]))
        (here / "key.pem").touch(mode=0o600)
        (here / "key.pem").write_bytes(_plain(own[1]))


def _signed(issuer: _Signed | None, key: _Key, names: int | None, draw: Random, issuing: bool = False) -> _Signed:
    """(certificate, key): signed by `issuer`, or by itself; `names` of the server it is for."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import (
        AuthorityInformationAccessOID,
        ExtendedKeyUsageOID,
        NameOID,
        ObjectIdentifier,
    )

    word = f"{draw.getrandbits(64):x}"[: draw.randrange(5, 14)]
    subject = x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, f"Lab {word} Trust Services"[: draw.randrange(12, 30)])]
        * issuing
        + [x509.NameAttribute(NameOID.COMMON_NAME, f"Lab {word} authority" if issuing else f"www.{word}.lab.test")]
    )
    today = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(draw.getrandbits(127) + 1)
        .not_valid_before(today - datetime.timedelta(days=2))
        .not_valid_after(today + datetime.timedelta(days=draw.choice((30, 90, 365))))
        .add_extension(x509.BasicConstraints(ca=issuing or issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if names:
        more = [
            x509.DNSName(f"{draw.getrandbits(64):x}"[: draw.randrange(4, 16)] + ".lab.test")
            for _ in range(min(names, 60))
        ]
        made = made.add_extension(
            x509.SubjectAlternativeName([*more, x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))]), critical=False
        )
    if issuer:
        made = made.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer[1].public_key()), critical=False
        ).add_extension(
            x509.AuthorityInformationAccess(
                [
                    x509.AccessDescription(
                        method, x509.UniformResourceIdentifier(f"http://{kind}.{word}.lab.test/{word}")
                    )
                    for method, kind in (
                        (AuthorityInformationAccessOID.OCSP, "ocsp"),
                        (AuthorityInformationAccessOID.CA_ISSUERS, "ca"),
                    )
                ]
            ),
            critical=False,
        )
        if not issuing:
            made = made.add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            ).add_extension(
                x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2"), _timestamps(draw)),
                critical=False,
            )
    return made.sign(issuer[1] if issuer else key, hashes.SHA256()), key


def _timestamps(draw: Random) -> bytes:
    """Two or three of the logs' timestamps that every public certificate has inside (RFC 6962, 3.3)."""
    each = b"".join(
        struct.pack(">H", 119) + b"\0" + draw.randbytes(40) + b"\0\0\4\3\0\x48" + draw.randbytes(72)
        for _ in range(draw.choice((2, 2, 3)))
    )
    listed = struct.pack(">H", len(each)) + each
    return (
        b"\x04\x82" + struct.pack(">H", len(listed)) + listed
        if len(listed) > 255
        else b"\x04\x81" + bytes([len(listed)]) + listed
    )


def _pem(certificate: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM)


def _plain(key: _Key) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    # The form in which every program reads it.
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
