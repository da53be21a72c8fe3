"""Digits in two made-up voices, for the tests of the challenge; they need flite."""

from __future__ import annotations

import functools
import io
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from edge.audio.utterance import utterance_of
from edge.challenge.rounds import DigitRound, complete_round, keep_round, make_example
from edge.recognition import Engine
from edge.store import open_store
from edge.types import SAMPLE_RATE, FloatArray, Profile, ProfileKind, Utterance
from tests.unit.voices import the_engine

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ADA, ROBIN = "slt", "rms"
PACES = (0.95, 1.05, 1.15)
"""How slowly each enrolled round is said; answers come at a pace of their own."""

needs_flite = pytest.mark.skipif(shutil.which("flite") is None, reason="flite is not installed")


@functools.cache
def said(text: str, voice: str, pace: float = 1.0) -> FloatArray:
    """A text in a voice, from its first to its last sound."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "said.wav"
        command = ["flite", "-voice", voice, "--setf", f"duration_stretch={pace}"]
        subprocess.run([*command, "-t", text, "-o", str(file)], check=True, timeout=30)
        samples, rate = soundfile.read(io.BytesIO(file.read_bytes()), dtype="float32")
    samples = soxr.resample(samples, rate, SAMPLE_RATE) if rate != SAMPLE_RATE else samples
    loud = np.flatnonzero(np.abs(samples) > 0.01)
    return np.asarray(samples[loud[0] : loud[-1] + 1], dtype=np.float32)


def recording_of(
    texts: Sequence[str], voice: str, pace: float = 1.0, room_s: float = 0.8
) -> FloatArray:
    """Texts one after the other in a quiet room, which is heard before and after."""
    return _in_a_room([said(text, voice, pace) for text in texts], room_s)


def _in_a_room(parts: Sequence[FloatArray], room_s: float) -> FloatArray:
    room = np.zeros(round(room_s * SAMPLE_RATE), np.float32)
    pieces = [room]
    for part in parts:
        pieces += [part, np.zeros(2_400, np.float32)]
    samples = np.concatenate([*pieces, room])
    noise = np.random.default_rng(5).standard_normal(len(samples), dtype=np.float32)
    return np.asarray(samples + np.float32(3e-4) * noise, dtype=np.float32)


def answer(digits: Sequence[int], voice: str = ADA, pace: float = 1.0) -> Utterance:
    """Digits as an utterance."""
    return _utterance(tuple(WORDS[digit] for digit in digits), voice, pace)


def mixed_answer(digits: Sequence[int], voices: Sequence[str]) -> Utterance:
    """Digits as an utterance, each in a voice of its own, equally loud."""
    parts = [said(WORDS[digit], voice) for digit, voice in zip(digits, voices)]
    level = float(np.sqrt(np.mean(np.square(parts[0]))))
    leveled = [part * np.float32(level / np.sqrt(np.mean(np.square(part)))) for part in parts]
    return utterance_of(_in_a_room(leveled, room_s=0.4))


@functools.cache
def _utterance(texts: tuple[str, ...], voice: str, pace: float) -> Utterance:
    return utterance_of(recording_of(texts, voice, pace, room_s=0.4))


def passphrase(voice: str = ADA, pace: float = 1.0) -> Utterance:
    """A passphrase as an utterance."""
    return _utterance(("good evening, the green house on the hill",), voice, pace)


@functools.cache
def person(engine: Engine, voice: str = ADA) -> Profile:
    """Somebody who is enrolled with the passphrase."""
    profile = Profile.begin(voice)
    for pace in PACES:
        profile = engine.extend(profile, passphrase(voice, pace))
    return profile


def spoken_round(engine: Engine, profile: Profile, voice: str, pace: float) -> DigitRound:
    """All digits once."""
    utterances = {digit: answer([digit], voice, pace) for digit in range(10)}
    examples = {d: make_example(engine, utterances[d], d, []) for d in range(10)}
    return complete_round(engine, profile, utterances, examples)


def rounds(engine: Engine, profile: Profile, voice: str = ADA) -> list[DigitRound]:
    """A whole enrollment of digits."""
    return list(_rounds(engine, profile, voice))


@functools.cache
def _rounds(engine: Engine, profile: Profile, voice: str) -> tuple[DigitRound, ...]:
    return tuple(spoken_round(engine, profile, voice, pace) for pace in PACES)


@functools.cache
def enrolled_ada() -> tuple[Engine, Profile, list[DigitRound]]:
    """An engine, and Ada with her passphrase and her digits."""
    engine = the_engine()
    known = person(engine)
    return engine, known, rounds(engine, known)


def enroll_ada(state: Path) -> None:
    """Ada in a state directory, with her passphrase and her digits."""
    _, known, digits = enrolled_ada()
    with open_store(state) as store:
        ada = store.create(
            "Ada",
            ProfileKind.PHRASE,
            required=3,
            samples=known.samples,
            speaker_model=known.speaker_model,
            phrase_model=known.phrase_model,
        )
        for spoken in digits:
            keep_round(store, ada.id, spoken)
