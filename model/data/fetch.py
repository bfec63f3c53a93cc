"""``mmtt dataset fetch``: public captures from the repositories that a table names, each checked, into a directory to
train on.
"""

from __future__ import annotations

import csv
import hashlib
import http.client
import io
import os
import threading
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path

import zstandard

from . import tables
from .errors import DatasetError

#: Where a file of a public repository is, by repository, commit and path.
_FROM = "https://raw.githubusercontent.com"
_NEEDED = ("capture", "source_repo", "source_commit", "source_path", "source_bytes", "source_sha256")
#: Larger originals than the table says are not read: it is another file.
_MOST = 1 << 31


def read_table(table: Path) -> list[dict[str, str]]:
    """The rows of a captures.tsv (plain or .zst) with sources; `public` stands for the shipped one.

    Raises DatasetError.
    """
    try:
        if str(table) == "public":
            raw = (resources.files(__package__) / "sources" / "public.tsv.zst").read_bytes()
        else:
            raw = table.read_bytes()
        if raw.startswith(b"\x28\xb5\x2f\xfd"):
            whole = zstandard.ZstdDecompressor().decompressobj()
            raw = whole.decompress(raw)
            if not whole.eof or whole.unused_data:
                raise DatasetError(f"{table}: is not one whole file of Zstandard; get it again")
        text = io.StringIO(raw.decode("utf-8-sig"), newline="")
        rows = [row for _, row in tables.read_captures(table, text, _NEEDED)]
    except OSError as error:
        raise DatasetError(
            f"{table}: {error.strerror}; give a captures.tsv, or the word public for the shipped one"
        ) from None
    except (ValueError, csv.Error, zstandard.ZstdError) as error:
        raise DatasetError(f"{table}: not a table ({error})") from None
    for column in _NEEDED:
        if not rows or not rows[0].get(column):
            raise DatasetError(f"{table}: has no column {column!r} with values")
    return rows


def fetch(rows: list[dict[str, str]], out: Path, jobs: int, say: Callable[[str], None], base: str = _FROM) -> list[str]:
    """Fetch what is not there yet and write captures.tsv with the rows that are there then.

    Returns a line for each that is not.

    Raises:
        DatasetError: the host can't be reached. What came before that is there, and in captures.tsv.
        OSError: what came can't be written.
    """
    captures = out / "captures"
    wanted = [number for number, row in enumerate(rows) if not (captures / row["capture"]).exists()]
    there = len(rows) - len(wanted)
    failed: dict[int, str] = {}
    host = _Host(jobs)

    def one(number: int) -> None:
        row, target = rows[number], captures / rows[number]["capture"]
        if host.lost:
            return
        try:
            content = _original(row, base, host)
        except (OSError, http.client.HTTPException, zipfile.BadZipFile, KeyError, ValueError, RuntimeError) as error:
            failed[number] = f"{row['source_repo']} {row['source_path']}: {error}"
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        new = target.with_name(f".{target.name}.new")
        new.write_bytes(zstandard.compress(content, 6) if target.suffix == ".zst" else content)
        os.replace(new, target)

    with ThreadPoolExecutor(jobs) as pool:
        for done, _ in enumerate(pool.map(one, wanted), 1):
            if (done % 50 == 0 or done == len(wanted)) and not host.lost:
                bad = sum(number in failed for number in wanted[:done])
                say(f"fetching captures: {there + done - bad:,} of {len(rows):,} are there, {bad:,} failed")
    got = [row for row in rows if (captures / row["capture"]).exists()]
    if got:
        new = out / ".captures.tsv.new"
        with new.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter="\t", quoting=csv.QUOTE_NONE, lineterminator="\n")
            writer.writeheader()
            writer.writerows(got)
        os.replace(new, out / "captures.tsv")
    if host.lost:
        raise DatasetError(
            f"{urllib.parse.urlsplit(base).netloc} can't be reached ({host.lost}); {len(got):,} of {len(rows):,} "
            "captures are there, the same command goes on with the others"
        )
    return [failed[number] for number in sorted(failed)]


class _Host:
    """Whether the host that has the files can be reached: where it can't, there is no use in asking for each of them.

    Attributes:
        lost: why it is not asked any more; empty while it is.
    """

    #: So many contacts in a row that fail, before any that did not.
    _ENOUGH = 3

    def __init__(self, jobs: int) -> None:
        self.lost = ""
        self._jobs, self._failures, self._enough, self._lock = jobs, 0, self._ENOUGH, threading.Lock()

    def answers(self) -> None:
        with self._lock:
            # One that is there may still drop all that is asked at the same time, once.
            self._failures, self._enough = 0, 2 * self._jobs + 1

    def fails(self, why: object) -> None:
        with self._lock:
            self._failures += 1
            if self._failures >= self._enough:
                self.lost = str(why)


def _original(row: dict[str, str], base: str, host: _Host) -> bytes:
    """The capture as its repository has it.

    Raises:
        ValueError: it is not the one that the table means, or is not there.
        OSError: the host does not answer.
    """
    # In an archive: PATH!MEMBER.
    path, _, member = row["source_path"].partition("!")
    url = f"{base}/{row['source_repo']}/{row['source_commit']}/{urllib.parse.quote(path)}"
    most = _MOST if member else int(row["source_bytes"]) + 1
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            host.answers()
            content: bytes = answer.read(most)
    except urllib.error.HTTPError as error:
        host.answers()
        raise ValueError(f"{url}: {error.code} {error.reason}") from None
    except urllib.error.URLError as error:
        host.fails(error.reason)
        raise
    sums = {hashlib.sha256(content).hexdigest()}
    if member:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            content = archive.read(member)
        sums.add(hashlib.sha256(content).hexdigest())
    if row["source_sha256"] not in sums:
        raise ValueError(
            f"is another file than the one that was trained on (its sha256 is not {row['source_sha256'][:16]}…)"
        )
    return content
