"""Simulates the acoustics of an entrance: noise, rooms and microphones.

`conditions(noise)` gives all of them in order, `clean` first. The same samples and seed give the
same result, of the same length, without clipping. Speech keeps its level, unless it would clip or
the microphone is `far_quiet`.

Needs scipy for rooms and microphones, pyroomacoustics for rooms: `pip install -e '.[measure]'`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edge.types import FloatArray
from tools.acoustics.microphones import MICROPHONES, microphone
from tools.acoustics.noise import add_noise, babble, pink_noise
from tools.acoustics.rooms import ROOMS, Room, reverberate, room_response

__all__ = [
    "MICROPHONES",
    "ROOMS",
    "Condition",
    "Room",
    "add_noise",
    "babble",
    "conditions",
    "microphone",
    "pink_noise",
    "reverberate",
    "room_response",
]


@dataclass(frozen=True)
class Condition:
    """A change to speech on its way to the recognizer.

    Attributes:
        name: for tables.
        apply: (samples, seed) to samples of the same length.
    """

    name: str
    apply: Callable[[FloatArray, int], FloatArray]


def conditions(noise: FloatArray) -> tuple[Condition, ...]:
    """Every condition in order: clean, noise, rooms, rooms with noise, microphones.

    Args:
        noise: the background noise, mono at `SAMPLE_RATE`: a recording, `pink_noise` or
            `babble`.
    """
    return (
        Condition("clean", lambda samples, _seed: samples),
        *(Condition(f"noise {db:.0f} dB", _noisy(noise, db)) for db in (20.0, 10.0, 5.0)),
        *(Condition(room.name, _inside(room)) for room in ROOMS),
        *(Condition(f"{room.name}, noise 20 dB", _noisy_inside(room, noise)) for room in ROOMS),
        *(Condition(kind, _heard_by(kind)) for kind in MICROPHONES),
    )


def _noisy(noise: FloatArray, snr_db: float) -> Callable[[FloatArray, int], FloatArray]:
    return lambda samples, seed: add_noise(samples, noise, snr_db, seed)


def _inside(room: Room) -> Callable[[FloatArray, int], FloatArray]:
    return lambda samples, seed: reverberate(samples, room_response(room, seed))


def _noisy_inside(room: Room, noise: FloatArray) -> Callable[[FloatArray, int], FloatArray]:
    return lambda samples, seed: add_noise(_inside(room)(samples, seed), noise, 20.0, seed)


def _heard_by(kind: str) -> Callable[[FloatArray, int], FloatArray]:
    return lambda samples, seed: microphone(samples, kind, seed)
