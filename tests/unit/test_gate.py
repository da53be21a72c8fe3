"""What is too bad to judge, and what the speaker is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge.audio.quality import MAX_PHRASE_S, explain, reason_to_refuse
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
        ({"net_speech_s": 0.3}, ReasonCode.TOO_SHORT, "longer phrase"),
        ({"level_dbfs": -70.0, "snr_db": 1.0}, ReasonCode.TOO_QUIET, "speak up"),
        ({"snr_db": 1.0}, ReasonCode.TOO_NOISY, "quieter moment"),
        ({"clipped_fraction": 0.5, "snr_db": 1.0}, ReasonCode.CLIPPED, "step back"),
    ],
)
def test_refuses_what_is_too_bad(
    changes: dict[str, float], reason: ReasonCode, advice: str
) -> None:
    bad = replace(GOOD, **changes)
    assert reason_to_refuse(bad, CONFIG) is reason
    assert advice in explain(reason, bad, CONFIG)
    assert "\n" not in explain(reason, bad, CONFIG)


def test_lets_good_speech_pass() -> None:
    assert reason_to_refuse(GOOD, CONFIG, duration_s=3.0) is None


def test_a_phrase_has_an_end() -> None:
    assert reason_to_refuse(GOOD, CONFIG, duration_s=MAX_PHRASE_S + 1) is ReasonCode.TOO_LONG
    assert reason_to_refuse(GOOD, CONFIG, duration_s=60.0, max_duration_s=300.0) is None


def test_the_configuration_decides_where_the_lines_are() -> None:
    strict = replace(CONFIG, min_snr_db=40.0)
    assert reason_to_refuse(GOOD, strict) is ReasonCode.TOO_NOISY
    lenient = replace(CONFIG, min_snr_db=0.0)
    assert reason_to_refuse(replace(GOOD, snr_db=0.5), lenient) is None
