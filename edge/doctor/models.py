"""The models: present, as described by their cards, and fast enough here.

A decision should come within 900 ms of the end of speech, and 600 ms of that is the silence that
ends an utterance (`audio.end_silence_s`): 300 ms are left, 15 % of a phrase of two seconds. Above
that people notice the wait. Above half of the utterance's length the device falls behind in
continuous speech, where voice detection, search and verification share one core, and what is not
processed within `audio.ring_s` is lost.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from edge import resources
from edge.audio.files import read_audio
from edge.audio.utterance import utterance_of
from edge.doctor.context import Context
from edge.doctor.finding import Finding, from_error, green, red, skipped, yellow
from edge.errors import ModelError
from edge.inference import open_model
from edge.recognition import Engine
from edge.recognition.embedders import PHRASE_FILE, SPEAKER_FILE
from edge.types import Profile

_SLOW = 0.15
_TOO_SLOW = 0.5
_ROUNDS = 5

MODEL = green("models.genuine", "{file} matches its card (SHA-256 {digest}...)")
MODEL_FAULT = red("models.fault")
CALIBRATION_FAULT = red("models.calibration")
FAST = green(
    "speed.fast", "{ms:.0f} ms to verify {seconds:.1f} s of speech: real-time factor {factor:.3f}"
)
SLOW = yellow(
    "speed.slow",
    "{ms:.0f} ms to verify {seconds:.1f} s of speech, real-time factor {factor:.2f}: people will"
    " notice the wait",
    "set recognition.threads to 2 or more; see what else is running (top); check the cooling",
)
TOO_SLOW = red(
    "speed.too_slow",
    "{ms:.0f} ms to verify {seconds:.1f} s of speech, real-time factor {factor:.2f}: it cannot"
    " keep up",
    "see what else is running (top); a 64-bit system is several times faster on the same board",
)
NOT_MEASURED = skipped("speed.not_measured", "not measured because the models cannot be used")
LEFT_OUT = skipped("speed.left_out", "not measured (--quick)")


def check(context: Context) -> Iterator[Finding]:
    """Each model and its card, then the time that a verification takes."""
    folder = context.config.models_directory or resources.models_directory()
    rows = [_model(folder / name) for name in (SPEAKER_FILE, PHRASE_FILE)]
    yield from rows
    if any(row.code == MODEL_FAULT.code for row in rows):
        yield NOT_MEASURED()
        return
    try:
        engine = Engine.open(context.config)
    except ModelError as error:
        yield from_error(CALIBRATION_FAULT, error)
        yield NOT_MEASURED()
        return
    yield LEFT_OUT() if context.quick else judge_speed(*measure(engine, resources.demo_directory()))


def _model(file: Path) -> Finding:
    try:
        model = open_model(file)
    except ModelError as error:
        return from_error(MODEL_FAULT, error)
    return MODEL(file=file.name, digest=model.sha256[:12])


def measure(engine: Engine, recordings: Path) -> tuple[float, float]:
    """The median time of a verification, and the length of its utterance; both in seconds."""
    utterance = utterance_of(read_audio(recordings / "ada_right_phrase.flac").samples)
    ada = Profile.begin("Ada")
    for number in range(1, 4):
        example = read_audio(recordings / f"ada_enroll_{number}.flac").samples
        ada = engine.extend(ada, utterance_of(example))
    engine.verify(ada, utterance)  # the first one still allocates memory
    times = []
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        engine.verify(ada, utterance)
        times.append(time.perf_counter() - started)
    return statistics.median(times), utterance.duration_s


def judge_speed(took_s: float, utterance_s: float) -> Finding:
    """The finding for a verification's time and the length of its utterance, both in seconds."""
    factor = took_s / utterance_s
    kind = FAST if factor <= _SLOW else SLOW if factor <= _TOO_SLOW else TOO_SLOW
    return kind(ms=took_s * 1e3, seconds=utterance_s, factor=factor)
