"""The conditions under which sounds are heard, and where their noise comes from.

The noises of a folder are taken in turn, kind after kind, so that each kind counts alike.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge.audio.blocks import FRAME_SAMPLES
from edge.audio.files import read_audio
from edge.audio.utterance import utterance_of
from edge.errors import InputError
from edge.evaluation.corpus import AUDIO_SUFFIXES
from edge.types import SAMPLE_RATE, FloatArray
from tools.acoustics.levels import PEAK, frame_power, unclipped
from tools.conditions import add_noise, babble, conditions, pink_noise
from tools.replay.distortions import at_speed

QUIET = "quiet"
VOICES = tuple(f"voices {db} dB" for db in (20, 10, 5))

_BABBLE_S = 20.0
_BABBLES = 4
"""Different babbles."""
_TALKERS = 120
"""Recordings that babble is made of, about."""
_SILENT = 1e-5
"""Share of a noise's power below which a frame is silence that was put there."""
_AROUND_S = 0.8
"""Noise before and after a phrase."""
_QUIETER_DB = 15.0
_CLIPPED = 0.005
"""Share of the samples that is clipped: a quarter of what is refused."""
_SPEED = 0.1
_REPEATED_SPEED = 0.04
_REPEATED_DB = 30.0


@dataclass(frozen=True)
class Surroundings:
    """Recordings of noise with their kinds, to be taken in turn, and of other people's speech.

    Pink noise stands in where there is no recording of any.
    """

    noises: tuple[tuple[str, Path], ...] = ()
    talkers: tuple[Path, ...] = ()

    def noise(self, turn: int) -> FloatArray:
        """The noise whose turn it is."""
        if not self.noises:
            return pink_noise(_BABBLE_S, seed=turn % _BABBLES)
        return _noise(self.noises[turn % len(self.noises)][1])

    def kind(self, turn: int) -> str:
        """The kind of the noise whose turn it is."""
        return self.noises[turn % len(self.noises)][0] if self.noises else "pink"

    def voices(self, turn: int) -> FloatArray:
        """Several people talking at once. Raises `InputError` where there is no speech for it."""
        step = max(1, len(self.talkers) // _TALKERS)
        return _babble(self.talkers[::step], turn % _BABBLES)


def noises_of(folder: Path) -> tuple[tuple[str, Path], ...]:
    """The noises of a folder, `*` and `KIND/*`, with their kinds, one of each after the other."""
    kinds: dict[str, list[Path]] = {}
    for path in sorted([*folder.glob("*"), *folder.glob("*/*")]):
        if path.suffix.lower() in AUDIO_SUFFIXES:
            kind = path.stem if path.parent == folder else path.parent.name
            kinds.setdefault(kind, []).append(path)
    rounds = itertools.zip_longest(*kinds.values())
    return tuple(
        (kind, path) for one in rounds for kind, path in zip(kinds, one) if path is not None
    )


@functools.lru_cache(maxsize=256)
def _noise(path: Path) -> FloatArray:
    samples = read_audio(path).samples
    power = frame_power(samples)
    sounding = np.repeat(power > _SILENT * power.mean(), FRAME_SAMPLES)
    noise: FloatArray = samples[: len(sounding)][sounding]
    return noise


@functools.lru_cache(maxsize=_BABBLES)
def _babble(talkers: tuple[Path, ...], seed: int) -> FloatArray:
    return babble(talkers, _BABBLE_S, seed)


def changed(
    samples: FloatArray, condition: str, turn: int, surroundings: Surroundings
) -> FloatArray:
    """A recording under a condition.

    `turn` chooses the noise and seeds all that is random.

    Raises:
        InputError: there is no condition of that name.
    """
    if condition == QUIET:
        return samples
    if condition in _CHANGES:
        return _CHANGES[condition](samples, turn, surroundings)
    if condition in VOICES:
        snr_db = float(condition.split()[1])
        return add_noise(samples, surroundings.voices(turn), snr_db, turn)
    for one in conditions(surroundings.noise(turn)):
        if one.name == condition:
            return one.apply(samples, turn)
    raise InputError(f"there is no condition {condition!r}")


def _around(samples: FloatArray, noise: FloatArray, snr_db: float, turn: int) -> FloatArray:
    """Noise before and after the speech, none in it."""
    quiet = np.random.default_rng(turn).standard_normal(round(_AROUND_S * SAMPLE_RATE)) * 1e-4
    samples = np.concatenate((quiet, samples, quiet)).astype(np.float32)
    utterance = utterance_of(samples)
    start = round((utterance.start_s + utterance.lead_s) * SAMPLE_RATE)
    stop = round(utterance.end_s * SAMPLE_RATE)
    # Noise is attenuated where it would clip; the speech is not.
    around = add_noise(samples, noise, snr_db, turn)
    around[start:stop] = samples[start:stop]
    return around


def _noise_around(snr_db: float) -> Trick:
    return lambda samples, turn, place: _around(samples, place.noise(turn), snr_db, turn)


def _voices_around(snr_db: float) -> Trick:
    return lambda samples, turn, place: _around(samples, place.voices(turn), snr_db, turn)


def _louder(samples: FloatArray, turn: int, place: Surroundings) -> FloatArray:
    del turn, place
    return unclipped(samples.astype(np.float64) * PEAK / max(float(np.abs(samples).max()), 1e-6))


def _quieter(samples: FloatArray, turn: int, place: Surroundings) -> FloatArray:
    del turn, place
    fainter: FloatArray = samples * np.float32(10.0 ** (-_QUIETER_DB / 20.0))
    return fainter


def _clipped(samples: FloatArray, turn: int, place: Surroundings) -> FloatArray:
    del turn, place
    limit = max(float(np.quantile(np.abs(samples), 1.0 - _CLIPPED)), 1e-6)
    clipped: FloatArray = np.clip(samples / np.float32(limit), -1.0, 1.0)
    return clipped


def _at_speed(factor: float) -> Trick:
    change = at_speed(factor)
    return lambda samples, turn, _place: change(samples, turn)


def _repeated(factor: float) -> Trick:
    change = at_speed(factor)

    def apply(samples: FloatArray, turn: int, place: Surroundings) -> FloatArray:
        del place
        noise = pink_noise(_BABBLE_S, seed=turn % _BABBLES)
        return add_noise(change(samples, turn), noise, _REPEATED_DB, turn)

    return apply


Trick = Callable[[FloatArray, int, Surroundings], FloatArray]
TRICKS: Mapping[str, Trick] = {
    "noise around, 10 dB": _noise_around(10.0),
    "noise around, 3 dB": _noise_around(3.0),
    "voices around, 10 dB": _voices_around(10.0),
    "louder": _louder,
    "quieter": _quieter,
    "clipped": _clipped,
    "slower": _at_speed(1.0 - _SPEED),
    "faster": _at_speed(1.0 + _SPEED),
}
"""What somebody who wants to get in may do to a recording or to the sound around the door."""

REPETITIONS: Mapping[str, Trick] = {
    "repeated slower": _repeated(1.0 - _REPEATED_SPEED),
    "repeated faster": _repeated(1.0 + _REPEATED_SPEED),
}
"""A single recording as further repetitions of what it says."""
_CHANGES = {**TRICKS, **REPETITIONS}
