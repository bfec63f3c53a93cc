"""A running Suricata's socket for commands, as suricatasc speaks with it: JSON objects, a line each."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

#: Where Debian's is, and Suricata's own default.
DEFAULT = Path("/run/suricata-command.socket")
#: The last version of the protocol: messages end with a newline.
_VERSION = "0.2"
#: Seconds to wait for an answer.
_PATIENCE = 30.0


class SuricataError(Exception):
    """It can't be reached, or does not do what it is told; one line that names the socket and the remedy."""


class Suricata:
    """
    Raises:
        SuricataError: it can't be reached.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._socket.settimeout(_PATIENCE)
        self._rest = b""
        try:
            self._socket.connect(str(path))
            self._socket.sendall(json.dumps({"version": _VERSION}).encode())
            answer = self._answer()
        except OSError as error:
            self.close()
            raise SuricataError(
                f"{path}: {error.strerror or error}; is Suricata running, with unix-command enabled?"
            ) from None
        except BaseException:
            self.close()
            raise
        if answer.get("return") != "OK":
            self.close()
            raise SuricataError(f"{path}: {answer.get('message')}")

    def __enter__(self) -> Suricata:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def command(self, name: str, **arguments: str) -> Any:
        """What is answered.

        Raises:
            SuricataError: it says no, or nothing.
        """
        message: dict[str, Any] = {"command": name}
        if arguments:
            message["arguments"] = arguments
        try:
            self._socket.sendall(json.dumps(message).encode() + b"\n")
            answer = self._answer()
        except OSError as error:
            raise SuricataError(f"{self._path}: {name}: {error.strerror or error}") from None
        if answer.get("return") != "OK":
            raise SuricataError(f"{self._path}: {name}: {answer.get('message')}")
        return answer.get("message")

    def _answer(self) -> dict[str, Any]:
        while b"\n" not in self._rest:
            part = self._socket.recv(65536)
            if not part:
                raise SuricataError(f"{self._path}: closed by Suricata")
            self._rest += part
        line, self._rest = self._rest.split(b"\n", 1)
        try:
            answer = json.loads(line)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise SuricataError(f"{self._path}: an answer that is none of Suricata's")
        return answer
