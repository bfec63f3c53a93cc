"""Chromium without a window, led over a pipe (DevTools protocol): one browser for all pages of a visit, as people have
it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shlex
import subprocess
from typing import Any

from .https_servers import PORT
from .part import Part

_QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-dev-shm-usage",
    "--disable-features=MediaRouter,OptimizationHints,DialMediaRouteProvider",
    "--mute-audio",
    "--autoplay-policy=no-user-gesture-required",
    "--remote-debugging-pipe",
)


class Browser:
    """get(paths) shows the page at the first; what else is fetched is the page's own doing."""

    def __init__(self, part: Part) -> None:
        self.part, self.base, self.number = part, f"https://{part.name}", 0
        words = [
            "chromium",
            *_QUIET,
            f"--user-data-dir={part.scratch}/chromium",
            # Asks for nothing but the lab's server, by whatever feature.
            f"--host-resolver-rules=MAP {part.name} {part.address}, MAP * ~NOTFOUND, EXCLUDE {part.address}",
        ]
        if part.client.endswith("-h3"):
            # QUIC wants a certificate that is known, not an error ignored.
            words += [
                "--enable-quic",
                f"--origin-to-force-quic-on={part.name}:{PORT}",
                f"--ignore-certificate-errors-spki-list={_pin(part)}",
            ]
        else:
            words += ["--disable-quic", "--ignore-certificate-errors"]
        read, self.write = os.pipe()
        self.read, write = os.pipe()
        # The protocol's pipes are to be 3 and 4; `read` is lower than `write`, so neither is lost.
        self.process = subprocess.Popen(
            ["bash", "-c", f"exec {shlex.join(words)} about:blank 3<&{read} 4>&{write}"],
            pass_fds=(read, write),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(read)
        os.close(write)
        self.left = b""
        self.session: str | None = None
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._ask("Page.enable")

    def _heard(self) -> dict[str, Any]:
        while b"\0" not in self.left:
            got = os.read(self.read, 1 << 16)
            if not got:
                raise OSError("chromium ended")
            self.left += got
        text, _, self.left = self.left.partition(b"\0")
        heard: dict[str, Any] = json.loads(text)
        return heard

    def _ask(self, method: str, **words: object) -> dict[str, Any]:
        self.number += 1
        made: dict[str, object] = {"id": self.number, "method": method, "params": words}
        if self.session:
            made["sessionId"] = self.session
        os.write(self.write, json.dumps(made).encode() + b"\0")
        while (heard := self._heard()).get("id") != self.number:
            pass
        if "error" in heard:
            raise OSError(f"chromium: {heard['error'].get('message')}")
        result: dict[str, Any] = heard["result"]
        return result

    def get(self, paths: list[str]) -> None:
        failed = self._ask("Page.navigate", url=self.base + paths[0]).get("errorText")
        if failed and failed != "net::ERR_ABORTED":
            raise OSError(f"chromium: {failed}")
        while self._heard().get("method") != "Page.loadEventFired":
            pass

    def run(self, script: str) -> Any:
        """The value of a script in the page: whatever JSON can be."""
        return self._ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)["result"].get(
            "value"
        )


def _pin(part: Part) -> str:
    """What names the server's key: base64 of its SHA-256."""
    key = subprocess.run(
        ["openssl", "x509", "-in", str(part.secrets / "cert.pem"), "-pubkey", "-noout"], capture_output=True, check=True
    ).stdout
    plain = subprocess.run(
        ["openssl", "pkey", "-pubin", "-outform", "der"], input=key, capture_output=True, check=True
    ).stdout
    return base64.b64encode(hashlib.sha256(plain).digest()).decode()
