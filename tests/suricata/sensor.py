"""Suricata as the tests run it: found, configured with no more than they need, on captures and on a live link."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

#: The events that there are verdicts to put into, and some that there are none for.
TYPES = ("alert", "anomaly", "http", "dns", "tls", "quic", "ssh", "flow", "netflow", "stats: {totals: yes}")


def find() -> str | None:
    """The program: by SURICATA, or on PATH."""
    named = os.environ.get("SURICATA")
    return shutil.which(named) if named else shutil.which("suricata")


def config(directory: Path, *outputs: tuple[str, str], community_id: bool = False) -> Path:
    """A configuration that writes all events to each of the outputs: a filetype and a filename."""
    # There can be only one that writes anomalies.
    types = "".join(f"        - {each}\n" for each in TYPES if each != "anomaly" or len(outputs) == 1)
    logs = "".join(
        f"  - eve-log:\n      enabled: yes\n      filetype: {kind}\n      filename: {name}\n      append: yes\n"
        f"      community-id: {'yes' if community_id else 'no'}\n      types:\n{types}"
        for kind, name in outputs
    )
    path = directory / "suricata.yaml"
    path.write_text(
        "%YAML 1.1\n---\n"
        "vars:\n  address-groups: {HOME_NET: any, EXTERNAL_NET: any}\n"
        f"outputs:\n{logs}"
        "stats: {enabled: yes, interval: 1}\n"
        "unix-command: {enabled: no}\n"
        "af-packet:\n  - interface: default\n    threads: 1\n    use-mmap: yes\n    tpacket-v3: yes\n"
    )
    return path


def on_capture(
    capture: Path, directory: Path, rules: str = "", community_id: bool = False, output: tuple[str, str] | None = None
) -> Path:
    """Its events on a capture, as a file; or to another output."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "rules").write_text(rules)
    suricata = find()
    assert suricata
    done = subprocess.run(
        [suricata, "-c", config(directory, output or ("regular", "eve.json"), community_id=community_id), "-r", capture,
         "-l", directory, "-S", directory / "rules", "-k", "none"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return directory / "eve.json"
