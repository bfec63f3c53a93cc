"""What the model sees of a window: a sentence of words and a picture, both from that window alone.

The sentence begins with :data:`STATISTICS` words, one quantised statistic of the window each, and goes on with one
word per payload packet, which is a pair: the bucket of the packet's signed size, the bucket of the gap before it.
The picture counts the packets by time (logarithmic, down) and signed size (across).
All of it is integer arithmetic or correctly rounded division, so any machine computes the same input.
"""

from __future__ import annotations

import numpy as np

from .series import MAX_PAYLOAD_PACKETS, MAX_SIZE, MAX_WAIT_US, SeriesBatch

#: Changes with every change of what is computed here; a bundle names the one that it was trained on.
FEATURE_VERSION = 3
#: The arrays that the network takes, by name.
INPUT_NAMES = ("statistics", "sizes", "gaps", "picture")
#: Those with a place per packet. A network may take them cut to a multiple of so many places, if all past it are PAD.
CUT_NAMES = ("sizes", "gaps")
CUT_STEP = 8

#: Number of a packet place that holds no packet, in ``sizes`` and ``gaps``.
PAD = 0

# Sizes by the byte, for protocols have messages of fixed lengths, and by octaves where only offloaded packets reach.
_SIZE_EDGES = np.concatenate([np.arange(1, 1537), [2048, 3072, 4096, 8192, 16384, 32768]])
_SIZE_BUCKETS = len(_SIZE_EDGES) + 1
#: Words for a packet's signed size: PAD, then those from the originator, then those from the responder.
SIZE_WORDS = 1 + 2 * _SIZE_BUCKETS
#: How many words in a row stand for a growing quantity; here and below.
SIZE_SCALES = (1, _SIZE_BUCKETS, _SIZE_BUCKETS)
_SIZE_BUCKET = np.searchsorted(_SIZE_EDGES, np.arange(MAX_SIZE + 1), side="right").astype(np.int32)


def _logarithmic(first: int, last: int, per_octave: int) -> np.ndarray:
    """Integer edges from first to last, so many per doubling, each once."""
    octaves = int(np.ceil(np.log2(last / first)))
    return np.unique((first * 2.0 ** (np.arange(octaves * per_octave + 1) / per_octave)).round().astype(np.int64))


# A gap of up to 15 µs says more about the capturing host than about the flow.
_GAP_EDGES = _logarithmic(16, MAX_WAIT_US, 2)
#: Word for a gap that is not known; some of what is trained on has none, a sensor always does.
GAP_UNKNOWN = 2 + len(_GAP_EDGES)
#: Words for the gap before a packet, in microseconds: PAD, then by half octaves, then the unknown one.
GAP_WORDS = GAP_UNKNOWN + 1
GAP_SCALES = (1, GAP_UNKNOWN - 1, 1)

#: Sides of the picture: time down, signed size across (originator's sizes in the right half, growing to the right;
#: the responder's in the left half, growing to the left).
PICTURE_SHAPE = (32, 32)
_ROW_EDGES = np.concatenate([[1], np.geomspace(64, MAX_WAIT_US, PICTURE_SHAPE[0] - 2).round().astype(np.int64)])
_COLUMN_EDGES = np.array([16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1216, 1344, 1440])
_COLUMN = np.searchsorted(_COLUMN_EDGES, np.arange(MAX_SIZE + 1), side="right").astype(np.int32)
#: Brightness of a cell by the packets in it: 0 to 1.
_BRIGHTNESS = (np.log1p(np.arange(MAX_PAYLOAD_PACKETS + 1)) / np.log1p(MAX_PAYLOAD_PACKETS)).astype(np.float32)

_COUNT_EDGES = np.arange(1, MAX_PAYLOAD_PACKETS + 1)
_BYTES_EDGES = _logarithmic(1, MAX_PAYLOAD_PACKETS * MAX_SIZE, 2)
_COARSE_SIZE_EDGES = np.concatenate([[1], np.arange(16, 256, 16), np.arange(256, 1536, 64), [1536, 4096, 16384]])
_SHARE_EDGES = np.arange(1, 33)  # in 32nds

#: The statistics in order, and the edges of each one's buckets. An edge is the first value of the next bucket.
_STATISTICS = {
    "packets from originator": _COUNT_EDGES,
    "packets from responder": _COUNT_EDGES,
    "bursts": _COUNT_EDGES,
    "bytes from originator": _BYTES_EDGES,
    "bytes from responder": _BYTES_EDGES,
    "originator's share of bytes": _SHARE_EDGES,
    "smallest size from originator": _COARSE_SIZE_EDGES,
    "mean size from originator": _COARSE_SIZE_EDGES,
    "largest size from originator": _COARSE_SIZE_EDGES,
    "smallest size from responder": _COARSE_SIZE_EDGES,
    "mean size from responder": _COARSE_SIZE_EDGES,
    "largest size from responder": _COARSE_SIZE_EDGES,
    "lower quartile of sizes": _COARSE_SIZE_EDGES,
    "median of sizes": _COARSE_SIZE_EDGES,
    "upper quartile of sizes": _COARSE_SIZE_EDGES,
    "lower quartile of gaps": _GAP_EDGES,
    "median of gaps": _GAP_EDGES,
    "upper quartile of gaps": _GAP_EDGES,
    "duration": _GAP_EDGES,
    "largest gap": _GAP_EDGES,
    "largest gap's share of the duration": _SHARE_EDGES,
    "longest burst in packets": _COUNT_EDGES,
    "largest burst in bytes": _BYTES_EDGES,
    "different sizes": _COUNT_EDGES,
}
#: Statistics that the sentence begins with.
STATISTICS = len(_STATISTICS)
#: Which of them are of times; each has a last word for where these are not known.
_OF_TIMES = np.array(["gap" in name or name == "duration" for name in _STATISTICS])
#: How many words in a row stand for a growing quantity: of each statistic, and its unknown one.
STATISTIC_SCALES = tuple(
    words
    for edges, of_times in zip(_STATISTICS.values(), _OF_TIMES, strict=True)
    for words in ((len(edges) + 1, 1) if of_times else (len(edges) + 1,))
)
_FIRST_WORD = np.cumsum(
    [0, *(len(edges) + 1 + of_times for edges, of_times in zip(_STATISTICS.values(), _OF_TIMES, strict=True))]
).astype(np.int32)
#: Words for all statistics together; each statistic has words of its own.
STATISTIC_WORDS = int(_FIRST_WORD[-1])


def places(lengths: np.ndarray) -> np.ndarray:
    """How many places a network that takes cut input needs for windows of so many packets, (n,) -> (n,)."""
    taken: np.ndarray = (-(-lengths // CUT_STEP)).clip(1) * CUT_STEP
    return taken


def cut(inputs: dict[str, np.ndarray], most: int) -> dict[str, np.ndarray]:
    """What :func:`model_input` gives, with no more than so many places for packets."""
    return {name: array[:, :most] if name in CUT_NAMES else array for name, array in inputs.items()}


def model_input(batch: SeriesBatch, timed: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """The network's input for every window of ``batch``.

    Args:
        timed: bool (n,), whether a window's times are known; all are by default. What comes of times is unknown words,
            and an empty picture, where they are not.

    Returns:
        ``statistics`` int32 (n, STATISTICS) below STATISTIC_WORDS; ``sizes`` int32 (n, 32) below SIZE_WORDS and
        ``gaps`` int32 (n, 32) below GAP_WORDS, PAD past the window's packets; ``picture`` float32 (n, 32, 32).
    """
    n = len(batch)
    filled = np.arange(MAX_PAYLOAD_PACKETS) < batch.lengths[:, None]
    signed = np.where(filled, batch.sizes, 0)
    sizes = np.minimum(np.abs(signed), MAX_SIZE)
    times = np.where(filled, np.clip(batch.times, 0, MAX_WAIT_US), 0)
    from_responder = signed < 0
    gaps = np.zeros_like(times)
    gaps[:, 1:] = np.where(filled[:, 1:], np.maximum(times[:, 1:] - times[:, :-1], 0), 0)

    size_words = np.where(filled, 1 + _SIZE_BUCKET[sizes] + _SIZE_BUCKETS * from_responder, PAD)
    gap_words = np.where(filled, 1 + np.searchsorted(_GAP_EDGES, gaps, side="right"), PAD)

    column = np.where(from_responder, 15 - _COLUMN[sizes], 16 + _COLUMN[sizes])
    row = np.searchsorted(_ROW_EDGES, times, side="right")
    cell = (np.arange(n)[:, None] * PICTURE_SHAPE[0] + row) * PICTURE_SHAPE[1] + column
    counts = np.bincount(cell[filled], minlength=n * PICTURE_SHAPE[0] * PICTURE_SHAPE[1])
    statistics = _statistic_words(filled, sizes, from_responder, times, gaps)
    picture = _BRIGHTNESS[counts].reshape(n, *PICTURE_SHAPE)
    if timed is not None:
        untimed = ~timed
        gap_words = np.where(filled & untimed[:, None], GAP_UNKNOWN, gap_words)
        statistics = np.where(untimed[:, None] & _OF_TIMES, _FIRST_WORD[1:] - 1, statistics)
        picture[untimed] = 0
    return {
        "statistics": statistics,
        "sizes": size_words.astype(np.int32),
        "gaps": gap_words.astype(np.int32),
        "picture": picture,
    }


def _statistic_words(
    filled: np.ndarray, sizes: np.ndarray, from_responder: np.ndarray, times: np.ndarray, gaps: np.ndarray
) -> np.ndarray:
    """The words of the statistics; arguments are (n, 32), zero where not filled."""
    n = len(filled)
    rows = np.arange(n)
    length = filled.sum(axis=1)
    up = filled & ~from_responder
    packets_up, packets_down = up.sum(axis=1), from_responder.sum(axis=1)
    sizes_up, sizes_down = np.where(up, sizes, 0), np.where(from_responder, sizes, 0)
    bytes_up, bytes_down = sizes_up.sum(axis=1), sizes_down.sum(axis=1)
    total = bytes_up + bytes_down

    # A burst is a run of packets in one direction.
    begins = filled.copy()
    begins[:, 1:] &= from_responder[:, 1:] != from_responder[:, :-1]
    burst = (np.cumsum(begins, axis=1) - 1).clip(0) + MAX_PAYLOAD_PACKETS * rows[:, None]
    burst_packets = np.bincount(burst[filled], minlength=n * MAX_PAYLOAD_PACKETS)
    burst_bytes = np.bincount(burst[filled], sizes[filled], minlength=n * MAX_PAYLOAD_PACKETS)

    # Padding sorts to the end, so that the quartiles are of what the window holds.
    beyond = np.int32(MAX_WAIT_US + 1)
    sorted_sizes = np.sort(np.where(filled, sizes, beyond), axis=1)
    sorted_gaps = np.sort(np.where(filled[:, 1:], gaps[:, 1:], beyond), axis=1)
    different = filled.copy()
    different[:, 1:] &= sorted_sizes[:, 1:] != sorted_sizes[:, :-1]
    last, last_gap = (length - 1).clip(0), (length - 2).clip(0)
    duration, largest_gap = times[rows, last], gaps.max(axis=1, initial=0)

    def ordered(values: np.ndarray, places: np.ndarray) -> np.ndarray:
        found = values[rows, places]
        return np.where(found == beyond, 0, found)

    def smallest(chosen: np.ndarray) -> np.ndarray:
        found = np.where(chosen, sizes, beyond).min(axis=1, initial=beyond)
        return np.where(found == beyond, 0, found)

    values = [
        packets_up,
        packets_down,
        begins.sum(axis=1),
        bytes_up,
        bytes_down,
        32 * bytes_up // total.clip(1),
        smallest(up),
        bytes_up // packets_up.clip(1),
        sizes_up.max(axis=1, initial=0),
        smallest(from_responder),
        bytes_down // packets_down.clip(1),
        sizes_down.max(axis=1, initial=0),
        ordered(sorted_sizes, last // 4),
        ordered(sorted_sizes, last // 2),
        ordered(sorted_sizes, last * 3 // 4),
        ordered(sorted_gaps, last_gap // 4),
        ordered(sorted_gaps, last_gap // 2),
        ordered(sorted_gaps, last_gap * 3 // 4),
        duration,
        largest_gap,
        32 * largest_gap.astype(np.int64) // duration.clip(1),
        burst_packets.reshape(n, MAX_PAYLOAD_PACKETS).max(axis=1, initial=0),
        burst_bytes.reshape(n, MAX_PAYLOAD_PACKETS).max(axis=1, initial=0),
        different.sum(axis=1),
    ]
    words = np.empty((n, STATISTICS), np.int32)
    for place, (value, edges) in enumerate(zip(values, _STATISTICS.values(), strict=True)):
        words[:, place] = _FIRST_WORD[place] + np.searchsorted(edges, value, side="right")
    return words
