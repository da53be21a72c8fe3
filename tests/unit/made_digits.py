"""Digits made of tones, for the tests of recognizing them: the same everywhere, made at once."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from edge.challenge.features import spectrum_of, word_in
from edge.challenge.matching import DIGITS, DigitExample
from edge.challenge.rounds import DigitRound
from edge.types import SAMPLE_RATE, FloatArray
from tests.unit.stores import SPEAKER_MODEL, make_sample

PACES = (0.9, 1.0, 1.15)
"""How slowly each round is said."""


def room(seconds: float, level: float) -> FloatArray:
    """The sound of a room, lower tones louder."""
    random = np.random.default_rng(5)
    white = random.standard_normal(round(seconds * SAMPLE_RATE) + 7)
    return np.asarray(level * np.convolve(white, np.ones(8), "valid"), np.float32)


@functools.cache
def word(digit: int, pace: float = 1.05) -> FloatArray:
    """A digit: two vowels, of two tones each, one gliding into the other."""
    count = round(0.24 * pace * SAMPLE_RATE)
    part = np.linspace(0.0, 1.0, count)
    glide = np.clip(3.0 * part - 1.0, 0.0, 1.0)
    low = (300.0 + 60.0 * digit) * (1.0 - glide) + (900.0 - 55.0 * digit) * glide
    high = (1_200.0 + 150.0 * digit) * (1.0 - glide) + (3_000.0 - 170.0 * (3 * digit % 10)) * glide
    tones = sum(
        level * np.sin(2.0 * np.pi * np.cumsum(hertz * (0.97 + 0.03 * pace)) / SAMPLE_RATE)
        for level, hertz in ((0.3, low), (0.15, high))
    )
    return np.asarray(tones * np.sin(np.pi * part) ** 0.5, np.float32)


def said(digits: Sequence[int], pace: float = 1.05, noise: float = 1e-4) -> FloatArray:
    """Digits one after the other, in a room."""
    pieces: list[FloatArray] = [np.zeros(6_400, np.float32)]
    for digit in digits:
        pieces += [word(digit, pace), np.zeros(1_920, np.float32)]
    samples = np.concatenate([*pieces, np.zeros(6_400, np.float32)])
    return samples + room(len(samples) / SAMPLE_RATE, noise)


def example(digit: int, pace: float = 1.05) -> DigitExample:
    """A digit as it is enrolled."""
    return DigitExample(digit, word_in(spectrum_of(said([digit], pace))))


@functools.cache
def made_rounds() -> tuple[DigitRound, ...]:
    """Three rounds of a person."""
    return tuple(
        DigitRound(
            tuple(example(digit, pace) for digit in DIGITS), make_sample(number), SPEAKER_MODEL
        )
        for number, pace in enumerate(PACES)
    )
