"""The phrase model's front end against the model file that it stands in for.

`tests/fixtures/melspectrogram.npz` holds what `melspectrogram.tflite` of pyopen-wakeword 1.1.0
gives for the signals below, before the `x / 10 + 2` of the wake-word frameworks.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge.features import mel_frames
from edge.types import FloatArray

GOLDEN = Path(__file__).resolve().parents[1] / "fixtures" / "melspectrogram.npz"


def signals() -> dict[str, FloatArray]:
    time = np.arange(8_000) / 16_000
    noise = np.random.default_rng(7).normal(0.0, 0.1, 6_000)
    sweep = 0.5 * np.sin(2 * np.pi * (100 + 3_500 * time) * time)
    # Digital silence and a loud tone: the 80 dB range must lift the silence.
    burst = np.concatenate([np.zeros(3_000), 0.9 * np.sin(2 * np.pi * 440 * time[:3_000])])
    named = {"noise": noise, "sweep": sweep, "burst": burst, "silence": np.zeros(1_500)}
    return {name: signal.astype(np.float32) for name, signal in named.items()}


@pytest.mark.runtime
@pytest.mark.parametrize("name", ["noise", "sweep", "burst", "silence"])
def test_equals_the_original(name: str) -> None:
    with np.load(GOLDEN) as golden:
        expected = golden[name] / 10.0 + 2.0
    found = mel_frames(signals()[name])
    assert found.dtype == np.float32
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_range_is_80_db() -> None:
    frames = mel_frames(signals()["burst"])
    assert frames.max() - frames.min() == pytest.approx(8.0)


@pytest.mark.parametrize(("samples", "frames"), [(0, 0), (511, 0), (512, 1), (671, 1), (672, 2)])
def test_only_whole_frames_count(samples: int, frames: int) -> None:
    assert mel_frames(np.zeros(samples, dtype=np.float32)).shape == (frames, 32)
