"""The model, top to bottom: two encoders, a decoder that asks its questions of both, a head for each answer.

    sentence (statistics, packets) -> text encoder  --+
                                                      +--> joint decoder: a query per task -> a head per task
    picture (time x signed size)   -> image encoder --+

Shapes are written with B windows, N packets, T words, P patches, D = width, H heads.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mmtt_agent import features
from mmtt_agent.series import MAX_PAYLOAD_PACKETS, SeriesBatch

#: The last one is asked of what is malicious alone: of what kind it is.
TASKS = ("service", "application", "malicious", "malicious_kind")
#: Added to the score of what must not be attended to: its weight is then below the last bit of the others. Far below
#: that, weights are denormal numbers, which take processors ten times as long.
BLOCKED = -64.0


@dataclass(frozen=True)
class Architecture:
    """Sizes of the model. ``statistics_per_word`` statistics and ``packets_per_word`` packets are read as one word, to
    keep the sentence short; ``neighbours`` packets are looked at together before that; each lends ``per_place`` numbers
    to the line-up; ``word_dropout`` is the share of whole words left out in training, and ``exact_dropout`` that of the
    windows of which only coarse sizes are shown then: exact ones are also how a model knows a lab. ``reads`` is "both",
    or "text" or "image" for a model that goes by one of them alone."""

    width: int = 64
    heads: int = 2
    feed_forward: int = 128
    text_layers: int = 2
    image_layers: int = 2
    decoder_layers: int = 1
    patch: int = 8
    statistics_per_word: int = 6
    packets_per_word: int = 1
    neighbours: int = 5
    per_place: int = 16
    dropout: float = 0.1
    word_dropout: float = 0.0
    exact_dropout: float = 0.0
    reads: str = "both"

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "reads":
                good = value in ("both", "text", "image")
            elif field.name.endswith("dropout"):
                good = isinstance(value, (int, float)) and 0 <= value < 1
            else:
                good = type(value) is int and value > 0
            if not good:
                raise ValueError(f"{field.name} can't be {value!r}")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} must be a multiple of heads {self.heads}")
        if any(side % self.patch for side in features.PICTURE_SHAPE):
            raise ValueError(f"patch {self.patch} must divide the picture's sides {features.PICTURE_SHAPE}")
        if self.neighbours % 2 == 0:
            raise ValueError(f"neighbours {self.neighbours} must be odd: as many before a packet as after it")
        for name, many in (("statistics_per_word", features.STATISTICS), ("packets_per_word", features.CUT_STEP)):
            if many % getattr(self, name):
                raise ValueError(f"{name} must divide {many}")


class Network(nn.Module):
    """What gives the logits of the tasks, (B, services), (B, applications), (B,) and (B, kinds), for windows."""

    @staticmethod
    def inputs(series: SeriesBatch, timed: np.ndarray | None = None) -> tuple[Tensor, ...]:
        """What ``forward`` takes, in the order of its arguments; ``timed`` says of which windows the times are known,
        if not of all."""
        raise NotImplementedError


class Linear(nn.Linear):
    """A linear layer over the last axis, as one matrix product: exported like that it runs a fifth faster."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.unflatten(super().forward(x.flatten(0, -2)), 0, (-1, x.shape[1]))


class Attention(nn.Module):
    """Queries from one sequence, keys and values from another; ``blocked`` is added to the scores."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.depth = heads, width // heads
        self.query = Linear(width, width)
        self.key = Linear(width, width)
        self.value = Linear(width, width)
        self.output = Linear(width, width)

    def forward(self, queries: Tensor, keys: Tensor, blocked: Tensor | None = None) -> Tensor:
        """(B, Q, D), (B, K, D), (B, 1, 1, K) -> (B, Q, D)"""
        q = self.query(queries).unflatten(2, (self.heads, self.depth)).transpose(1, 2)  # (B, H, Q, D/H)
        k = self.key(keys).unflatten(2, (self.heads, self.depth)).permute(0, 2, 3, 1)  # (B, H, D/H, K)
        v = self.value(keys).unflatten(2, (self.heads, self.depth)).transpose(1, 2)  # (B, H, K, D/H)
        scores = q @ k * self.depth**-0.5  # (B, H, Q, K)
        if blocked is not None:
            scores = scores + blocked
        mixed = scores.softmax(-1) @ v  # (B, H, Q, D/H)
        return cast("Tensor", self.output(mixed.transpose(1, 2).flatten(2)))


class FeedForward(nn.Sequential):
    """Exported with all words in one matrix, so that the runtime makes one step of a product and what is cut off."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width))

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)"""
        rows = x.flatten(0, 1)
        for layer in self:
            rows = layer(rows)
        return torch.unflatten(rows, 0, (-1, x.shape[1]))


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward, each on the normalised input and added to it (pre-norm)."""

    def __init__(self, config: Architecture) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.width)
        self.attention = Attention(config.width, config.heads)
        self.forward_norm = nn.LayerNorm(config.width)
        self.feed_forward = FeedForward(config.width, config.feed_forward)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, blocked: Tensor | None = None) -> Tensor:
        normal = self.attention_norm(x)
        x = x + self.dropout(self.attention(normal, normal, blocked))
        return cast("Tensor", x + self.dropout(self.feed_forward(self.forward_norm(x))))


class ScaleEmbedding(nn.Module):
    """Vectors of words that stand for growing quantities: a word's own, plus one it shares with its neighbours, plus
    one shared more widely. So what is learnt of 512 bytes is known of 520, with few examples. The sums don't depend
    on the input; the runtime works them out once, when it loads the network.

    Args:
        scales: how many words in a row are of one scale, for each scale.
    """

    SHARED_BY = (1, 8, 64)

    def __init__(self, scales: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.tables = nn.ParameterList()
        for step, shared_by in enumerate(self.SHARED_BY):
            places, rows = [], 0
            for words in scales:
                places.append(rows + torch.arange(words) // shared_by)
                rows = int(places[-1][-1]) + 1
            self.register_buffer(f"places{step}", torch.cat(places), persistent=False)
            self.tables.append(torch.empty(rows, width).normal_(std=0.02))

    def forward(self, words: Tensor, exact: Tensor | None = None) -> Tensor:
        """(...) -> (..., D); ``exact``, in training: 0 for what is to be known by its neighbours alone."""
        tables = [table[getattr(self, f"places{step}")] for step, table in enumerate(self.tables)]
        if exact is None:
            return functional.embedding(words, sum(tables))
        return functional.embedding(words, sum(tables[1:])) + exact * functional.embedding(words, tables[0])


class Neighbours(nn.Module):
    """Packets with what stands around each: a convolution of the normalised input, added to it."""

    steps: Tensor

    def __init__(self, config: Architecture) -> None:
        super().__init__()
        self.count = config.neighbours
        self.register_buffer("steps", torch.arange(config.neighbours), persistent=False)
        self.norm = nn.LayerNorm(config.width)
        self.mix = Linear(config.neighbours * config.width, config.width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, packets: Tensor, filled: Tensor) -> Tensor:
        """(B, N, D), (B, N, 1) -> (B, N, D)"""
        side = self.count // 2
        padded = functional.pad(self.norm(packets) * filled, (0, 0, side, side))
        # Picked at once: put together from slices it takes twice as long.
        places = torch.arange(packets.shape[1], device=packets.device)[:, None] + self.steps
        around = torch.unflatten(padded.index_select(1, places.flatten()), 1, (-1, self.count)).flatten(2)
        return cast("Tensor", packets + self.dropout(self.mix(around).relu()))


class LineUp(nn.Module):
    """All packets as one vector, each with weights of its own place. Attention asks what there is in a window; which
    packet is the third is what trees split by, and without this they were far ahead on what is malicious."""

    def __init__(self, config: Architecture) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.width)
        self.narrow = Linear(config.width, config.per_place)
        self.mix = Linear(MAX_PAYLOAD_PACKETS * config.per_place, config.width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, packets: Tensor, filled: Tensor) -> Tensor:
        """(B, N, D), (B, N, 1) -> (B, 1, D)"""
        places = (self.narrow(self.norm(packets)) * filled).flatten(1)
        places = functional.pad(places, (0, self.mix.in_features - places.shape[1]))
        return cast("Tensor", self.dropout(self.mix(places[:, None]).relu()))


class TextEncoder(nn.Module):
    """The sentence: words of statistics, then a word per packet (its size's embedding plus its gap's). The first word
    also stands for the line-up of the packets."""

    def __init__(self, config: Architecture) -> None:
        super().__init__()
        self.per_word, self.packets_per_word = config.statistics_per_word, config.packets_per_word
        self.statistic_words = features.STATISTICS // self.per_word
        self.exact_dropout = config.exact_dropout
        self.statistic = ScaleEmbedding(features.STATISTIC_SCALES, config.width)
        self.size = ScaleEmbedding(features.SIZE_SCALES, config.width)
        self.gap = ScaleEmbedding(features.GAP_SCALES, config.width)
        self.neighbours = Neighbours(config)
        self.line_up = LineUp(config)
        if self.packets_per_word > 1:
            self.together = Linear(self.packets_per_word * config.width, config.width)
        words = self.statistic_words + MAX_PAYLOAD_PACKETS // self.packets_per_word
        self.position = nn.Parameter(torch.zeros(words, config.width))
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.text_layers))
        self.norm = nn.LayerNorm(config.width)
        self.word_dropout = nn.Dropout1d(config.word_dropout)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, statistics: Tensor, sizes: Tensor, gaps: Tensor, hidden: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Word ids -> the read sentence (B, T, D), and what to add to scores so that padding is not attended to.

        ``hidden``, in pretraining: which packets are not shown (B, 32), and the vector that stands for them (D,). The
        statistics, which would tell, are not shown either.
        """
        about = self.statistic(statistics).unflatten(1, (self.statistic_words, self.per_word)).sum(2)
        exact = None
        if self.training and self.exact_dropout:
            exact = (torch.rand(len(sizes), 1, 1, device=sizes.device) >= self.exact_dropout).to(about.dtype)
        packets = self.size(sizes, exact) + self.gap(gaps)
        if hidden is not None:
            about = torch.zeros_like(about)
            packets = torch.where(hidden[0][..., None], hidden[1], packets)
        padding = (sizes == features.PAD).to(packets.dtype)
        filled = (1 - padding)[..., None]
        packets = self.neighbours(packets * filled, filled)
        line_up = self.line_up(packets, filled)
        if self.packets_per_word > 1:
            packets = self.together(torch.unflatten(packets * filled, 1, (-1, self.packets_per_word)).flatten(2))
            padding = padding[:, :: self.packets_per_word]
        words = self.word_dropout(torch.cat([about, packets], 1))
        x = self.dropout(words + self.position[: words.shape[1]])
        x = torch.cat([x[:, :1] + line_up, x[:, 1:]], 1)
        padded = functional.pad(padding, (self.statistic_words, 0))
        blocked = (padded * BLOCKED)[:, None, None, :]
        for layer in self.layers:
            x = layer(x, blocked)
        return self.norm(x), blocked


class ImageEncoder(nn.Module):
    """The picture, cut into square patches (ViT)."""

    def __init__(self, config: Architecture) -> None:
        super().__init__()
        self.patch = config.patch
        rows, columns = (side // config.patch for side in features.PICTURE_SHAPE)
        self.grid = (rows, columns)
        self.embed = Linear(config.patch**2, config.width)
        self.position = nn.Parameter(torch.zeros(rows * columns, config.width))
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.image_layers))
        self.norm = nn.LayerNorm(config.width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, picture: Tensor) -> Tensor:
        """(B, rows, columns) -> (B, P, D)"""
        rows, columns = self.grid
        patches = torch.unflatten(torch.unflatten(picture, 2, (columns, self.patch)), 1, (rows, self.patch))
        patches = patches.transpose(2, 3).flatten(3).flatten(1, 2)  # (B, P, patch * patch)
        x = self.dropout(self.embed(patches) + self.position)
        for layer in self.layers:
            x = layer(x)
        return cast("Tensor", self.norm(x))


class CrossAttention(Attention):
    """:class:`Attention` for queries that are few beside what they read: they are taken through the weights of the
    keys and the values, not all that is read. A bias of the keys would add the same to all scores of a query."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__(width, heads)
        self.key = Linear(width, width, bias=False)

    def forward(self, queries: Tensor, keys: Tensor, blocked: Tensor | None = None) -> Tensor:
        """(B or 1, Q, D), (B, K, D), (B, 1, K) -> (B, Q, D)"""
        by_head = (self.heads, self.depth)
        q = self.query(queries).unflatten(2, by_head)[:, :, :, None] * self.depth**-0.5  # (B, Q, H, 1, D/H)
        asked = (q @ torch.unflatten(self.key.weight, 0, by_head)).flatten(3).flatten(1, 2)  # (B, Q * H, D)
        scores = asked @ keys.transpose(1, 2)  # (B, Q * H, K)
        if blocked is not None:
            scores = scores + blocked
        mixed = scores.softmax(-1) @ keys  # (B, Q * H, D)
        # Of each head, the product of its weights of values and output; the weights of what is mixed add up to 1, so
        # that the values' bias comes out as it is. All this the runtime works out once, when it loads the network.
        output = torch.unflatten(self.output.weight, 1, by_head).transpose(0, 1)  # (H, D, D/H)
        weight = (output @ torch.unflatten(self.value.weight, 0, by_head)).transpose(0, 1).flatten(1)  # (D, H * D)
        bias = self.output.weight @ self.value.bias + self.output.bias
        found = functional.linear(mixed.reshape(-1, weight.shape[1]), weight, bias)
        return torch.unflatten(found, 0, (-1, queries.shape[1]))


class DecoderLayer(nn.Module):
    """The queries look at each other, then at what was read, then think."""

    def __init__(self, config: Architecture) -> None:
        super().__init__()
        self.self_norm = nn.LayerNorm(config.width)
        self.self_attention = Attention(config.width, config.heads)
        self.cross_norm = nn.LayerNorm(config.width)
        self.cross_attention = CrossAttention(config.width, config.heads)
        self.forward_norm = nn.LayerNorm(config.width)
        self.feed_forward = FeedForward(config.width, config.feed_forward)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, read: Tensor, blocked: Tensor | None) -> Tensor:
        normal = self.self_norm(x)
        x = x + self.dropout(self.self_attention(normal, normal))
        x = x + self.dropout(self.cross_attention(self.cross_norm(x), read, blocked))
        return cast("Tensor", x + self.dropout(self.feed_forward(self.forward_norm(x))))


class Model(Network):
    """Windows in, logits for the tasks out."""

    def __init__(self, config: Architecture, services: int, applications: int, kinds: int) -> None:
        super().__init__()
        self.reads, self.drops = config.reads, config.dropout > 0
        self.text = TextEncoder(config)
        self.image = ImageEncoder(config)
        self.queries = nn.Parameter(torch.zeros(len(TASKS), config.width))
        self.decoder = nn.ModuleList(DecoderLayer(config) for _ in range(config.decoder_layers))
        self.norm = nn.LayerNorm(config.width)
        self.service = nn.Linear(config.width, services)
        self.application = nn.Linear(config.width, applications)
        self.malicious = nn.Linear(config.width, 1)
        self.malicious_kind = nn.Linear(config.width, kinds)
        self.apply(_initialise)
        for position in (self.text.position, self.image.position, self.queries):
            nn.init.normal_(position, std=0.02)

    @staticmethod
    def inputs(series: SeriesBatch, timed: np.ndarray | None = None) -> tuple[Tensor, ...]:
        arrays = features.model_input(series, timed)
        return tuple(torch.from_numpy(arrays[name]) for name in features.INPUT_NAMES)

    def forward(self, statistics: Tensor, sizes: Tensor, gaps: Tensor, picture: Tensor) -> tuple[Tensor, ...]:
        """The arrays of ``mmtt_agent.features.model_input``, whole or cut as ``features.CUT_NAMES`` says
        -> (B, services), (B, applications), (B,), (B, kinds)"""
        return self.answer(self.embed(statistics, sizes, gaps, picture))

    def embed(self, statistics: Tensor, sizes: Tensor, gaps: Tensor, picture: Tensor) -> Tensor:
        """What :meth:`forward` takes -> (B, tasks, D): what the decoder found for each task, normalised."""
        blocked: Tensor | None = None
        if self.reads == "image":
            read = self.image(picture)
        else:
            read, blocked = self.text(statistics, sizes, gaps)
        if self.reads == "both" and blocked is not None:
            patches = self.image(picture)
            read = torch.cat([read, patches], 1)
            blocked = functional.pad(blocked, (0, patches.shape[1]))
        if blocked is not None:
            blocked = blocked.squeeze(1)
        # What they ask of each other at first is the same for all windows: the runtime works it out when it loads. Only
        # what training drops out is each window's own.
        own = self.training and self.drops
        answers = self.queries.expand(len(read), -1, -1) if own else self.queries[None]
        for layer in self.decoder:
            answers = layer(answers, read, blocked)
        return cast("Tensor", self.norm(answers))

    def answer(self, embedding: Tensor) -> tuple[Tensor, ...]:
        """What :meth:`embed` gives -> what :meth:`forward` does."""
        service, application, malicious, kind = embedding.unbind(1)
        return (
            self.service(service),
            self.application(application),
            self.malicious(malicious).squeeze(1),
            self.malicious_kind(kind),
        )


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
