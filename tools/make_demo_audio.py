#!/usr/bin/env python3
"""Makes the recordings of `edge-voice demo` with flite, a small speech synthesizer.

    tools/make_demo_audio.py [--output edge/demo/recordings] [--flite flite]

Two made-up people each enroll with three repetitions of a phrase. Then each says it once more,
differently; one says another phrase; and two other voices try. Repetitions by a synthesizer would
be equal to the sample, unlike a person's, so tempo, pitch, loudness, place in the room and
background noise vary. The noise is seeded: the same flite (Debian's 2.2) gives the same files.

Needs flite (`apt install flite`), numpy and soundfile.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

SAMPLE_RATE = 16_000
QUIET_S = 0.7
"""Mean length of the silence before and after the speech, seconds."""
SPEECH_DBFS = -23.0
"""Level of the speech before each recording's own gain, dB relative to full scale."""
NOISE_DBFS = -62.0
"""Level of the room noise, dB relative to full scale."""

TEMPO = 0.08
"""How far the tempo varies from its mean, to both sides."""
TEMPO_KNOTS_S = 0.25
"""How fast it varies, seconds between one tempo and the next."""

Samples = NDArray[np.float64]


@dataclass(frozen=True)
class Voice:
    """A voice of flite.

    Attributes:
        name: as `flite -voice` takes it.
        pitch_hz: mean pitch to speak at, Hz.
        spread_hz: standard deviation of the pitch, Hz.
    """

    name: str
    pitch_hz: float
    spread_hz: float


@dataclass(frozen=True)
class Person:
    """A made-up person, enrolled with a phrase."""

    name: str
    voice: Voice
    phrase: str


@dataclass(frozen=True)
class Manner:
    """How one recording differs from the others.

    Attributes:
        tempo: length relative to the voice's own; above 1 is slower.
        pitch: factor on the mean pitch.
        liveliness: factor on the spread of the pitch.
        gain_db: loudness relative to the others, dB.
        seed: of the noise, the place in the room and the timing.
    """

    tempo: float
    pitch: float
    liveliness: float
    gain_db: float
    seed: int


SLT = Voice("slt", 178.0, 15.0)
AWB = Voice("awb", 131.0, 21.0)
RMS = Voice("rms", 108.0, 18.0)
KAL = Voice("kal16", 104.0, 12.0)

ADA = Person("Ada", SLT, "My morning coffee tastes of cinnamon")
ROBIN = Person("Robin", AWB, "Seven gray herons fly over the river")


@dataclass(frozen=True)
class Recording:
    """One file, its content, and the decision expected for it.

    Attributes:
        file: name of the file.
        title: what it is, for people.
        voice: who speaks.
        text: what is said.
        manner: how it is said.
        person: the person it enrolls or who speaks; None for a stranger.
        reason: reason code expected; None for a recording to enroll from.
    """

    file: str
    title: str
    voice: Voice
    text: str
    manner: Manner
    person: Person | None
    reason: str | None


def _enrollment(person: Person, number: int, manner: Manner) -> Recording:
    name = f"{person.name.lower()}_enroll_{number}.flac"
    title = f"{person.name} enrolls, repetition {number}"
    return Recording(name, title, person.voice, person.phrase, manner, person, None)


RECORDINGS = (
    _enrollment(ADA, 1, Manner(1.00, 1.00, 1.0, 0.0, 11)),
    _enrollment(ADA, 2, Manner(1.07, 0.97, 1.2, -1.5, 12)),
    _enrollment(ADA, 3, Manner(0.95, 1.03, 0.9, 1.0, 13)),
    _enrollment(ROBIN, 1, Manner(1.05, 1.00, 1.0, 0.0, 21)),
    _enrollment(ROBIN, 2, Manner(0.98, 1.03, 0.9, 1.0, 22)),
    _enrollment(ROBIN, 3, Manner(1.12, 0.97, 1.1, -1.0, 23)),
    Recording(
        "ada_right_phrase.flac",
        "Ada says her phrase",
        SLT,
        ADA.phrase,
        Manner(1.04, 1.02, 1.1, -0.5, 31),
        ADA,
        "recognized",
    ),
    Recording(
        "stranger_adas_phrase.flac",
        "A stranger says Ada's phrase",
        RMS,
        ADA.phrase,
        Manner(1.00, 1.00, 1.0, 0.0, 32),
        None,
        "unknown_speaker",
    ),
    Recording(
        "ada_wrong_phrase.flac",
        "Ada says another phrase",
        SLT,
        "Please open the kitchen window tonight",
        Manner(1.02, 0.99, 1.0, 0.5, 33),
        ADA,
        "wrong_phrase",
    ),
    Recording(
        "robin_right_phrase.flac",
        "Robin says his phrase",
        AWB,
        ROBIN.phrase,
        Manner(1.02, 0.98, 1.1, 0.5, 34),
        ROBIN,
        "recognized",
    ),
    Recording(
        "robin_near_phrase.flac",
        "Robin gets his phrase half wrong",
        AWB,
        "Seven gray horses stand below the mountain",
        Manner(1.05, 1.00, 1.0, 0.0, 35),
        ROBIN,
        "wrong_phrase",
    ),
    Recording(
        "stranger_other_phrase.flac",
        "Another stranger says something else",
        KAL,
        "Is there anybody at home this evening",
        Manner(1.05, 1.00, 1.0, 0.0, 36),
        None,
        "no_match",
    ),
)


def synthesize(recording: Recording, flite: str) -> Samples:
    """Dry speech from flite, shape (n,), 16 kHz, full scale [-1, 1).

    Raises:
        RuntimeError: flite failed, or spoke at another rate.
    """
    voice, manner = recording.voice, recording.manner
    settings = {
        "duration_stretch": manner.tempo,
        "int_f0_target_mean": voice.pitch_hz * manner.pitch,
        "int_f0_target_stddev": voice.spread_hz * manner.liveliness,
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        command = [flite, "-voice", voice.name, "-t", recording.text, "-o", str(path)]
        for name, value in settings.items():
            command += ["--setf", f"{name}={value:.4f}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode or not path.is_file():
            raise RuntimeError(f"{' '.join(command)} failed: {done.stderr.strip()}")
        samples, rate = soundfile.read(path, dtype="float64")
    if rate != SAMPLE_RATE:
        raise RuntimeError(f"flite's voice {voice.name} speaks at {rate} Hz, not {SAMPLE_RATE}")
    return np.asarray(samples)


def _trim(samples: Samples) -> Samples:
    """Trim silence before and after the speech."""
    loud = np.flatnonzero(np.abs(samples) > 0.01 * np.abs(samples).max())
    return samples[loud[0] : loud[-1] + 1]


def _hurry(speech: Samples, rng: np.random.Generator) -> Samples:
    """The speech with a tempo that varies, as a person's does, so no two repetitions run in step.

    Two recordings of a synthesizer differ by a constant tempo, like a recording played back a
    little too fast; the device would rightly take one for a replay of the other.
    """
    knots = max(3, round(len(speech) / SAMPLE_RATE / TEMPO_KNOTS_S) + 1)
    at = np.linspace(0, len(speech) - 1, knots)
    rate = np.interp(np.arange(len(speech)), at, rng.uniform(1 - TEMPO, 1 + TEMPO, knots))
    position = np.cumsum(rate)
    # Interpolate in a signal with four times as many samples.
    spectrum = np.fft.rfft(speech)
    fine = np.fft.irfft(np.pad(spectrum, (0, 3 * len(spectrum))), 4 * len(speech)) * 4
    return np.interp(position[position < len(speech) - 1] * 4, np.arange(len(fine)), fine)


def _room(rng: np.random.Generator) -> Samples:
    """Impulse response of a small furnished room: the direct sound, then a decaying tail.

    The tail is Gaussian noise that falls by 60 dB in 0.2 s, 15 dB below the direct sound in all.
    """
    length = int(0.2 * SAMPLE_RATE)
    delay = int(rng.uniform(0.003, 0.008) * SAMPLE_RATE)
    decay = 10.0 ** (-3.0 * np.arange(length) / length)
    tail = rng.standard_normal(length) * decay
    tail *= 10.0 ** (-15.0 / 20.0) / np.sqrt(np.sum(tail**2))
    return np.concatenate([[1.0], np.zeros(delay), tail])


def _noise(length: int, rng: np.random.Generator) -> Samples:
    """Room noise of unit level, shape (length,); it falls by 6 dB per octave above 100 Hz."""
    spectrum = np.fft.rfft(rng.standard_normal(length))
    frequency = np.fft.rfftfreq(length, 1.0 / SAMPLE_RATE)
    shaped = np.fft.irfft(spectrum * 100.0 / np.maximum(frequency, 100.0), length)
    return np.asarray(shaped / np.sqrt(np.mean(shaped**2)))


def _amplitude(decibel: float) -> float:
    return float(10.0 ** (decibel / 20.0))


def record(speech: Samples, manner: Manner) -> Samples:
    """The speech as recorded by a microphone in a quiet room, shape (n,), full scale [-1, 1)."""
    rng = np.random.default_rng(manner.seed)
    speech = np.convolve(_hurry(_trim(speech), rng), _room(rng))
    level = np.sqrt(np.mean(speech**2))
    speech *= _amplitude(SPEECH_DBFS + manner.gain_db) / level
    before, after = (int(QUIET_S * rng.uniform(0.9, 1.2) * SAMPLE_RATE) for _ in range(2))
    whole = np.concatenate([np.zeros(before), speech, np.zeros(after)])
    return np.asarray(whole + _noise(len(whole), rng) * _amplitude(NOISE_DBFS))


def _manifest() -> dict[str, Any]:
    """The demo's manifest: the people, and the recordings in the order they are played."""
    recordings = []
    for one in RECORDINGS:
        entry: dict[str, Any] = {
            "file": one.file,
            "title": one.title,
            "role": "enroll" if one.reason is None else "play",
            "person": one.person.name if one.person else None,
            "voice": one.voice.name,
            "text": one.text,
        }
        if one.reason is not None:
            entry["expected"] = {
                "decision": "granted" if one.reason == "recognized" else "denied",
                "reason": one.reason,
            }
        recordings.append(entry)
    people = [{"name": p.name, "voice": p.voice.name, "phrase": p.phrase} for p in (ADA, ROBIN)]
    return {"made_with": "flite 2.2", "people": people, "recordings": recordings}


def main(argv: list[str] | None = None) -> int:
    """Write every recording and the manifest; exit code 3 if flite is missing or fails."""
    parser = argparse.ArgumentParser(description="Make the recordings of `edge-voice demo`.")
    here = Path(__file__).resolve().parent
    parser.add_argument("--output", type=Path, default=here.parent / "edge" / "demo" / "recordings")
    parser.add_argument("--flite", default="flite", help="the program (default: flite)")
    arguments = parser.parse_args(argv)
    arguments.output.mkdir(parents=True, exist_ok=True)
    total = 0
    for recording in RECORDINGS:
        try:
            samples = record(synthesize(recording, arguments.flite), recording.manner)
        except FileNotFoundError:
            print(f"error: no program {arguments.flite}; apt install flite", file=sys.stderr)
            return 3
        except RuntimeError as error:
            print(f"error: {error}", file=sys.stderr)
            return 3
        path = arguments.output / recording.file
        soundfile.write(path, samples, SAMPLE_RATE, subtype="PCM_16")
        total += path.stat().st_size
        print(f"{recording.file:32} {len(samples) / SAMPLE_RATE:5.2f} s  {recording.text}")
    manifest = json.dumps(_manifest(), indent=2, ensure_ascii=False)
    (arguments.output / "manifest.json").write_text(manifest + "\n", encoding="utf-8")
    print(f"{len(RECORDINGS)} recordings, {total / 1000:.0f} kB, in {arguments.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
