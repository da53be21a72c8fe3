"""Rooms at an entrance, simulated by the image-source method."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edge.types import SAMPLE_RATE, FloatArray
from tools.acoustics.levels import Signal, at_level_of, library, unclipped

PLACEMENTS = 8
"""Placements of speaker and microphone in each room; a seed selects one."""

STEPS = 16
"""Mouth positions around each placement."""
_MOVED_M = (0.05, 0.2)
"""Shortest and longest move: nobody stands in exactly the same spot twice."""

_WALLS = ("east", "west", "south", "north", "ceiling", "floor")
_OCTAVES_HZ = (125, 250, 500, 1000, 2000, 4000, 8000)
_ABSORPTION_SHAPE = (0.7, 0.8, 0.95, 1.05, 1.15, 1.3, 1.5)
"""Absorption of plaster, tile and wood by octave, relative to 500 Hz to 1 kHz."""

_OPEN = 0.95
"""Absorption from which a wall counts as an opening, equal in all octaves."""

_MID_BAND_HZ = (354.0, 1414.0)
"""The octaves of 500 Hz and 1 kHz, the mid frequencies of ISO 3382-1."""


@dataclass(frozen=True)
class Room:
    """A room with a speaker and a microphone.

    Attributes:
        name: of the condition.
        size_m: width, length, height.
        absorption: share of the energy absorbed by each wall at mid frequencies: east, west, south,
            north, ceiling, floor. 0.95 is an opening.
        distance_m: from mouth to microphone, at least 0.5.
        rt60_s: intended reverberation time; `Response.rt60_s` is the measured one.
        order: reflections followed. At 20 % absorption, 50 of them take 48 dB.
    """

    name: str
    size_m: tuple[float, float, float]
    absorption: tuple[float, ...]
    distance_m: float
    rt60_s: float
    order: int = 50


@dataclass(frozen=True, eq=False)
class Response:
    """The impulse response of a room.

    Attributes:
        samples: shape (n,) at `SAMPLE_RATE`.
        direct: sample at which the direct sound arrives.
        rt60_s: reverberation time measured from `samples`, mid frequencies.
    """

    samples: Signal = field(repr=False)
    direct: int
    rt60_s: float


ROOMS = (
    Room("hallway", (1.5, 5.0, 2.5), (0.165,) * 6, 1.0, 0.6),
    Room("hallway_far", (1.5, 5.0, 2.5), (0.165,) * 6, 3.0, 0.6),
    Room("porch", (2.0, 2.5, 2.6), (_OPEN, 0.18, 0.18, _OPEN, 0.18, 0.18), 1.0, 0.3, 40),
    Room("stairwell", (2.5, 3.5, 7.5), (0.108,) * 6, 1.5, 1.2, 65),
)


def room_response(room: Room, seed: int = 0, moved: int = 0) -> Response:
    """The response of a room by the image-source method, cached for each placement.

    Args:
        room: one of `ROOMS`, or another.
        seed: of the placement in the room, one of `PLACEMENTS`; the distance stays.
        moved: how the mouth has moved from there, by 5 to 20 cm: one of `STEPS`, 0 for not at all.

    Raises:
        EnvironmentFault: pyroomacoustics or scipy is not installed.
    """
    return _response(room, seed % PLACEMENTS, 1 + (moved - 1) % STEPS if moved else 0)


@functools.cache
def _response(room: Room, placement: int, moved: int) -> Response:
    acoustics = library("pyroomacoustics")
    box = acoustics.ShoeBox(
        room.size_m,
        fs=SAMPLE_RATE,
        materials={
            wall: acoustics.Material(_absorption(share))
            for wall, share in zip(_WALLS, room.absorption)
        },
        max_order=room.order,
        air_absorption=True,
    )
    mouth, microphone = _placement(room, np.random.default_rng(placement))
    if moved:
        mouth = _step(mouth, np.random.default_rng((placement, moved)))
    box.add_source(mouth)
    box.add_microphone(microphone)
    box.compute_rir()
    samples = np.asarray(box.rir[0][0], dtype=np.float64)
    # Each arrival is a windowed sinc, delayed by half its length.
    late = acoustics.constants.get("frac_delay_length") // 2
    distance = float(np.linalg.norm(np.subtract(mouth, microphone)))
    direct = round(distance / box.c * SAMPLE_RATE) + late
    return Response(samples, direct, measure_rt60(samples))


def _absorption(share: float) -> dict[str, Any]:
    shape = np.ones(len(_OCTAVES_HZ)) if share >= _OPEN else np.asarray(_ABSORPTION_SHAPE)
    return {"coeffs": list(np.minimum(share * shape, 0.99)), "center_freqs": list(_OCTAVES_HZ)}


def _placement(
    room: Room, generator: np.random.Generator
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Mouth and microphone, a little off the middle, at exactly the distance."""
    width = room.size_m[0]
    aside, across = generator.uniform(-0.2, 0.2, 2)
    height, deep = generator.uniform(1.45, 1.65), generator.uniform(0.5, 0.7)
    microphone = (width / 2 + aside, deep, 1.4)
    x = width / 2 + across
    along = np.sqrt(room.distance_m**2 - (x - microphone[0]) ** 2 - (height - 1.4) ** 2)
    return (x, deep + float(along), height), microphone


def _step(
    mouth: tuple[float, float, float], generator: np.random.Generator
) -> tuple[float, float, float]:
    way = generator.standard_normal(3)
    way *= generator.uniform(*_MOVED_M) / np.linalg.norm(way)
    x, y, z = np.asarray(mouth) + way
    return float(x), float(y), float(z)


def measure_rt60(response: Signal) -> float:
    """Reverberation time at mid frequencies, by the backward integral, seconds.

    M. R. Schroeder, "New method of measuring reverberation time", JASA 37, 1965: a line through
    the decay from -5 to -25 dB, drawn on to -60 dB (T20 of ISO 3382-1), in the octaves of 500 Hz
    and 1 kHz.

    Raises:
        EnvironmentFault: scipy is not installed.
        ValueError: the response does not decay by 25 dB.
    """
    signal = library("scipy.signal")
    band = signal.butter(4, _MID_BAND_HZ, "bandpass", fs=SAMPLE_RATE, output="sos")
    energy = np.cumsum(np.square(signal.sosfilt(band, response))[::-1])[::-1]
    if len(energy) == 0 or energy[0] <= 0 or energy[-1] > energy[0] * 10**-2.5:
        raise ValueError("the response does not decay by 25 dB")
    decay = 10.0 * np.log10(np.maximum(energy / energy[0], 1e-30))
    used = np.flatnonzero((decay <= -5.0) & (decay >= -25.0))
    slope = np.polyfit(used / SAMPLE_RATE, decay[used], 1)[0]
    return float(-60.0 / slope)


def reverberate(samples: FloatArray, response: Response) -> FloatArray:
    """Speech in a room; the direct sound keeps its time, the speech its level.

    The reverberation after the last sample is cut off.

    Args:
        samples: mono speech at `SAMPLE_RATE`, shape (n,).
        response: of `room_response`.

    Raises:
        EnvironmentFault: scipy is not installed.
    """
    whole = library("scipy.signal").fftconvolve(samples.astype(np.float64), response.samples)
    wet = whole[response.direct : response.direct + len(samples)]
    return unclipped(at_level_of(samples, wet))
