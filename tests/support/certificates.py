"""Certificates for Zeek and for an agent: good ones, an expired one, and another authority."""

from __future__ import annotations

import subprocess
from pathlib import Path


def _openssl(*arguments) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def make(home: Path) -> None:
    """NAME.pem and NAME.key, for 127.0.0.1 and 10.99.0.1: the authorities "ca" and "other"; "zeek", "agent" and
    "expired", signed by "ca"; "strange", by "other"."""
    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    # Python's own checks are strict from 3.13 on.
    authority = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")
    (home / "extensions").write_text("subjectAltName=IP:127.0.0.1,IP:10.99.0.1\nauthorityKeyIdentifier=keyid\n")
    for name in ("ca", "other"):
        files = ("-keyout", home / f"{name}.key", "-out", home / f"{name}.pem")
        _openssl("req", "-x509", *new, *files, "-subj", f"/CN={name}", *authority)
    for name, signer, days in (("zeek", "ca", 2), ("agent", "ca", 2), ("expired", "ca", -1), ("strange", "other", 2)):
        request = home / f"{name}.csr"
        _openssl("req", *new, "-keyout", home / f"{name}.key", "-out", request, "-subj", f"/CN={name}")
        by = ("-CA", home / f"{signer}.pem", "-CAkey", home / f"{signer}.key", "-CAcreateserial", "-days", days)
        _openssl("x509", "-req", "-in", request, *by, "-extfile", home / "extensions", "-out", home / f"{name}.pem")
