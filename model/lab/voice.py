"""Sound that codecs take for speech, made from a seed."""

from __future__ import annotations

import math
from random import Random

import numpy as np

from . import behaviour


def speech(seconds: float, rate: int, seed: int) -> np.ndarray:
    """16-bit samples: spurts of syllables, voiced (harmonics of a gliding pitch) or hissed, and silence between."""
    draw, noise = Random(seed), np.random.default_rng(seed)
    sound = np.zeros(int(seconds * rate), np.float32)
    pitch, at = draw.uniform(90, 220), 0
    for speaking, lasts in behaviour.talk(draw):
        end = min(at + int(lasts * rate), len(sound))
        while speaking and at < end:
            count = int(draw.uniform(0.08, 0.3) * rate)
            moment = np.arange(count) / rate
            if draw.random() < 0.7:
                phase = 2 * math.pi * pitch * draw.uniform(0.85, 1.2) * (moment + draw.uniform(-0.15, 0.15) * moment**2)
                tone = sum(draw.random() / (1 + n * 0.4) * np.sin(n * phase) for n in range(1, 14))
            else:
                tone = noise.normal(0, 0.5, count)
            syllable = tone * np.sin(math.pi * np.arange(count) / count) * draw.uniform(1500, 5000)
            sound[at : at + count] += syllable[: len(sound) - at]
            at += count
        at = max(at, end)
        if at >= len(sound):
            break
    return np.clip(sound, -32000, 32000).astype("<i2")
