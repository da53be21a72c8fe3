"""A microphone's offset, hum and rumble under the phrase: from a file and live, it opens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge.access.decider import Decider
from edge.access.listener import Listener
from edge.audio.end_pointing import EndPointer, EndPointSettings
from edge.audio.files import read_audio
from edge.audio.sources import FileSource
from edge.audio.utterance import utterance_of
from edge.recognition import Engine
from edge.types import SAMPLE_RATE, FloatArray, Profile, ReasonCode
from tests.unit.voices import quiet, samples_of

UNDER: dict[str, Callable[[int], FloatArray]] = {
    "offset 0.005": lambda n: np.full(n, 0.005, np.float32),
    "offset 0.01": lambda n: np.full(n, 0.01, np.float32),
    "offset 0.05": lambda n: np.full(n, 0.05, np.float32),
    "hum, 50 Hz": lambda n: _hum(n, 50, 0.005),
    "hum, 60 Hz": lambda n: _hum(n, 60, 0.003),
    "rumble": lambda n: np.float32(0.008) * _rumble(n),
}


def _hum(count: int, hertz: float, amplitude: float) -> FloatArray:
    phase = 2 * np.pi * hertz * np.arange(count) / SAMPLE_RATE
    return np.asarray(amplitude * np.sin(phase), np.float32)


def _rumble(count: int) -> FloatArray:
    """Noise below 30 Hz of unit power, as of traffic and wind."""
    spectrum = np.fft.rfft(np.random.default_rng(5).standard_normal(count))
    spectrum[np.fft.rfftfreq(count, 1 / SAMPLE_RATE) > 30.0] = 0.0
    rumble = np.fft.irfft(spectrum, count)
    return np.asarray(rumble / rumble.std(), np.float32)


@pytest.mark.parametrize("quieter_db", [0, 26])
@pytest.mark.parametrize("under", UNDER)
def test_it_opens_whatever_is_under_the_phrase(
    engine: Engine, ada: Profile, tmp_path: Path, under: str, quieter_db: int
) -> None:
    said = np.concatenate((quiet(2.0, 2e-4), samples_of("ada_right_phrase"), quiet(1.0, 2e-4)))
    said = said * np.float32(10 ** (-quieter_db / 20)) + UNDER[under](len(said))
    file = tmp_path / "said.wav"
    soundfile.write(file, said, SAMPLE_RATE, subtype="PCM_16")

    verified = engine.verify(ada, utterance_of(read_audio(file)))
    listener = Listener(
        EndPointer(EndPointSettings(rolling=True)),
        engine,
        Decider(engine, engine.config),
        inside=False,
    )
    listener.use([ada])
    with FileSource(file) as source:
        judgments = [each for block in source.blocks() for each in listener.feed(block)]
        judgments += listener.flush()

    assert verified.reason is ReasonCode.RECOGNIZED
    (judgment,) = judgments
    assert judgment.decision.reason is ReasonCode.RECOGNIZED
    assert verified.phrase is not None
    assert judgment.decision.scores["phrase_distance"] == pytest.approx(
        verified.phrase.distance, abs=0.01
    )
