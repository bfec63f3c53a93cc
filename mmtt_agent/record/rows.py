"""What is remembered of a window, and how it lies in Parquet. Nothing of it says who has spoken with whom: what is
recorded is joined with Zeek's logs by its uid, or not at all."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import __version__
from ..series import MAX_PAYLOAD_PACKETS, SeriesBatch

if TYPE_CHECKING:
    from ..classifier import Verdicts

#: The layout of the files: what reads one reads no other.
FORMAT = "1"
#: Of the columns those that hold few different texts.
_LABELS = ("service", "application", "malicious_kind", "model")
SCORES = ("service_score", "application_score", "malicious_score", "log_odds")


class RecordError(Exception):
    """Windows can't be recorded or read; the text is one line that names the place and the remedy."""


@dataclass(frozen=True, slots=True)
class Said:
    """What is remembered of :class:`mmtt_agent.classifier.Verdicts`, as it is there."""

    service: Sequence[str]
    service_score: np.ndarray
    application: Sequence[str]
    application_score: np.ndarray
    malicious: np.ndarray
    malicious_score: np.ndarray
    malicious_kind: Sequence[str]
    log_odds: np.ndarray
    embedding: np.ndarray


@dataclass(frozen=True, slots=True)
class Batch:
    """``n`` windows that have got their verdicts, as they come.

    Attributes:
        uid, window: the connection of each, and which of its windows it is.
        ts: int64 ``(n,)``, microseconds since 1970, of each window's first packet with payload.
        incidents: that each belongs to, or "".
        model: which gave the verdicts, as in ``mmtt.log``.
    """

    uid: Sequence[str]
    window: Sequence[int]
    ts: np.ndarray
    series: SeriesBatch
    verdicts: Verdicts | Said
    incidents: Sequence[str]
    model: str

    def __len__(self) -> int:
        return len(self.uid)


@dataclass(frozen=True)
class Windows:
    """``n`` windows that were recorded, in order of time.

    Attributes:
        uid: object ``(n,)`` of str, as are the labels, ``model`` and ``incident``, which is "" for none.
        window: uint8 ``(n,)``, the window's number in its connection.
        ts: int64 ``(n,)``, microseconds since 1970, of the window's first packet with payload.
        service, application: "unknown" where the model was not sure.
        malicious_kind: "" for none.
        log_odds: float32 ``(n,)``, of malicious, as are the scores, which are rounded to 4 decimals.
        malicious: bool ``(n,)``.
        model: which gave the verdict.
        embedding: float16 ``(n, width)``, of the network that recorded latest; no numbers (NaN) in the rows of windows
            that have none, or one of another width.
        other_widths: how many rows have an embedding of another width.
    """

    uid: np.ndarray
    window: np.ndarray
    ts: np.ndarray
    series: SeriesBatch
    service: np.ndarray
    service_score: np.ndarray
    application: np.ndarray
    application_score: np.ndarray
    malicious: np.ndarray
    malicious_score: np.ndarray
    malicious_kind: np.ndarray
    log_odds: np.ndarray
    incident: np.ndarray
    model: np.ndarray
    embedding: np.ndarray
    other_widths: int = 0

    def __len__(self) -> int:
        return len(self.uid)

    @property
    def embedded(self) -> np.ndarray:
        """bool ``(n,)``: which have an embedding."""
        if not self.embedding.shape[1]:
            return np.zeros(len(self), bool)
        return np.asarray(~np.isnan(self.embedding[:, 0]))


def arrow() -> Any:
    """The library pyarrow.

    Raises:
        RecordError: it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise RecordError(
            "windows are recorded and read with pyarrow, which is not installed; type: pip install 'mmtt[learn]'"
        ) from None
    return pyarrow


def schema(width: int) -> Any:
    """The columns of windows with embeddings of such a width; with 0 there is no such column."""
    pa = arrow()

    def of(kind: Any) -> Any:
        return pa.field("element", kind, nullable=False)

    text, label = pa.string(), pa.dictionary(pa.int32(), pa.string())
    columns = {
        "uid": text,
        "window": pa.uint8(),
        "ts": pa.timestamp("us", tz="UTC"),
        "sizes": pa.list_(of(pa.int32())),
        "times": pa.list_(of(pa.int32())),
        "service": label,
        "service_score": pa.float32(),
        "application": label,
        "application_score": pa.float32(),
        "malicious": pa.bool_(),
        "malicious_score": pa.float32(),
        "malicious_kind": label,
        "log_odds": pa.float32(),
        "incident": text,
        "model": label,
    }
    if width:
        columns["embedding"] = pa.list_(of(pa.float16()), width)
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in columns.items()])


def plain(batch: Batch) -> Batch:
    """The same with nothing that isn't remembered, nor what needs the network's runtime to be loaded."""
    verdicts = Said(*(getattr(batch.verdicts, name) for name in Said.__slots__))
    return replace(batch, verdicts=verdicts)


def table(batches: Sequence[Batch]) -> Any:
    """A pyarrow.Table of the windows of some batches, all with embeddings of one width."""
    pa = arrow()
    verdicts = [batch.verdicts for batch in batches]
    series = SeriesBatch.concatenate([batch.series for batch in batches])
    filled = np.arange(MAX_PAYLOAD_PACKETS) < series.lengths[:, None]
    offsets = np.concatenate([[0], np.cumsum(series.lengths)]).astype(np.int32)
    embedding = np.concatenate([each.embedding for each in verdicts])
    of = schema(embedding.shape[1])

    def column(name: str) -> Any:
        kind = of.field(name).type
        if name in ("sizes", "times"):
            values = getattr(series, name)[filled].astype(np.int32)
            return pa.ListArray.from_arrays(offsets, pa.array(values), type=kind)
        if name == "embedding":
            with np.errstate(over="ignore"):  # what is too large for it is infinite there
                return pa.FixedSizeListArray.from_arrays(pa.array(embedding.astype(np.float16).ravel()), type=kind)
        if name == "uid" or name == "window":
            return pa.array([*chain.from_iterable(getattr(batch, name) for batch in batches)], kind)
        if name == "incident":
            return pa.array([*chain.from_iterable(batch.incidents for batch in batches)], kind)
        if name == "ts":
            return pa.array(np.concatenate([batch.ts for batch in batches])).cast(kind)
        if name == "model":
            values = [*chain.from_iterable([batch.model] * len(batch) for batch in batches)]
        elif name in _LABELS:
            values = [*chain.from_iterable(getattr(each, name) for each in verdicts)]
        else:
            return pa.array(np.concatenate([getattr(each, name) for each in verdicts])).cast(kind, safe=False)
        return pa.array(values, pa.string()).dictionary_encode()

    return pa.Table.from_arrays([column(name) for name in of.names], schema=of)


def encode(parts: Sequence[Any]) -> Any:
    """A file's bytes, in a pyarrow.Buffer, of tables of :func:`table`."""
    pa = arrow()
    about = {"mmtt": __version__, "format": FORMAT, "written": str(time.time_ns() // 1000)}
    whole = pa.concat_tables(parts).unify_dictionaries().replace_schema_metadata(about)
    sink = pa.BufferOutputStream()
    # What differs from row to row is not looked up in a dictionary, nor its least and most: thrice as fast, no larger.
    dictionaries = [*_LABELS, "incident"]
    pa.parquet.write_table(whole, sink, compression="zstd", use_dictionary=dictionaries, write_statistics=["ts"])
    return sink.getvalue()


def decode(file: Any, embeddings: bool = True) -> Windows:
    """What lies in a pyarrow.parquet.ParquetFile, in its order; with or without the embeddings.

    Raises:
        ValueError: it is not what :func:`encode` has written.
    """
    width = embedding_width(file)
    if file.schema_arrow.remove_metadata() != schema(width):
        raise ValueError("its columns are not those of windows")
    width = width if embeddings else 0
    found = file.read(schema(width).names)
    if any(column.null_count for column in found.columns):
        raise ValueError("it has rows with nothing in a column")

    def column(name: str) -> np.ndarray:
        whole = found.column(name).combine_chunks()
        if name in _LABELS:
            # Each text is made once, however many windows have it.
            texts = np.array([*whole.dictionary.to_pylist(), None], object)[:-1]
            return np.asarray(texts[whole.indices.to_numpy()])
        if name in ("uid", "incident"):
            return np.array([*whole.to_pylist(), None], object)[:-1]
        if name == "ts":
            whole = whole.cast("int64")
        return np.asarray(whole.to_numpy(zero_copy_only=False))

    embedding = np.zeros((len(found), 0), np.float16)
    if width:
        flat = found.column("embedding").combine_chunks().flatten()
        embedding = flat.to_numpy(zero_copy_only=False).reshape(len(found), width)
    names = ("uid", "window", "ts", "service", "application", "malicious", "malicious_kind", "incident", "model")
    columns: dict[str, Any] = {name: column(name) for name in (*names, *SCORES)}
    return Windows(**columns, series=_series(found), embedding=embedding)


def embedding_width(file: Any) -> int:
    """Of a pyarrow.parquet.ParquetFile: 0 where it has no embeddings.

    Raises:
        ValueError: it has something else called so.
    """
    of = file.schema_arrow
    if "embedding" not in of.names:
        return 0
    kind = of.field("embedding").type
    if not arrow().types.is_fixed_size_list(kind):
        raise ValueError("its embeddings are not of one width")
    return int(kind.list_size)


def _series(found: Any) -> SeriesBatch:
    sizes, times = (found.column(name).combine_chunks() for name in ("sizes", "times"))
    lengths = sizes.value_lengths().to_numpy()
    if not np.array_equal(lengths, times.value_lengths().to_numpy()) or lengths.max(initial=0) > MAX_PAYLOAD_PACKETS:
        raise ValueError(f"it has windows of more than {MAX_PAYLOAD_PACKETS} packets, or with a time missing")
    filled = np.arange(MAX_PAYLOAD_PACKETS) < lengths[:, None]
    packed = np.zeros((2, *filled.shape), np.int32)
    packed[0, filled], packed[1, filled] = (each.flatten().to_numpy() for each in (sizes, times))
    return SeriesBatch(packed[0], packed[1], lengths.astype(np.int32))
