"""Web pages, and files fetched and sent up over HTTPS."""

from __future__ import annotations

import os

from .. import behaviour, https_clients, https_site
from ..activity import Activity, pairs
from ..part import Part

PORT = https_site.PORT
_PAGES = 8

_HTTPS = pairs(https_site.SERVERS, https_clients.CLIENTS)
_HTTP3 = pairs(https_site.HTTP3_SERVERS, ("aioquic",))
_TLS = (PORT,)

ACTIVITIES = {
    "web": Activity("web", (*_HTTPS, *pairs(https_site.SERVERS, ("chromium",))), tcp_ports=_TLS),
    "web_http3": Activity("web", (*_HTTP3, *pairs(https_site.HTTP3_SERVERS, ("chromium-h3",)))),
    "download": Activity("file_transfer", _HTTPS, tcp_ports=_TLS),
    "upload": Activity("file_transfer", pairs(https_site.SERVERS, https_clients.UP_CLIENTS), tcp_ports=_TLS),
}


def site(part: Part) -> dict[str, int]:
    """Path -> bytes of all the server has; the client draws the same from the same seed."""
    draw, kind = part.draw, part.activity.removesuffix("_http3")
    if kind == "web":
        return {
            f"/page{page}/{number or 'index.html'}": size
            for page in range(_PAGES)
            for number, size in enumerate(behaviour.page(draw))
        }
    return {f"/file{number}": behaviour.file(draw) for number in range(4)} if kind == "download" else {}


def serve(part: Part) -> None:
    root, files = part.scratch / "site", site(part)
    root.mkdir()
    for path, size in files.items():
        file = root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(_document(path, size, files) if file.suffix == ".html" else os.urandom(size))
    https_site.serve(part, root, takes=part.activity == "upload")


def _document(path: str, size: int, files: dict[str, int]) -> bytes:
    """HTML of that size (or what it takes) that shows the page's other objects."""
    folder = path.rpartition("/")[0]
    text = "<!doctype html><title>lab</title>" + "".join(
        f'<img src="{other}">' for other in files if other.startswith(folder + "/") and other != path
    )
    return (text + "<!-- " + os.urandom(max(0, size - len(text) - 9) // 2).hex() + " -->").encode()


def act(part: Part) -> None:
    https_clients.drive(part, _play)


def _play(part: Part, client: https_clients.Client) -> None:
    draw, files, kind = part.draw, site(part), part.activity.removesuffix("_http3")
    draw.seed(part.seed + 1)
    if kind == "web":
        while True:
            page = draw.randrange(_PAGES)
            client.get([path for path in files if path.startswith(f"/page{page}/")])
            if not part.pause(behaviour.think(draw)):
                return
    for number in range(4):
        if kind == "download":
            client.get([f"/file{number}"])
        else:
            client.post(f"/upload{number}", behaviour.file(draw))
        if not part.pause(draw.expovariate(1 / 3)):
            return
