"""Decisions: what is published of what was recognized."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from edge.access.decider import Decider
from edge.audio.files import read_audio
from edge.audio.utterance import utterance_of
from edge.config import AccessConfig, Config, DeviceConfig
from edge.recognition import Engine
from edge.resources import demo_directory
from edge.types import Outcome, Profile, Quality, ReasonCode, Utterance

CONFIG = Config(device=DeviceConfig(id="back-door"), access=AccessConfig(decision_lifetime_s=3.0))


def recording(name: str) -> Utterance:
    return utterance_of(read_audio(demo_directory() / f"{name}.flac").samples)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine.open(CONFIG)


@pytest.fixture(scope="module")
def residents(engine: Engine) -> list[Profile]:
    profiles = []
    for name in ("ada", "robin"):
        profile = Profile.begin(name, phrase=f"what {name} says")
        for number in (1, 2, 3):
            profile = engine.extend(profile, recording(f"{name}_enroll_{number}"))
        profiles.append(profile)
    return profiles


@pytest.mark.parametrize(
    ("said", "reason", "name", "phrase"),
    [
        ("ada_right_phrase", ReasonCode.RECOGNIZED, "ada", "what ada says"),
        ("robin_right_phrase", ReasonCode.RECOGNIZED, "robin", "what robin says"),
        ("ada_wrong_phrase", ReasonCode.WRONG_PHRASE, "ada", None),
        ("stranger_adas_phrase", ReasonCode.UNKNOWN_SPEAKER, None, "what ada says"),
        ("stranger_other_phrase", ReasonCode.NO_MATCH, None, None),
    ],
)
def test_says_who_what_and_why(
    engine: Engine, residents: list[Profile], said: str, reason: ReasonCode, name: str, phrase: str
) -> None:
    decision = Decider(engine, CONFIG).decide(recording(said), residents).decision
    assert decision.reason is reason
    assert decision.outcome is (
        Outcome.GRANTED if reason is ReasonCode.RECOGNIZED else Outcome.DENIED
    )
    assert (decision.name, decision.phrase) == (name, phrase)
    assert (decision.profile_id is None) is (name is None)
    assert decision.device == "back-door"
    assert decision.lifetime_s == 3.0
    content = json.loads(decision.to_json())
    assert content["reason"] == reason.value
    scores = content["scores"]
    assert set(scores) == {
        "joint", "joint_threshold", "voice", "voice_threshold", "voice_similarity",
        "phrase", "phrase_threshold", "phrase_distance",
    }  # fmt: skip
    # What is published lets a reader see which part it was that failed.
    voice, phrase = (scores[part] >= scores[f"{part}_threshold"] for part in ("voice", "phrase"))
    assert decision.granted is (voice and phrase)
    assert decision.granted is (scores["joint"] >= scores["joint_threshold"])
    assert voice is (name is not None)


def test_a_phrase_opens_only_for_the_voice_that_enrolled_it(
    engine: Engine, residents: list[Profile]
) -> None:
    ada, robin = residents
    # Robin's voice and Ada's phrase are both known, but do not belong together.
    swapped = [
        replace(ada, samples=tuple(
            replace(own, phrase_embedding=other.phrase_embedding)
            for own, other in zip(ada.samples, robin.samples)
        ))
    ]  # fmt: skip
    decision = Decider(engine, CONFIG).decide(recording("robin_right_phrase"), swapped).decision
    assert decision.reason is ReasonCode.UNKNOWN_SPEAKER


def test_among_many_the_right_one_is_found(engine: Engine, residents: list[Profile]) -> None:
    ada, robin = residents
    crowd = [replace(robin, id=f"robin-{number}") for number in range(30)]
    decision = Decider(engine, CONFIG).decide(recording("ada_right_phrase"), [*crowd, ada]).decision
    assert decision.granted
    assert decision.name == "ada"
    stranger = (
        Decider(engine, CONFIG).decide(recording("stranger_other_phrase"), [*crowd, ada]).decision
    )
    assert stranger.reason is ReasonCode.NO_MATCH


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"net_speech_s": 0.1}, ReasonCode.TOO_SHORT),
        ({"level_dbfs": -80.0}, ReasonCode.TOO_QUIET),
        ({"clipped_fraction": 0.3}, ReasonCode.CLIPPED),
    ],
)
def test_a_bad_recording_is_denied_with_its_reason(
    engine: Engine, residents: list[Profile], changes: dict[str, float], reason: ReasonCode
) -> None:
    good = recording("ada_right_phrase")
    bad = replace(good, quality=replace(good.quality, **changes))
    decision = Decider(engine, CONFIG).decide(bad, residents).decision
    assert not decision.granted
    assert decision.reason is reason
    assert decision.scores == {}
    assert decision.quality == bad.quality


def test_a_phrase_is_judged_in_any_noise(engine: Engine, residents: list[Profile]) -> None:
    """Recognized or tried in vain, it is what it is; what else is said is too noisy."""
    for name, reason in (
        ("ada_right_phrase", ReasonCode.RECOGNIZED),
        ("stranger_adas_phrase", ReasonCode.UNKNOWN_SPEAKER),
        ("ada_wrong_phrase", ReasonCode.TOO_NOISY),
    ):
        said = recording(name)
        noisy = replace(said, quality=replace(said.quality, snr_db=-20.0))
        assert Decider(engine, CONFIG).decide(noisy, residents).decision.reason is reason
        assert engine.verify(residents[0], noisy).reason is reason


def test_endless_speech_is_no_passphrase(engine: Engine, residents: list[Profile]) -> None:
    good = recording("ada_right_phrase")
    decider = Decider(engine, CONFIG)
    assert (
        decider.decide(replace(good, truncated=True), residents).decision.reason
        is ReasonCode.TOO_LONG
    )
    endless = Utterance(
        np.tile(good.samples, 10), 0.0, 30.0, replace(good.quality, net_speech_s=30.0)
    )
    assert decider.decide(endless, residents).decision.reason is ReasonCode.TOO_LONG


def test_no_embedding_leaves_the_device(engine: Engine, residents: list[Profile]) -> None:
    decision = Decider(engine, CONFIG).decide(recording("ada_right_phrase"), residents).decision
    assert len(decision.to_json()) < 1200
    for value in decision.as_dict().values():
        assert not isinstance(value, list)
    printed = repr(decision) + repr(residents[0]) + repr(recording("ada_right_phrase"))
    assert "array" not in printed


def test_quality_is_published_rounded() -> None:
    quality = Quality(-23.456, -61.01, 37.55, 0.00012, 1.8449, 0.551)
    assert quality.as_dict() == {
        "level_dbfs": -23.5,
        "noise_dbfs": -61.0,
        "snr_db": 37.5,
        "clipped_fraction": 0.0001,
        "net_speech_s": 1.84,
        "reverberation_s": 0.6,
    }
