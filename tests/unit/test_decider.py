"""Decisions from made-up figures: who it is about, why, and what is told of it."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edge.access import decider as decider_module
from edge.access.checks import DuressCheck, denied
from edge.access.decider import NEAREST_VOICES, Decider, Judgment, age_of
from edge.config import AccessConfig, Config, DeviceConfig, RecognitionConfig
from edge.errors import StoreError
from edge.recognition import Engine
from edge.recognition.results import Analysis, PhraseEmbedding
from edge.types import (
    AccessRule,
    Confidence,
    Event,
    PhraseMatch,
    Profile,
    ProfileKind,
    ReasonCode,
    SpeakerMatch,
    Utterance,
)
from tests.unit.judgments import QUALITY
from tests.unit.stores import make_sample

CONFIG = Config(device=DeviceConfig(id="back-door"), access=AccessConfig(decision_lifetime_s=3.0))
SAID = Utterance(
    np.zeros(32_000, np.float32), 10.0, 11.6, QUALITY, speech_ended_at=48.5, closed_at=49.25,
    lead_s=0.5,
)  # fmt: skip


class Scripted(Engine):
    """An engine to which each profile has the voice and the phrase that the test gives, by name."""

    def __init__(self, scores: Mapping[str, tuple[float, float]]) -> None:
        self.scores = scores
        self.refused: ReasonCode | None = None
        self.compared: list[str] = []
        self.mixed = False
        self.looked_again = 0
        self.by_looking_again = 0.0
        self.in_stretches = 0
        self.by_stretches = 0.0
        self.judged_even: list[str] = []
        self.config = CONFIG
        self.scorer: Any = SimpleNamespace(
            voice_threshold=lambda sharing, *, enrollments: sharing + enrollments / 10,
            joint=lambda voice, phrase, sharing, *, enrollments: (
                voice + 10 * phrase + 100 * sharing + 1000 * enrollments
            ),
            joint_threshold=7.0,
        )

    def fits(self, profile: Profile) -> bool:
        return profile.speaker_model != "another"

    def refusal(
        self, utterance: Utterance, kind: ProfileKind, quality: RecognitionConfig | None = None
    ) -> ReasonCode | None:
        assert kind is ProfileKind.PHRASE
        return self.refused

    def analyze(
        self,
        utterance: Utterance,
        *,
        with_phrase: bool = True,
        to_enroll: bool = False,
        phrase: PhraseEmbedding | None = None,
    ) -> Analysis:
        frames = phrase.frames if phrase else np.zeros((1, 96), np.float32)
        return Analysis(np.zeros(192, np.float32), frames, QUALITY, {"speaker": 40.0})

    def without_echo(self, utterance: Utterance, analysis: Analysis) -> Analysis:
        assert analysis.stretches
        self.looked_again += 1
        return replace(analysis, without_echo=np.zeros(192, np.float32))

    def with_stretches(self, utterance: Utterance, analysis: Analysis) -> Analysis:
        self.in_stretches += 1
        return replace(analysis, stretches=3 * (np.zeros(192, np.float32),))

    def match_speakers(
        self, profiles: Sequence[Profile], analysis: Analysis, *, among: int = 1
    ) -> list[SpeakerMatch]:
        gain = self.by_looking_again if analysis.without_echo is not None else 0.0
        gain += self.by_stretches if analysis.stretches else 0.0
        return [
            SpeakerMatch(each.id, each.name, 0.5, self.scores[each.name][0] + gain, 1.0)
            for each in profiles
        ]

    def match_stretches(
        self, profile: Profile, analysis: Analysis, voice: SpeakerMatch
    ) -> SpeakerMatch:
        assert analysis.stretches
        self.judged_even.append(profile.name)
        return replace(voice, score=voice.threshold - 1.0) if self.mixed else voice

    def match_phrases(self, profiles: Sequence[Profile], analysis: Analysis) -> list[PhraseMatch]:
        self.compared += [each.name for each in profiles]
        return [
            PhraseMatch(each.id, each.phrase, 0.1, self.scores[each.name][1], 2.0)
            for each in profiles
        ]


def person(name: str, samples: int = 3, **changes: Any) -> Profile:
    enrolled = tuple(make_sample(number) for number in range(samples))
    profile = Profile.begin(name, required=3, phrase=f"what {name} says")
    return replace(profile, **{"id": name, "samples": enrolled, **changes})


def decide(engine: Engine, *profiles: Profile, said: Utterance = SAID) -> Judgment:
    return Decider(engine, CONFIG).decide(said, profiles)


def people(scores: Mapping[str, tuple[float, float]]) -> list[Profile]:
    """`ada2` is Ada's duress phrase."""
    return [
        person(name, duress_of=name.removesuffix("2") if name.endswith("2") else None)
        for name in scores
    ]


@pytest.fixture(autouse=True)
def clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count(100.0, 0.25)
    times = SimpleNamespace(
        time=lambda: 1_700_000_000.0, monotonic=lambda: 50.0, perf_counter=lambda: next(ticks)
    )
    monkeypatch.setattr(decider_module, "time", times)


@pytest.mark.parametrize(("ended_at", "age_s"), [(48.5, 1.5), (50.5, 0.0), (0.0, 0.0), (0.1, 49.9)])
def test_how_old_speech_is(ended_at: float, age_s: float) -> None:
    """A recording has no age."""
    assert age_of(replace(SAID, speech_ended_at=ended_at)) == age_s


def test_all_that_is_told_of_somebody_who_may_come_in() -> None:
    engine = Scripted({"ada": (5.0, 4.0)})
    judgment = decide(engine, person("ada"))
    decision = judgment.decision
    assert decision.granted
    assert decision.as_dict() == {
        "id": decision.id,
        "time": "2023-11-14T22:13:18.500Z",  # when the speech ended
        "device": "back-door",
        "decision": "granted",
        "reason": "recognized",
        "confidence": "normal",
        "profile_id": "ada",
        "name": "ada",
        "phrase": "what ada says",
        "scores": {
            "joint": 3145, "joint_threshold": 7, "voice": 5, "voice_threshold": 1.3,
            "voice_similarity": 0.5, "phrase": 4, "phrase_threshold": 2, "phrase_distance": 0.1,
        },
        "utterance_s": 1.1,
        "quality": QUALITY.as_dict(),
        "timings_ms": {"endpoint": 750.0, "speaker": 40.0, "match": 250.0, "decide": 750.0},
        "lifetime_s": 3.0,
    }  # fmt: skip
    assert judgment.utterance is SAID
    assert judgment.candidate is not None
    assert (judgment.candidate.profile.name, judgment.candidate.duress) == ("ada", False)
    assert decide(engine, person("ada")).decision.id != decision.id


@pytest.mark.parametrize(
    ("scores", "reason", "about", "name", "phrase"),
    [
        # A score that reaches its threshold counts: 1.3 of the voice, 2 of the phrase.
        ({"ada": (1.3, 2.0)}, "recognized", "ada", "ada", "what ada says"),
        ({"ada": (1.29, 2.0)}, "unknown_speaker", "ada", None, "what ada says"),
        ({"ada": (1.3, 1.99)}, "wrong_phrase", "ada", "ada", None),
        ({"ada": (1.29, 1.99)}, "no_match", "ada", None, None),
        # Two people who share a phrase: 2.3 of the voice, and the nearer one it is.
        ({"ada": (2.3, 2.0), "bob": (2.2, 9.0)}, "recognized", "ada", "ada", "what ada says"),
        ({"ada": (2.29, 2.0), "bob": (2.2, 9.0)}, "unknown_speaker", "bob", None, "what bob says"),
        ({"ada": (3.0, 3.0), "bob": (4.0, 2.0)}, "recognized", "bob", "bob", "what bob says"),
        # One person's two phrases: the nearer phrase, and no higher threshold.
        ({"ada": (4.0, 2.0), "ada2": (3.0, 3.0)}, "recognized", "ada2", "ada2", "what ada2 says"),
        ({"ada": (1.3, 3.0), "ada2": (1.4, 2.0)}, "recognized", "ada", "ada", "what ada says"),
        ({"ada": (3.0, 2.0), "ada2": (2.5, 2.5), "bob": (2.4, 9.0)},
         "recognized", "ada2", "ada2", "what ada2 says"),
        # One has the voice and another the phrase.
        ({"ada": (3.0, 0.0), "bob": (1.0, 4.0)}, "wrong_phrase", "ada", "ada", None),
        ({"ada": (3.0, 1.0), "bob": (4.0, 0.0)}, "wrong_phrase", "bob", "bob", None),
        ({"ada": (0.0, 3.0), "bob": (1.0, 0.0)}, "unknown_speaker", "ada", None, "what ada says"),
        # Neither: the one whose weaker part is nearer.
        ({"ada": (1.0, -5.0), "bob": (0.0, 0.0)}, "no_match", "bob", None, None),
        ({"ada": (0.2, 1.0), "bob": (1.0, 0.0)}, "no_match", "ada", None, None),
    ],
)  # fmt: skip
def test_who_it_is_about_and_why(
    scores: dict[str, tuple[float, float]],
    reason: str,
    about: str,
    name: str | None,
    phrase: str | None,
) -> None:
    judgment = decide(Scripted(scores), *people(scores))
    decision = judgment.decision
    assert judgment.candidate is not None
    assert (decision.reason.value, judgment.candidate.profile.name) == (reason, about)
    assert (decision.profile_id, decision.name, decision.phrase) == (name, name, phrase)
    assert decision.granted is (reason == "recognized")


@pytest.mark.parametrize(
    ("scores", "in_stretches", "judged"),
    [
        ((5.0, 4.0), 1, ["ada", "ada"]),  # with the echo and without it
        ((1.29, 4.0), 1, []),
        ((5.0, 1.99), 0, []),
        ((0.0, 0.0), 0, []),
    ],
)
def test_only_who_says_a_phrase_is_heard_in_stretches(
    scores: tuple[float, float], in_stretches: int, judged: list[str]
) -> None:
    """Whether they are even is asked where all else is right. A refused voice has no name."""
    engine = Scripted({"ada": scores})
    engine.mixed = True
    decision = decide(engine, person("ada")).decision
    assert not decision.granted
    assert (engine.in_stretches, engine.judged_even) == (in_stretches, judged)
    if judged:
        assert decision.reason is ReasonCode.UNKNOWN_SPEAKER
        assert (decision.name, decision.profile_id) == (None, None)
        assert decision.phrase == "what ada says"
        assert decision.scores["voice"] == pytest.approx(0.3)
        assert decision.scores["voice_threshold"] == 1.3


@pytest.mark.parametrize(
    ("scores", "gain", "looked", "reason"),
    [
        ((9.0, 9.0), 5.0, 0, ReasonCode.RECOGNIZED),
        ((0.0, 9.0), 5.0, 1, ReasonCode.RECOGNIZED),
        ((0.0, 9.0), 0.5, 1, ReasonCode.UNKNOWN_SPEAKER),
        ((0.0, 0.0), 5.0, 0, ReasonCode.NO_MATCH),
        ((9.0, 0.0), 5.0, 0, ReasonCode.WRONG_PHRASE),
    ],
)
def test_a_voice_is_looked_at_again_where_only_it_is_missing(
    scores: tuple[float, float], gain: float, looked: int, reason: ReasonCode
) -> None:
    engine = Scripted({"ada": scores})
    engine.by_looking_again = gain
    judgment = decide(engine, person("ada"))
    assert (engine.looked_again, judgment.decision.reason) == (looked, reason)
    assert judgment.candidate is not None
    again = judgment.candidate.analysis.without_echo is not None
    assert again == bool(looked)
    assert engine.judged_even == ["ada"] * judgment.decision.granted


@pytest.mark.parametrize(
    ("voice", "gain", "looked", "reason"),
    [
        (1.0, 0.3, 0, ReasonCode.RECOGNIZED),
        (1.0, 0.2, 1, ReasonCode.UNKNOWN_SPEAKER),
        (1.4, -0.2, 1, ReasonCode.UNKNOWN_SPEAKER),
    ],
)
def test_the_stretches_count_for_a_voice_and_against_it(
    voice: float, gain: float, looked: int, reason: ReasonCode
) -> None:
    engine = Scripted({"ada": (voice, 9.0)})
    engine.by_stretches = gain
    decision = decide(engine, person("ada")).decision
    assert (engine.looked_again, decision.reason) == (looked, reason)
    assert decision.scores["voice"] == pytest.approx(voice + gain)


def test_whose_phrase_it_is_not_keeps_the_voice_as_a_whole() -> None:
    """It was another phrase's sounds that they enrolled: Ada says Bert's phrase."""
    engine = Scripted({"ada": (1.4, 0.0), "bert": (0.0, 9.0)})
    engine.by_stretches = -1.0
    decision = decide(engine, person("ada"), person("bert")).decision
    assert (decision.reason, decision.name) == (ReasonCode.WRONG_PHRASE, "ada")


@pytest.mark.parametrize(
    ("scores", "quiet", "noisy"),
    [
        ((9.0, 9.0), "recognized", "recognized"),
        ((0.0, 9.0), "unknown_speaker", "unknown_speaker"),
        ((9.0, 0.0), "wrong_phrase", "too_noisy"),
        ((0.0, 0.0), "no_match", "too_noisy"),
    ],
)
def test_noise_is_the_reason_only_where_no_phrase_was_recognized(
    scores: tuple[float, float], quiet: str, noisy: str
) -> None:
    least_db = CONFIG.recognition.min_snr_db
    for snr_db, reason in ((least_db, quiet), (least_db - 0.1, noisy)):
        said = replace(SAID, quality=replace(QUALITY, snr_db=snr_db))
        assert decide(Scripted({"ada": scores}), person("ada"), said=said).decision.reason == reason


def test_a_voice_is_looked_at_again_where_someone_else_s_is_accepted() -> None:
    engine = Scripted({"ada": (0.0, 9.0), "bert": (9.0, 0.0)})
    engine.by_looking_again = 5.0
    decision = decide(engine, person("ada"), person("bert")).decision
    assert (decision.granted, decision.name) == (True, "ada")


def test_a_phrase_is_found_of_whom_the_voice_is_not_among_the_nearest() -> None:
    names = [f"p{number:02}" for number in range(NEAREST_VOICES + 1)]
    scores = {name: (-float(number), 0.0) for number, name in enumerate(names)}
    engine = Scripted({**scores, names[-1]: (-99.0, 9.0)})
    engine.by_looking_again = 200.0
    decision = decide(engine, *map(person, names)).decision
    assert (decision.granted, decision.name) == (True, names[-1])


def test_a_phrase_that_was_never_written_is_none() -> None:
    decision = decide(Scripted({"ada": (5.0, 4.0)}), person("ada", phrase="")).decision
    assert (decision.granted, decision.phrase) == (True, None)


@pytest.mark.parametrize(
    ("score", "confidence"),
    [(1.3, "low"), (2.39, "low"), (2.4, "normal"), (3.6, "normal"), (3.61, "high"), (0, "normal")],
)
def test_the_weaker_part_says_how_sure_it_is(score: float, confidence: str) -> None:
    assert decide(Scripted({"ada": (score, 9.0)}), person("ada")).decision.confidence == confidence


@pytest.mark.parametrize(
    ("phrase", "accepted", "compared"),
    [(2.0, 0, 10), (2.0, 10, 10), (2.0, 11, 11), (2.0, 12, 12), (1.9, 0, 12)],
)
def test_the_phrases_of_the_nearest_voices_are_compared(
    phrase: float, accepted: int, compared: int
) -> None:
    """Ten of them, and those of all whose voice it may be; the others' if it is none of these."""
    scores = {
        f"p{number:02}": ((2.0 if number < accepted else 0.9) - number / 100, phrase)
        for number in range(12)
    }
    engine = Scripted(scores)
    decide(engine, *reversed([person(name) for name in scores]))
    assert engine.compared == [f"p{number:02}" for number in range(compared)]


def test_who_can_open() -> None:
    ready = person("ada")
    phrases = [ready, person("ada2", duress_of="ada")]
    useless = [
        person("few", samples=2),
        person("voice", kind=ProfileKind.VOICE, required=0.5),
        person("other", speaker_model="another"),
        person("lone2", duress_of="lone"),
        person("few2", duress_of="few"),
    ]
    decider = Decider(Scripted({}), CONFIG)
    assert decider.eligible([useless[0], *phrases, *useless[1:]]) == phrases
    decision = decider.decide(SAID, useless).decision
    assert (decision.reason, decision.confidence) == (ReasonCode.NOBODY_ENROLLED, Confidence.HIGH)


def test_a_refused_recording_is_compared_with_nobody() -> None:
    engine = Scripted({"ada": (5.0, 4.0)})
    engine.refused = ReasonCode.TOO_QUIET
    late = replace(SAID, closed_at=1.0)
    for profiles in ([], [person("ada")]):
        judgment = decide(engine, *profiles, said=late)
        decision = judgment.decision
        assert (decision.granted, decision.reason) == (False, ReasonCode.TOO_QUIET)
        assert (decision.confidence, decision.scores) == (Confidence.HIGH, {})
        assert (decision.name, judgment.candidate) == (None, None)
        assert decision.timings_ms == {"endpoint": 0.0, "decide": 250.0}
        assert decision.quality == QUALITY
        assert decision.utterance_s == pytest.approx(1.1)


def test_a_phrase_that_is_embedded_already_is_not_embedded_anew() -> None:
    phrase = PhraseEmbedding(np.ones((2, 96), np.float32), 1.0)
    engine = Scripted({"ada": (5.0, 4.0)})
    judgment = Decider(engine, CONFIG).decide(SAID, [person("ada")], phrase)
    assert judgment.candidate is not None
    assert judgment.candidate.analysis.phrase_embedding is phrase.frames


def test_a_duress_phrase_becomes_the_person_s_own() -> None:
    """The threshold is that of the own phrase, enrolled four times; the margin stays."""
    own = person("ada", samples=4)
    scores = {"ada": (0.0, 0.0), "ada2": (5.0, 4.0), "bob": (0.0, 3.0)}
    engine, alarms = Scripted(scores), list[Event]()
    everybody = [own, person("ada2", duress_of="ada"), person("bob")]
    check = DuressCheck(lambda: everybody, engine.scorer, alarms.append)
    judgment = decide(engine, *everybody)
    found = check.review(judgment)
    assert (found.decision.profile_id, found.decision.name) == ("ada", "ada")
    assert found.decision.phrase == "what ada says"
    assert found.decision.scores == {
        **judgment.decision.scores, "voice": pytest.approx(5.1), "voice_threshold": 2.4,
    }  # fmt: skip
    assert judgment.decision.scores["voice_threshold"] == 2.3
    assert found.candidate is not None
    assert (found.candidate.profile, found.candidate.duress) == (own, True)
    assert found.candidate.voice.profile_id == found.candidate.phrase.profile_id == "ada"
    assert (found.candidate.voice.name, found.candidate.phrase.phrase) == ("ada", "what ada says")
    assert [alarm.profile_id for alarm in alarms] == ["ada"]
    for score, name in (((0.0, 4.0), None), ((5.0, 0.0), "ada")):
        engine.scores = {**scores, "ada2": score, "bob": (0.0, 0.0)}
        denied = check.review(decide(engine, *everybody)).decision
        assert (denied.granted, denied.profile_id, denied.name) == (False, name, name)
    usual = decide(Scripted({"ada": (5.0, 4.0), "ada2": (0.0, 0.0), "bob": (0.0, 0.0)}), *everybody)
    assert check.review(usual) is usual
    assert len(alarms) == 1


def test_a_duress_phrase_opens_whatever_becomes_of_the_alarm(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A refusal would endanger the speaker; and above debug level nothing shows it."""

    def fail(event: Event) -> None:
        raise StoreError("no space is left")

    caplog.set_level(logging.DEBUG)
    everybody = [person("ada"), person("ada2", duress_of="ada")]
    engine = Scripted({"ada": (0.0, 0.0), "ada2": (5.0, 4.0)})
    judgment = decide(engine, *everybody)
    assert DuressCheck(lambda: everybody, engine.scorer, fail).review(judgment).decision.granted
    assert [(each.levelname, each.getMessage()) for each in caplog.records] == [
        ("DEBUG", "the alarm cannot be raised: no space is left")
    ]
    # Deleted between being recognized and being decided on.
    alarms = list[Event]()
    found = DuressCheck(lambda: everybody[1:], engine.scorer, alarms.append).review(judgment)
    assert found == replace(denied(judgment, ReasonCode.NO_MATCH, named=False), candidate=None)
    assert [alarm.profile_id for alarm in alarms] == ["ada"]


# --- who may open ---


@pytest.mark.parametrize(
    ("forbidden", "chosen"),
    [((), "ada"), (("ada",), "ada too"), (("ada too",), "ada"), (("ada", "ada too"), "ada")],
)
def test_of_two_who_match_the_one_that_may_open_decides(
    forbidden: tuple[str, ...], chosen: str
) -> None:
    """Somebody who is enrolled under two names; where neither may, it is the nearer voice."""
    scores = {"ada": (9.0, 9.0), "ada too": (5.0, 9.0), "robin": (0.0, 9.0)}
    everybody = [person(name, rule=AccessRule(enabled=name not in forbidden)) for name in scores]
    decider = Decider(Scripted(scores), CONFIG, lambda rule: rule.enabled)
    judgment = decider.decide(SAID, everybody)
    assert judgment.candidate is not None
    assert (judgment.candidate.profile.name, judgment.decision.name) == (chosen, chosen)


def test_a_duress_phrase_goes_by_the_rule_of_its_person() -> None:
    scores = {"ada": (9.0, 1.0), "ada2": (9.0, 9.0), "bob": (5.0, 9.0)}
    ada, second, bob = people(scores)
    forbidden = replace(ada, rule=AccessRule(enabled=False))
    decider = Decider(Scripted(scores), CONFIG, lambda rule: rule.enabled)
    assert decider.decide(SAID, [forbidden, second, bob]).decision.name == "bob"
    assert decider.decide(SAID, [ada, second, bob]).decision.name == "ada2"


def test_the_answer_during_a_lock_out_has_nothing_of_the_utterance() -> None:
    judgment = Decider(Scripted({}), CONFIG).unheard(SAID)
    assert (judgment.locked_out, judgment.published, judgment.candidate) == (True, True, None)
    assert judgment.decision.reason is ReasonCode.LOCKED_OUT
    assert len(judgment.utterance.samples) == 0
    # The time is that of the answer, and not that at which the speech ended.
    assert age_of(judgment.utterance) == 0.0
