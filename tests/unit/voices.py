"""The demo's made-up voices, enrolled and put together, for the tests that need speech."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from edge.audio.blocks import FRAME_SAMPLES, BlockMaker
from edge.audio.files import read_audio
from edge.audio.utterance import find_speech, utterance_of
from edge.recognition import Engine
from edge.resources import demo_directory
from edge.types import SAMPLE_RATE, AudioBlock, FloatArray, Profile, ProfileKind, Utterance


@functools.cache
def the_engine() -> Engine:
    """The models, opened once."""
    return Engine.open()


@functools.cache
def samples_of(name: str) -> FloatArray:
    """A recording of the demo, shape (n,)."""
    return read_audio(demo_directory() / f"{name}.flac").samples


@functools.cache
def recording(name: str) -> Utterance:
    """A recording of the demo as an utterance."""
    return utterance_of(samples_of(name))


@functools.cache
def speech(name: str) -> FloatArray:
    """A recording of the demo from its first to its last speech."""
    samples = samples_of(name)
    where = np.flatnonzero(find_speech(samples))
    return samples[where[0] * FRAME_SAMPLES : (where[-1] + 1) * FRAME_SAMPLES]


def enrolled(
    engine: Engine, person: str, kind: ProfileKind = ProfileKind.PHRASE, phrase: str = ""
) -> Profile:
    """A person of the demo, known by three recordings; with an id of its own each time."""
    known = _known(engine, person, kind)
    return replace(known, id=Profile.begin(person).id, phrase=phrase)


@functools.cache
def _known(engine: Engine, person: str, kind: ProfileKind) -> Profile:
    profile = Profile.begin(person, kind, required=3 if kind is ProfileKind.PHRASE else 2.0)
    for number in (1, 2, 3):
        profile = engine.extend(profile, recording(f"{person}_enroll_{number}"))
    return profile


def quiet(seconds: float, level: float = 3e-4) -> FloatArray:
    """Room tone, at -70 dB full scale."""
    count = round(seconds * SAMPLE_RATE)
    return level * np.random.default_rng(3).standard_normal(count).astype(np.float32)


def spliced(*parts: str, gap_s: float = 0.08) -> FloatArray:
    """Recordings one after the other in one breath, a little room tone between them."""
    pieces = [speech(parts[0])]
    for part in parts[1:]:
        pieces += [quiet(gap_s), speech(part)]
    return np.concatenate(pieces)


def with_a_pause(name: str, seconds: float) -> FloatArray:
    """A recording with silence put in where it is quietest, between two words."""
    samples, said = samples_of(name), recording(name)
    first = round((said.start_s + said.lead_s) * SAMPLE_RATE)
    third = round((said.end_s - said.start_s - said.lead_s) * SAMPLE_RATE / 3)
    power = np.convolve(np.square(samples), np.ones(640) / 640, "same")
    at = first + third + int(power[first + third : first + 2 * third].argmin())
    return np.concatenate((samples[:at], quiet(seconds), samples[at:]))


def in_blocks(samples: FloatArray, sizes: Sequence[int] = (FRAME_SAMPLES,)) -> list[AudioBlock]:
    """A stream as a source delivers it, which gets it in pieces of these sizes in turn."""
    maker = BlockMaker(SAMPLE_RATE)
    blocks: list[AudioBlock] = []
    position = 0
    for size in itertools.cycle(sizes):
        piece = samples[position : position + size]
        position += len(piece)
        last = position == len(samples)
        blocks += maker.feed(piece, position / SAMPLE_RATE, last=last)
        if last:
            return blocks
    raise AssertionError("no sizes")
