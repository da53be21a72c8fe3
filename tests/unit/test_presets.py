"""The false-accept rate that is asked for, in the recognizer and in decisions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge.access.decider import Decider
from edge.config import Config
from edge.config.settings import FALSE_ACCEPT_PRESETS, SecurityConfig
from edge.recognition import Engine
from edge.types import Profile, ReasonCode, Utterance
from tests.unit.voices import enrolled, recording

PRESETS = ("relaxed", "balanced", "strict")
SAID = (
    "ada_right_phrase", "ada_wrong_phrase", "robin_right_phrase", "robin_near_phrase",
    "stranger_adas_phrase", "stranger_other_phrase",
)  # fmt: skip


@pytest.fixture(scope="module")
def engines(engine: Engine) -> dict[str, Engine]:
    configs = {name: Config(security=SecurityConfig(name)) for name in PRESETS}
    return {name: Engine(engine.models, config) for name, config in configs.items()}


@pytest.fixture(scope="module")
def residents(engine: Engine) -> list[Profile]:
    return [enrolled(engine, name) for name in ("ada", "robin")]


def between(low: Profile, high: Profile, share: float) -> Profile:
    """A profile whose voice lies between two others', and whose phrase is the second one's."""
    samples = []
    for one, other in zip(low.samples, high.samples):
        voice = (1 - share) * one.speaker_embedding + share * other.speaker_embedding
        voice /= np.linalg.norm(voice)
        samples.append(replace(other, speaker_embedding=voice, voice_variants=(), stretches=()))
    return replace(high, id=f"between-{share}", samples=tuple(samples))


def scoring(
    engine: Engine, low: Profile, high: Profile, utterance: Utterance, goal: float
) -> Profile:
    """A profile between two others whose voice score for an utterance is about `goal`."""
    analysis = engine.analyze(utterance)
    profiles = [between(low, high, share) for share in np.linspace(0.0, 1.0, 401)]
    scores = np.asarray([match.score for match in engine.match_speakers(profiles, analysis)])
    return profiles[int(np.argmin(np.abs(scores - goal)))]


def test_the_presets_are_the_rates_of_the_engine(engines: dict[str, Engine]) -> None:
    assert list(FALSE_ACCEPT_PRESETS) == list(PRESETS)
    for name, engine in engines.items():
        assert engine.scorer.rate == FALSE_ACCEPT_PRESETS[name]
    asked = Config(security=SecurityConfig(0.005))
    assert Engine(engines["strict"].models, asked).scorer.rate == 0.005


def test_a_stricter_preset_never_accepts_what_a_laxer_one_refuses(
    engines: dict[str, Engine], residents: list[Profile]
) -> None:
    ada, robin = residents
    # Voices on the way from one person to another pass every threshold somewhere.
    profiles = [between(robin, ada, share) for share in np.linspace(0.0, 1.0, 11)]
    found: set[tuple[bool, ...]] = set()
    for said in SAID:
        utterance = recording(said)
        analysis = engines["strict"].analyze(utterance)
        for profile in profiles:
            accepted = []
            for name in PRESETS:
                voice = engines[name].match_speakers([profile], analysis)[0]
                phrase = engines[name].match_phrases([profile], analysis)[0]
                accepted.append(voice.accepted and phrase.accepted)
            assert accepted == sorted(accepted, reverse=True), said
            found.add(tuple(accepted))
    # The trial is worth something: some are accepted by all, some by none, and some in between.
    assert {(True,) * 3, (False,) * 3} < found


@pytest.mark.parametrize("said", SAID)
def test_decisions_of_the_presets_are_ordered(
    engines: dict[str, Engine], residents: list[Profile], said: str
) -> None:
    decisions = [
        Decider(engines[name], engines[name].config).decide(recording(said), residents).decision
        for name in PRESETS
    ]
    granted = [decision.granted for decision in decisions]
    assert granted == sorted(granted, reverse=True)
    for part in ("voice", "phrase", "joint"):
        thresholds = [decision.scores[f"{part}_threshold"] for decision in decisions]
        assert thresholds == sorted(set(thresholds))


def test_verification_asks_for_the_configured_rate(
    engines: dict[str, Engine], residents: list[Profile]
) -> None:
    ada = residents[0]
    results = [engines[name].verify(ada, recording("ada_right_phrase")) for name in PRESETS]
    assert all(result.accepted for result in results)
    for name, result in zip(PRESETS, results):
        assert result.speaker is not None
        assert result.phrase is not None
        assert result.speaker.threshold == engines[name].scorer.voice_threshold()
        assert result.phrase.threshold == engines[name].scorer.phrase_threshold()


def test_identifying_among_more_people_asks_for_more(
    engines: dict[str, Engine], residents: list[Profile]
) -> None:
    engine = engines["balanced"]
    ada, robin = residents
    utterance = recording("ada_right_phrase")
    thresholds = []
    for size in (1, 2, 10):
        group = [ada, *(replace(robin, id=f"robin-{n}") for n in range(size - 1))]
        found = engine.identify(group, utterance)
        assert found.best is not None
        assert found.best.name == "ada"
        assert {match.threshold for match in found.ranking} == {found.best.threshold}
        assert found.best.threshold == engine.scorer.voice_threshold(among=size)
        thresholds.append(found.best.threshold)
    assert thresholds == sorted(set(thresholds))


def test_a_voice_that_is_enough_for_one_is_not_enough_among_many(
    engines: dict[str, Engine], residents: list[Profile]
) -> None:
    engine = engines["balanced"]
    ada, robin = residents
    utterance = recording("ada_right_phrase")

    # A voice whose score lies between what one person and what forty ask for.
    goal = (engine.scorer.voice_threshold() + engine.scorer.voice_threshold(40)) / 2
    near = scoring(engine, robin, ada, utterance, goal)
    crowd = [replace(robin, id=f"robin-{number}") for number in range(39)]
    assert engine.identify([near], utterance).best is not None
    among = engine.identify([near, *crowd], utterance)
    assert among.best is None
    assert among.reason is ReasonCode.UNKNOWN_SPEAKER
    assert among.ranking[0].profile_id == near.id


def test_people_who_share_a_phrase_must_come_nearer(
    engines: dict[str, Engine], residents: list[Profile]
) -> None:
    engine = engines["balanced"]
    decider = Decider(engine, engine.config)
    ada, robin = residents
    # Robin has enrolled Ada's phrase, in Robin's voice.
    sharing = replace(
        robin,
        samples=tuple(
            replace(own, phrase_embedding=other.phrase_embedding)
            for own, other in zip(robin.samples, ada.samples)
        ),
    )
    utterance = recording("ada_right_phrase")
    alone = decider.decide(utterance, [ada, robin])
    shared = decider.decide(utterance, [ada, sharing])
    assert alone.decision.granted
    assert shared.decision.granted
    assert shared.decision.name == "ada"
    assert alone.candidate is not None
    assert shared.candidate is not None
    assert (alone.candidate.sharing, shared.candidate.sharing) == (1, 2)
    scorer = engine.scorer
    assert alone.decision.scores["voice_threshold"] == scorer.voice_threshold()
    assert shared.decision.scores["voice_threshold"] == scorer.voice_threshold(2)
    assert shared.decision.scores["joint_threshold"] == alone.decision.scores["joint_threshold"]
    # A voice that would do alone and not for two is turned away, and its score says so.
    threshold = (scorer.voice_threshold() + scorer.voice_threshold(2)) / 2
    near = scoring(engine, robin, ada, utterance, threshold)
    opposite = tuple(
        replace(own, speaker_embedding=-own.speaker_embedding, voice_variants=(), stretches=())
        for own in sharing.samples
    )
    far = replace(sharing, id="far", samples=opposite)
    one = decider.decide(utterance, [near]).decision
    two = decider.decide(utterance, [near, far]).decision
    assert one.granted
    assert two.reason is ReasonCode.UNKNOWN_SPEAKER
    assert two.scores["joint"] < two.scores["joint_threshold"] <= one.scores["joint"]
