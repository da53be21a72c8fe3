"""Simulated acoustics, measured by other means than those that made them."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.audio.blocks import FRAME_SAMPLES
from edge.audio.files import read_audio
from edge.audio.utterance import find_speech, utterance_of
from edge.errors import EnvironmentFault, InputError
from edge.resources import demo_directory
from edge.types import SAMPLE_RATE, FloatArray
from tools.acoustics.rooms import PLACEMENTS, STEPS, measure_rt60
from tools.acoustics.tempo import stretched
from tools.conditions import (
    MICROPHONES,
    ROOMS,
    Condition,
    Room,
    add_noise,
    babble,
    conditions,
    microphone,
    pink_noise,
    reverberate,
    room_response,
)

CONDITIONS = conditions(pink_noise(20.0, 3))


@pytest.fixture(scope="module")
def speech() -> FloatArray:
    return read_audio(demo_directory() / "ada_enroll_1.flac").samples


def _bursts(seconds: float, rms: float, seed: int = 0) -> FloatArray:
    """Noise that is on for half a second of every second."""
    count = round(seconds * SAMPLE_RATE)
    carrier = np.random.default_rng(seed).standard_normal(count) * rms
    return np.where(_sounding(count), carrier, 0.0).astype(np.float32)


def _sounding(count: int) -> Any:
    # Half a second is not a whole number of frames: the edges fall into frames, as they do in life.
    return np.arange(count) // (SAMPLE_RATE // 2) % 2 == 1


def _db(ratio: Any) -> float:
    return float(10.0 * np.log10(ratio))


# --- Noise


@pytest.mark.parametrize("snr_db", [20.0, 10.0, 5.0, 0.0])
@pytest.mark.parametrize("noise_s", [20.0, 0.7])
def test_ratio_asked_for_is_what_comes_out(snr_db: float, noise_s: float) -> None:
    clean = _bursts(6.0, 0.05)

    noisy = add_noise(clean, pink_noise(noise_s, 1), snr_db, seed=4)

    added = noisy - clean  # far from clipping, so nothing was made quieter
    reached = _db(np.mean(clean[_sounding(len(clean))] ** 2) / np.mean(added**2))
    assert reached == pytest.approx(snr_db, abs=0.5)


@pytest.mark.parametrize("snr_db", [20.0, 5.0])
def test_ratio_for_what_the_products_own_detector_calls_speech(
    speech: FloatArray, snr_db: float
) -> None:
    noisy = add_noise(speech, pink_noise(20.0, 1), snr_db, seed=4)

    spoken = np.repeat(find_speech(speech), FRAME_SAMPLES)
    added = noisy - speech
    reached = _db(np.mean(speech[: len(spoken)][spoken] ** 2) / np.mean(added**2))
    assert reached == pytest.approx(snr_db, abs=1.5)


@settings(max_examples=15)
@given(
    seconds=st.floats(0.1, 3.0),
    noise_samples=st.integers(1, 40_000),
    rms=st.floats(1e-3, 1.0),
    snr_db=st.floats(-20.0, 60.0),
    seed=st.integers(0, 2**32),
)
def test_whatever_the_level_nothing_clips_and_all_of_it_repeats(
    seconds: float, noise_samples: int, rms: float, snr_db: float, seed: int
) -> None:
    carrier = np.random.default_rng(7).standard_normal(round(seconds * SAMPLE_RATE))
    clean = np.clip(rms * carrier, -1.0, 1.0).astype(np.float32)
    noise = np.random.default_rng(8).standard_normal(noise_samples).astype(np.float32)

    noisy = add_noise(clean, noise, snr_db, seed)

    assert noisy.shape == clean.shape
    assert noisy.dtype == np.float32
    assert np.abs(noisy).max() <= 0.9901
    assert np.array_equal(noisy, add_noise(clean, noise, snr_db, seed))


def test_speech_and_noise_are_made_quieter_together() -> None:
    clean = np.clip(_bursts(4.0, 0.5), -0.98, 0.98)
    noise = pink_noise(4.0, 1)

    noisy = add_noise(clean, noise, 0.0, seed=0)

    # Only the noise sounds in the pauses, so what is left of the speech's power is known as well.
    on = _sounding(len(clean))
    noise_power = np.mean(noisy[~on] ** 2)
    assert np.abs(noisy).max() == pytest.approx(0.99, abs=1e-4)
    assert _db(np.mean(noisy[on] ** 2) / noise_power - 1.0) == pytest.approx(0.0, abs=1.0)


def test_short_noise_is_looped_without_a_click() -> None:
    # Half a period too many: end and beginning do not fit, and a plain loop would jump by 2.
    hum = np.cos(2 * np.pi * 50.5 * np.arange(SAMPLE_RATE) / SAMPLE_RATE).astype(np.float32)
    quiet = _bursts(5.0, 1e-3)

    added = add_noise(quiet, hum, -30.0, seed=2) - quiet

    amplitude = np.abs(added).max()
    steepest = 2 * np.pi * 50.5 / SAMPLE_RATE * amplitude
    assert np.abs(np.diff(added)).max() < 1.5 * steepest


def test_seed_picks_the_stretch_of_noise() -> None:
    clean, noise = _bursts(2.0, 0.05), pink_noise(20.0, 1)

    assert not np.array_equal(add_noise(clean, noise, 10.0, 1), add_noise(clean, noise, 10.0, 2))


@pytest.mark.parametrize("noise", [np.zeros(0, np.float32), np.zeros(9000, np.float32)])
def test_no_noise_is_refused(noise: FloatArray) -> None:
    with pytest.raises(InputError, match="noise is empty"):
        add_noise(_bursts(2.0, 0.05), noise, 10.0, 1)


def test_no_speech_is_refused() -> None:
    with pytest.raises(InputError, match="speech is digital silence"):
        add_noise(np.zeros(9000, np.float32), pink_noise(1.0, 1), 10.0, 1)


def test_pink_noise_has_as_much_power_in_every_octave() -> None:
    noise = pink_noise(30.0, 6)

    power = np.abs(np.fft.rfft(noise)) ** 2
    octaves = [power[30 * low : 60 * low].sum() for low in (125, 250, 500, 1000, 2000, 4000)]
    assert len(noise) == 30 * SAMPLE_RATE
    assert _db(max(octaves) / min(octaves)) < 0.5
    assert _db(np.mean(noise**2)) == pytest.approx(-20.0, abs=0.1)


def test_babble_is_many_voices_and_has_the_length_asked_for() -> None:
    files = sorted(demo_directory().glob("*_enroll_*.flac"))

    crowd = babble(files, 12.0, 1)

    assert len(crowd) == 12 * SAMPLE_RATE
    assert _db(np.mean(crowd**2)) == pytest.approx(-20.0, abs=0.3)
    assert np.array_equal(crowd, babble(files, 12.0, 1))
    assert not np.array_equal(crowd, babble(files, 12.0, 2))
    # One voice alone falls silent between words; a crowd never does.
    frames = crowd[: len(crowd) // 512 * 512].reshape(-1, 512)
    assert np.percentile(np.mean(frames**2, axis=1), 5) > 10**-3.5


def test_babble_of_nobody_is_refused() -> None:
    with pytest.raises(InputError, match="no speech to make babble of"):
        babble([], 1.0, 0)


# --- Rooms


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_reverberation_time_is_what_the_room_is_for(room: Room) -> None:
    times = [room_response(room, seed).rt60_s for seed in (0, 1, 5)]

    assert times == pytest.approx([room.rt60_s] * len(times), rel=0.25)
    assert np.mean(times) == pytest.approx(room.rt60_s, rel=0.15)


@pytest.mark.parametrize("rt60_s", [0.2, 0.6, 1.2])
def test_reverberation_time_of_a_known_decay(rt60_s: float) -> None:
    time = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
    decay = np.random.default_rng(1).standard_normal(len(time)) * 10.0 ** (-3.0 * time / rt60_s)

    assert measure_rt60(decay) == pytest.approx(rt60_s, rel=0.1)


def test_what_does_not_decay_has_no_reverberation_time() -> None:
    with pytest.raises(ValueError, match="does not decay"):
        measure_rt60(np.r_[np.zeros(500), 1.0])


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_direct_sound_stays_in_place_and_so_do_length_and_level(room: Room) -> None:
    # A click stands for the speech: what comes first of it in the room is the direct sound.
    at = SAMPLE_RATE // 2
    click = np.zeros(2 * SAMPLE_RATE, np.float32)
    click[at] = 0.5
    for seed in (0, 5):
        wet = reverberate(click, room_response(room, seed))
        first = int(np.flatnonzero(np.abs(wet) > 0.3 * np.abs(wet).max())[0])
        assert abs(first - at) <= SAMPLE_RATE // 1000
        assert wet.shape == click.shape

    bursts = _bursts(6.0, 0.05)
    wet = reverberate(bursts, room_response(room, 1))
    on = _sounding(len(bursts))
    assert _db(np.mean(wet[on] ** 2) / np.mean(bursts[on] ** 2)) == pytest.approx(0.0, abs=0.5)
    # ... and the pauses are filled, the more the longer the room rings.
    assert np.mean(wet[~on] ** 2) > 1e-3 * np.mean(wet[on] ** 2)


def test_response_is_made_once_for_each_placement() -> None:
    room = ROOMS[0]

    assert room_response(room, 1) is room_response(room, 1 + PLACEMENTS)
    assert not np.array_equal(room_response(room, 1).samples, room_response(room, 2).samples)


def test_who_moves_a_little_is_about_as_far_away_and_sounds_otherwise() -> None:
    room = ROOMS[0]
    there = room_response(room, 1)
    moved = [room_response(room, 1, step) for step in (1, 2)]

    assert room_response(room, 1, 1 + STEPS) is moved[0]
    for one in moved:
        assert abs(one.direct - there.direct) <= 0.2 / 340.0 * SAMPLE_RATE + 1
        assert not np.array_equal(one.samples, there.samples)
    assert not np.array_equal(moved[0].samples, moved[1].samples)


# --- Microphones


def _gain_db(kind: str, low_hz: int, high_hz: int) -> float:
    """Gain within a band, relative to the gain at 1 kHz."""
    white = (0.1 * np.random.default_rng(2).standard_normal(8 * SAMPLE_RATE)).astype(np.float32)
    before, after = np.abs(np.fft.rfft(white)) ** 2, np.abs(np.fft.rfft(microphone(white, kind)))
    ratio = after**2 / before
    return _db(ratio[8 * low_hz : 8 * high_hz].mean() / ratio[8 * 900 : 8 * 1100].mean())


def test_phone_carries_its_band_alone() -> None:
    assert _gain_db("phone", 500, 2500) == pytest.approx(0.0, abs=0.5)
    assert _gain_db("phone", 60, 150) < -20
    assert _gain_db("phone", 5000, 7500) < -20


def test_cheap_microphone_rings_and_rolls_off() -> None:
    assert _gain_db("cheap_usb", 2950, 3050) == pytest.approx(5.5, abs=1.0)
    assert _gain_db("cheap_usb", 20, 60) < -15
    assert _gain_db("cheap_usb", 7600, 8000) < -10


def test_far_microphone_is_quiet_and_noisy() -> None:
    clean = _bursts(4.0, 0.05)

    heard = microphone(clean, "far_quiet", seed=1)

    on = _sounding(len(clean))
    assert _db(np.mean(heard[on] ** 2) / np.mean(clean[on] ** 2)) == pytest.approx(-20, abs=0.2)
    assert _db(np.mean(heard[~on] ** 2)) == pytest.approx(-75.0, abs=0.2)


def test_unknown_microphone_is_refused() -> None:
    with pytest.raises(InputError, match="'ribbon'; there are cheap_usb, phone, far_quiet"):
        microphone(_bursts(1.0, 0.1), "ribbon")


# --- All of them


def test_every_condition_is_there_in_order() -> None:
    names = [condition.name for condition in CONDITIONS]

    rooms = ["hallway", "hallway_far", "porch", "stairwell"]
    assert names[:4] == ["clean", "noise 20 dB", "noise 10 dB", "noise 5 dB"]
    assert names[4:8] == rooms
    assert names[8:12] == [f"{room}, noise 20 dB" for room in rooms]
    assert tuple(names[12:]) == MICROPHONES


@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda condition: condition.name)
def test_condition_repeats_keeps_the_length_and_leaves_speech(
    condition: Condition, speech: FloatArray
) -> None:
    before = speech.copy()
    out = condition.apply(speech, 5)

    assert out.shape == speech.shape
    assert out.dtype == np.float32
    assert np.isfinite(out).all()
    assert np.abs(out).max() <= 0.9901
    assert np.array_equal(out, condition.apply(speech, 5))
    assert np.array_equal(speech, before)
    # What was said is still there, and where it was.
    clean, heard = utterance_of(speech), utterance_of(out)
    assert heard.start_s + heard.lead_s == pytest.approx(clean.start_s + clean.lead_s, abs=0.2)
    assert heard.quality.net_speech_s > 0.6 * clean.quality.net_speech_s


@pytest.mark.parametrize("name", ["pyroomacoustics", "scipy.signal"])
def test_missing_package_is_one_line_that_says_what_to_install(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    package = name.split(".", maxsplit=1)[0]
    room = Room("closet", (1.0, 2.0, 2.0), (0.3,) * 6, 1.0, 0.2, order=3)

    with pytest.raises(
        EnvironmentFault, match=rf"{package} is not installed.*\.\[measure\]"
    ) as fault:
        room_response(room) if name == "pyroomacoustics" else measure_rt60(np.ones(9))
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize("ratio", [0.88, 1.0, 1.12])
def test_another_tempo_leaves_pitch_and_places(ratio: float) -> None:
    at = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    tone = np.sin(2.0 * np.pi * 400.0 * at) * (at >= 0.5)
    found = stretched(tone.astype(np.float32), ratio)
    assert len(found) == round(SAMPLE_RATE / ratio)
    loud = np.flatnonzero(np.abs(found) > 0.5)
    assert loud[0] == pytest.approx(0.5 * SAMPLE_RATE / ratio, abs=300)
    spectrum = np.abs(np.fft.rfft(found, SAMPLE_RATE))
    assert spectrum.argmax() == pytest.approx(400, abs=2)
