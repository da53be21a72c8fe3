from __future__ import annotations

import numpy as np
import pytest

from edge.features import log_mel, remove_mean
from edge.types import FloatArray


def kaldi(samples: FloatArray) -> FloatArray:
    """The reference implementation."""
    native = pytest.importorskip("kaldi_native_fbank")
    options = native.FbankOptions()
    options.frame_opts.dither = 0.0
    options.frame_opts.samp_freq = 16_000.0
    options.mel_opts.num_bins = 80
    bank = native.OnlineFbank(options)
    bank.accept_waveform(16_000.0, (samples * 32_768.0).tolist())
    bank.input_finished()
    return np.stack([bank.get_frame(index) for index in range(bank.num_frames_ready)])


def noise(samples: int, level: float = 0.1) -> FloatArray:
    return np.random.default_rng(3).normal(0.0, level, samples).astype(np.float32)


def sweep() -> FloatArray:
    time = np.arange(20_000) / 16_000
    return (0.5 * np.sin(2 * np.pi * (50 + 3_000 * time) * time)).astype(np.float32)


@pytest.mark.runtime
@pytest.mark.parametrize(
    "samples",
    [
        noise(16_000),
        noise(16_000, 1e-4),
        noise(5_000) + np.float32(0.3),  # a microphone with an offset
        np.clip(noise(5_000, 2.0), -1, 1),
    ],
    ids=["noise", "faint", "offset", "clipped"],
)
def test_equals_kaldi(samples: FloatArray) -> None:
    np.testing.assert_allclose(log_mel(samples), kaldi(samples), atol=1e-3)


def test_equals_kaldi_on_a_sweep_where_there_is_energy() -> None:
    # Bands without energy hold rounding noise, and its logarithm is anyone's.
    found, expected = log_mel(sweep()), kaldi(sweep())
    strong = expected > expected.max() - 12.0
    assert strong.mean() > 0.05
    np.testing.assert_allclose(found[strong], expected[strong], atol=1e-3)


def test_digital_silence_is_kaldis_floor() -> None:
    silence = np.zeros(1_000, dtype=np.float32)
    np.testing.assert_allclose(log_mel(silence), kaldi(silence), atol=1e-3)


def test_long_recordings_are_cut_like_short_ones() -> None:
    # Longer than what is worked on at once.
    samples = noise(16_000 * 6)
    whole = log_mel(samples)
    assert whole.shape == (598, 80)
    np.testing.assert_allclose(whole[400:420], log_mel(samples[400 * 160 :])[:20], atol=1e-4)


@pytest.mark.parametrize(("samples", "frames"), [(0, 0), (399, 0), (400, 1), (559, 1), (560, 2)])
def test_only_whole_frames_count(samples: int, frames: int) -> None:
    features = log_mel(np.zeros(samples, dtype=np.float32))
    assert features.shape == (frames, 80)
    assert features.dtype == np.float32


@pytest.mark.filterwarnings("error")
def test_mean_removal_makes_the_level_not_matter() -> None:
    samples = noise(8_000)
    loud, quiet = remove_mean(log_mel(samples)), remove_mean(log_mel(samples * np.float32(0.1)))
    np.testing.assert_allclose(loud, quiet, atol=1e-3)
    np.testing.assert_allclose(loud.mean(axis=0), 0.0, atol=1e-4)
    assert not remove_mean(loud[:1]).any()
    assert remove_mean(loud[:0]).shape == (0, 80)
