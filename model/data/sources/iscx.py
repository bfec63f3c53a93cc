"""The captures of ISCX VPN-nonVPN 2016 and ISCX-Tor 2016, as the Canadian Institute for Cybersecurity names their
files.

What a file shows is in its name alone: `vpn_skype_audio1.pcap`, `MAIL_gate_POP_filetransfer.pcap`, `torYoutube2.pcap`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmtt_agent.capture import SUFFIXES, Capture
from mmtt_agent.series import SeriesBatch

from ..labels import Labels
from .directory import captures_below
from .source import Entry

#: How names of what went through Tor begin.
_TOR = re.compile(r"tor(?!rent)|(AUDIO|BROWSING|CHAT|FILE-TRANSFER|MAIL|P2P|VIDEO|VOIP)_")
#: Read in this order: what a transfer or a call is done with comes before what else the program is known for.
_SERVICES = (
    ("voip", r"audio(?!_tor|.*spotif)|voice|voip|video(?=[0-9_]*[0-9][ab]?$)"),
    ("chat", r"chat"),
    ("p2p", r"p2p|torrent|vuze"),
    ("email", r"mail(?!_?chat)|imap|pop_|_pop|thunderbird"),
    ("file_transfer", r"ftp|scp|file|transfer"),
    ("streaming", r"netflix|vimeo|youtube|spotif|^audio|^video"),
    ("social", r"facebook|twitter"),
    ("web", r"brows|ssl|google"),
)
_APPLICATIONS = (
    ("AIM", r"aim_?chat"), ("ICQ", r"icq"), ("BitTorrent", r"p2p|torrent|vuze"), ("Facebook", r"facebook"),
    ("GMail", r"gmail"), ("Hangout", r"hangout"), ("Netflix", r"netflix"), ("Skype", r"skype"), ("Spotify", r"spotif"),
    ("Vimeo", r"vimeo"), ("VoipBuster", r"voipbuster"), ("YouTube", r"youtube"), ("Twitter", r"twitter"),
    ("Google", r"google"), ("SSH", r"sftp|scp"), ("FTP", r"ftp"), ("IMAP", r"imap"), ("POP3", r"pop_|_pop"),
)  # fmt: skip
#: UDP ports of what a host does beside: names, addresses, time, neighbours.
_BACKGROUND = np.array([53, 67, 68, 123, 137, 138, 1900, 5353, 5355])


@dataclass(frozen=True)
class Shown:
    """What a file shows. ``tunnel`` is "", "vpn" or "tor"; ``application`` is None where it is no one program's."""

    service: str
    application: str | None
    tunnel: str


def shown_in(name: str, tor: bool = False) -> Shown | None:
    """What the file of that name shows, None for a name that is not of these collections. ``tor``: the file is of
    ISCX-Tor's part through Tor, some names of which are those of its other part.
    """
    ending = next((each for each in SUFFIXES if name.lower().endswith(each)), "")
    stem = name[: -len(ending) or None].lower().replace("-", "_")
    service = next((service for service, pattern in _SERVICES if re.search(pattern, stem)), None)
    if service is None:
        return None
    application = next((application for application, pattern in _APPLICATIONS if re.search(pattern, stem)), None)
    through_tor = tor or bool(_TOR.match(name))
    return Shown(service, application, "vpn" if stem.startswith("vpn") else "tor" if through_tor else "")


class IscxSource:
    """The collections' captures, wherever below a directory they are. Files with other names have no labels."""

    checksums = False

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._paths = captures_below(directory)

    def digest(self) -> str:
        return repr([(str(path.relative_to(self.directory)), path.stat().st_size) for path in self._paths])

    def entries(self) -> list[Entry]:
        return [
            Entry(str(path.relative_to(self.directory)), path, "ISCX", self._shown(path) is not None)
            for path in self._paths
        ]

    def series(self, entry: Entry) -> tuple[SeriesBatch, np.ndarray, list[Labels], int]:
        raise NotImplementedError("all that this source has is captures")

    def labels(self, entry: Entry, capture: Capture, rows: np.ndarray) -> tuple[list[Labels], dict[str, int]]:
        shown = self._shown(entry.path)
        if shown is None:
            return [Labels()] * len(rows), {}
        connection = capture.windows.connection[rows]
        ports = np.stack([capture.connections.orig_p[connection], capture.connections.resp_p[connection]])
        beside = (capture.connections.proto[connection] == 17) & np.isin(ports, _BACKGROUND).any(axis=0)
        # From outside a tunnel is a tunnel, whatever is in it.
        application = {"tor": "Tor", "vpn": "OpenVPN"}.get(shown.tunnel, shown.application)
        label = Labels(
            "tunnel" if shown.tunnel else shown.service,
            application,
            False,
            service_by="capture",
            application_by="capture" if application else "",
        )
        return [Labels() if each else label for each in beside.tolist()], {"background of the host": int(beside.sum())}

    def _shown(self, path: Path) -> Shown | None:
        return shown_in(path.name, tor="Tor" in path.relative_to(self.directory).parts)
