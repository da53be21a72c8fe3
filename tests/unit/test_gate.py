"""What is too bad to judge, and what the speaker is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from edge.audio.quality import explain, reason_to_refuse
from edge.config import RecognitionConfig
from edge.types import Quality, ReasonCode

GOOD = Quality(
    level_dbfs=-24.0, noise_dbfs=-60.0, snr_db=36.0, clipped_fraction=0.0, net_speech_s=1.8
)
CONFIG = RecognitionConfig()


@pytest.mark.parametrize(
    ("changes", "reason", "advice"),
    [
        ({"net_speech_s": 0.0, "level_dbfs": -100.0}, ReasonCode.TOO_SHORT, "no speech"),
        ({"net_speech_s": 0.3}, ReasonCode.TOO_SHORT, "0.3 s of speech, at least 0.6 needed"),
        ({"level_dbfs": -70.0, "snr_db": 1.0}, ReasonCode.TOO_QUIET, "-70 dB, at least -65 needed"),
        ({"snr_db": 1.0, "net_speech_s": 0.3}, ReasonCode.TOO_NOISY, "1 dB above the noise"),
        ({"clipped_fraction": 0.5, "level_dbfs": -70.0}, ReasonCode.CLIPPED, "50% of it at full"),
    ],
)
def test_what_helps_most_is_said_first(
    changes: dict[str, float], reason: ReasonCode, advice: str
) -> None:
    bad = replace(GOOD, **changes)
    assert reason_to_refuse(bad, CONFIG) is reason
    assert advice in explain(reason, bad, CONFIG)
    assert "\n" not in explain(reason, bad, CONFIG)


STRICT = RecognitionConfig(
    min_net_speech_s=2.0, min_snr_db=40.0, min_level_dbfs=-20.0, max_clipped_fraction=0.1
)


@pytest.mark.parametrize(
    ("config", "good_enough", "too_bad", "reason"),
    [
        (CONFIG, {"net_speech_s": 0.6}, {"net_speech_s": 0.59}, ReasonCode.TOO_SHORT),
        (CONFIG, {"snr_db": 3.0}, {"snr_db": 2.9}, ReasonCode.TOO_NOISY),
        (CONFIG, {"level_dbfs": -65.0}, {"level_dbfs": -65.1}, ReasonCode.TOO_QUIET),
        (CONFIG, {"clipped_fraction": 0.02}, {"clipped_fraction": 0.021}, ReasonCode.CLIPPED),
        (STRICT, {"net_speech_s": 2.0}, {"net_speech_s": 1.9}, ReasonCode.TOO_SHORT),
        (STRICT, {"snr_db": 40.0}, {"snr_db": 39.9}, ReasonCode.TOO_NOISY),
        (STRICT, {"level_dbfs": -20.0}, {"level_dbfs": -20.1}, ReasonCode.TOO_QUIET),
        (STRICT, {"clipped_fraction": 0.1}, {"clipped_fraction": 0.11}, ReasonCode.CLIPPED),
    ],
)
def test_where_the_lines_are(
    config: RecognitionConfig,
    good_enough: dict[str, Any],
    too_bad: dict[str, Any],
    reason: ReasonCode,
) -> None:
    best = Quality(-10.0, -70.0, 60.0, 0.0, 5.0)
    assert reason_to_refuse(replace(best, **good_enough), config) is None
    assert reason_to_refuse(replace(best, **too_bad), config) is reason


def test_a_phrase_has_an_end() -> None:
    assert reason_to_refuse(GOOD, CONFIG, duration_s=15.0) is None
    assert reason_to_refuse(GOOD, CONFIG, duration_s=15.01) is ReasonCode.TOO_LONG
    assert "pause" in explain(ReasonCode.TOO_LONG, GOOD, CONFIG)
    assert reason_to_refuse(GOOD, CONFIG, duration_s=300.0, max_duration_s=300.0) is None
    too_long = replace(GOOD, clipped_fraction=1.0)
    assert reason_to_refuse(too_long, CONFIG, duration_s=16.0) is ReasonCode.TOO_LONG
    silent = replace(GOOD, net_speech_s=0.0)
    assert reason_to_refuse(silent, CONFIG, duration_s=16.0) is ReasonCode.TOO_SHORT
