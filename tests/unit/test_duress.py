"""The duress phrase: it opens as usual, raises the alarm, and cannot be told from the other."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from edge.access.checks import DuressCheck, PolicyCheck
from edge.access.decider import Decider, Judgment
from edge.access.listener import Listener
from edge.audio.end_pointing import EndPointer, EndPointSettings
from edge.audio.utterance import utterance_of
from edge.cli.main import main
from edge.config import AudioConfig, Config, EnrollmentConfig
from edge.enrollment.checks import require_apart
from edge.enrollment.process import Enrollment, EnrollmentRequest
from edge.errors import EnrollmentRejected, ProfileError
from edge.recognition import Engine
from edge.resources import demo_directory
from edge.service.profile_cache import adaptation_from
from edge.store import ProfileStore, open_store
from edge.types import (
    AccessRule,
    EnrollmentSample,
    Event,
    EventKind,
    Profile,
    ProfileKind,
    ReasonCode,
    Utterance,
)
from tests.unit.commands import Capture, run_json
from tests.unit.test_policy import clock_at
from tests.unit.voices import enrolled, in_blocks, quiet, recording, spliced

CONFIG = Config()


@pytest.fixture(scope="module")
def ada(engine: Engine) -> Profile:
    return enrolled(engine, "ada", phrase="coffee")


@pytest.fixture(scope="module")
def duress(engine: Engine, ada: Profile) -> Profile:
    """Ada's other sentence, said once and enrolled twice: there is no second saying of it."""
    profile = Profile.begin("Ada (duress)", phrase="kitchen window", required=2)
    profile = engine.extend(profile, recording("ada_wrong_phrase"))
    other = replace(profile.samples[0], created_at=profile.samples[0].created_at + 1)
    return replace(profile, samples=(*profile.samples, other), duress_of=ada.id)


@pytest.fixture(scope="module")
def everybody(engine: Engine, ada: Profile, duress: Profile) -> list[Profile]:
    return [ada, duress, enrolled(engine, "robin")]


class House:
    """A decider and what follows it, with the alarms that it raised."""

    def __init__(self, engine: Engine, profiles: Sequence[Profile], hour: int = 12) -> None:
        self.alarms: list[Event] = []
        self.profiles = list(profiles)
        self.decider = Decider(engine, CONFIG)
        self.check = DuressCheck(lambda: self.profiles, engine.scorer, self.alarms.append)
        clock = clock_at(hour)
        self.policy = PolicyCheck(CONFIG.device.id, clock)

    def hear(self, utterance: Utterance) -> Judgment:
        return self.review(self.decider.decide(utterance, self.profiles))

    def review(self, judgment: Judgment) -> Judgment:
        return self.policy.review(self.check.review(judgment))


def shape(value: Any) -> Any:
    """What is left of a decision when figures, the id and the time are taken away."""
    if isinstance(value, dict):
        return {
            name: "*" if name in ("id", "time") else shape(each) for name, each in value.items()
        }
    return "a number" if type(value) in (int, float) else value


# --- what is decided ---


def test_it_opens_as_the_person_s_own_phrase_and_raises_the_alarm(
    engine: Engine, everybody: list[Profile], ada: Profile, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    house = House(engine, everybody)
    usual = house.hear(recording("ada_right_phrase"))
    assert house.alarms == []
    forced = house.hear(recording("ada_wrong_phrase"))
    assert usual.decision.granted
    assert [event.kind for event in house.alarms] == [EventKind.DURESS]
    assert house.alarms[0].profile_id == ada.id
    assert house.alarms[0].detail == {"decision": forced.decision.id, "device": "front-door"}
    one, other = (json.loads(each.decision.to_json()) for each in (usual, forced))
    assert shape(one) == shape(other)
    assert list(one) == list(other)
    assert list(one["scores"]) == list(other["scores"])
    for name in ("profile_id", "name", "phrase", "decision", "reason", "confidence", "device"):
        assert one[name] == other[name], name
    # Not even what was asked of the voice, which depends on how often a phrase was enrolled.
    for name in ("voice_threshold", "phrase_threshold", "joint_threshold"):
        assert one["scores"][name] == other["scores"][name], name
    assert "kitchen" not in forced.decision.to_json()
    assert "duress" not in forced.decision.to_json()
    assert caplog.records == []


def test_scores_still_belong_together(engine: Engine, everybody: list[Profile]) -> None:
    house = House(engine, everybody)
    before = house.decider.decide(recording("ada_wrong_phrase"), everybody).decision.scores
    after = house.hear(recording("ada_wrong_phrase")).decision.scores
    for name in ("joint", "voice_similarity", "phrase", "phrase_distance"):
        assert after[name] == before[name]
    margin = before["voice"] - before["voice_threshold"]
    assert before["voice_threshold"] != after["voice_threshold"]
    assert after["voice"] - after["voice_threshold"] == pytest.approx(margin)


@pytest.mark.parametrize(
    "name", ["stranger_adas_phrase", "stranger_other_phrase", "robin_enroll_1"]
)
def test_other_voices_raise_no_alarm(engine: Engine, everybody: list[Profile], name: str) -> None:
    house = House(engine, everybody)
    judgment = house.hear(recording(name))
    assert house.alarms == []
    assert "duress" not in judgment.decision.to_json()


def test_a_denial_does_not_tell_of_it_either(
    engine: Engine, everybody: list[Profile], ada: Profile, duress: Profile
) -> None:
    """Ada says something else, and a stranger says her duress phrase."""
    house = House(engine, everybody)
    analysis = engine.analyze(recording("stranger_other_phrase"))
    said = replace(
        duress.samples[0],
        phrase_embedding=analysis.phrase_embedding,
        phrase_variants=(),
    )
    strange = replace(duress, samples=(said, replace(said, created_at=1.0)))
    house.profiles = [ada, strange]
    heard = house.hear(recording("stranger_other_phrase")).decision
    assert heard.reason is ReasonCode.UNKNOWN_SPEAKER
    assert (heard.profile_id, heard.name, heard.phrase) == (None, None, "coffee")
    house.profiles = [ada, strange]
    heard = house.hear(recording("ada_wrong_phrase")).decision
    assert heard.reason is ReasonCode.WRONG_PHRASE
    assert (heard.profile_id, heard.name, heard.phrase) == (ada.id, ada.name, None)
    assert house.alarms == []


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        (AccessRule(enabled=False), ReasonCode.DISABLED),
        (AccessRule(doors=("garage",)), ReasonCode.NOT_HERE),
        (AccessRule(last_day=date(2020, 1, 1)), ReasonCode.NOT_NOW),
    ],
)
def test_the_person_s_rule_applies_and_the_alarm_is_raised_all_the_same(
    engine: Engine, everybody: list[Profile], rule: AccessRule, reason: ReasonCode
) -> None:
    house = House(engine, everybody)
    house.profiles[0] = replace(everybody[0], rule=rule)
    usual = house.hear(recording("ada_right_phrase")).decision
    assert house.alarms == []
    forced = house.hear(recording("ada_wrong_phrase")).decision
    assert len(house.alarms) == 1
    assert (usual.reason, forced.reason) == (reason, reason)
    assert shape(usual.as_dict()) == shape(forced.as_dict())


def test_without_the_person_s_own_profile_it_opens_nothing(
    engine: Engine, everybody: list[Profile], ada: Profile
) -> None:
    house = House(engine, everybody)
    unfinished = replace(ada, samples=ada.samples[:1])
    for left in ([unfinished, *everybody[1:]], everybody[1:]):
        house.profiles = left
        assert not house.hear(recording("ada_wrong_phrase")).decision.granted


def test_nothing_new_is_learned_from_it(engine: Engine, everybody: list[Profile]) -> None:
    house = House(engine, everybody)
    usual, forced = (house.hear(recording(f"ada_{name}_phrase")) for name in ("right", "wrong"))
    config = EnrollmentConfig(adapt=True)
    assert usual.candidate is not None
    assert forced.candidate is not None
    assert forced.candidate.duress
    learned = adaptation_from(usual, engine, config)
    assert learned is not None
    # Where something would be learned from the own phrase, it is what was enrolled, once more: that
    # nothing is learned would show in the log and in the profile.
    marked = replace(usual, candidate=replace(usual.candidate, duress=True))
    for judgment in (forced, marked):
        again = adaptation_from(judgment, engine, config)
        assert again is not None
        profile, sample = again
        enrolled_last = profile.enrolled[-1]
        assert profile.id == learned[0].id
        assert sample.speaker_embedding is enrolled_last.speaker_embedding
        assert sample.phrase_embedding is enrolled_last.phrase_embedding
        assert sample.adapted
        for of in (sample, learned[1]):  # as large as any other
            assert (of.phrase_variants, of.stretches, of.voice_variants) == ((), (), ())
        assert sample.created_at == judgment.decision.time


def test_that_the_other_phrase_has_other_sounds_does_not_show(
    engine: Engine, everybody: list[Profile]
) -> None:
    """Of a duress phrase the own one's halves say nothing; of the own one they do."""
    ada = everybody[0]
    unlike = tuple(
        replace(one, stretches=tuple(-each for each in one.stretches)) for one in ada.samples
    )
    config = EnrollmentConfig(adapt=True)
    for name, samples, learns in (
        ("wrong", ada.samples, True),
        ("wrong", unlike, True),
        ("right", ada.samples, True),
        ("right", unlike, False),
    ):
        heard = House(engine, everybody).hear(recording(f"ada_{name}_phrase"))
        assert heard.candidate is not None
        owner = replace(ada, samples=samples)
        judgment = replace(heard, candidate=replace(heard.candidate, profile=owner))
        assert (adaptation_from(judgment, engine, config) is not None) is learns


def test_a_person_with_two_phrases_is_one_person(
    engine: Engine, everybody: list[Profile], ada: Profile
) -> None:
    """What is asked of the voice does not rise with a second phrase, however near it is."""
    alike = replace(ada, id="another", duress_of=ada.id)
    decider = Decider(engine, CONFIG)
    alone = decider.decide(recording("ada_right_phrase"), [ada])
    both = decider.decide(recording("ada_right_phrase"), [ada, alike])
    assert both.candidate is not None
    assert both.candidate.sharing == 1
    assert both.decision.scores["voice_threshold"] == alone.decision.scores["voice_threshold"]


def listen(engine: Engine, house: House, *parts: str) -> list[Judgment]:
    settings = EndPointSettings.of(AudioConfig(), rolling=True)
    listener = Listener(EndPointer(settings), engine, house.decider)
    listener.use(house.profiles)
    found = []
    for block in in_blocks(_said(*parts)):
        found += [house.review(each) for each in listener.feed(block)]
    return found


def _said(*parts: str) -> Any:
    import numpy as np

    return np.concatenate((quiet(1.0), spliced(*parts), quiet(1.2)))


@pytest.mark.parametrize(
    ("parts", "alarms"),
    [
        (("robin_near_phrase", "ada_wrong_phrase", "robin_near_phrase"), 1),
        (("robin_near_phrase", "ada_right_phrase", "robin_near_phrase"), 0),
        (("ada_wrong_phrase",), 1),
        (("ada_right_phrase",), 0),
    ],
)
def test_it_is_found_in_running_speech(
    engine: Engine, everybody: list[Profile], parts: tuple[str, ...], alarms: int
) -> None:
    house = House(engine, everybody)
    (heard,) = listen(engine, house, *parts)
    assert heard.decision.granted
    assert heard.decision.name == "ada"
    assert len(house.alarms) == alarms


# --- enrolling it ---


def sample_of(engine: Engine, utterance: Utterance) -> EnrollmentSample:
    profile = engine.extend(Profile.begin("somebody"), utterance)
    return profile.samples[0]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("ada_right_phrase", "wrong_phrase"),
        ("robin_right_phrase", "unknown_speaker"),
        ("stranger_adas_phrase", "unknown_speaker"),
        ("ada_wrong_phrase", None),
    ],
)
def test_it_must_be_another_phrase_in_the_same_voice(
    engine: Engine, ada: Profile, name: str, reason: str | None
) -> None:
    sample = sample_of(engine, recording(name))
    if reason is None:
        require_apart(engine, ada, sample)
        return
    with pytest.raises(EnrollmentRejected) as caught:
        require_apart(engine, ada, sample)
    assert caught.value.reason == reason


def test_half_the_same_is_too_like(engine: Engine) -> None:
    sample = sample_of(engine, recording("robin_near_phrase"))
    with pytest.raises(EnrollmentRejected, match="too similar to the phrase of robin"):
        require_apart(engine, enrolled(engine, "robin"), sample)


def test_neither_may_be_a_part_of_the_other(engine: Engine, ada: Profile) -> None:
    """The shorter one would be found, and answered, in the middle of the longer one."""
    for parts in (("ada_wrong_phrase", "ada_right_phrase"), ("ada_right_phrase",) * 2):
        longer = sample_of(engine, utterance_of(_said(*parts)))
        with pytest.raises(EnrollmentRejected, match="phrase"):
            require_apart(engine, ada, longer)
    longer = sample_of(engine, utterance_of(_said("ada_wrong_phrase", "ada_right_phrase")))
    whole = replace(ada, samples=(longer,))
    with pytest.raises(EnrollmentRejected, match="is part of the other"):
        require_apart(engine, whole, sample_of(engine, recording("ada_right_phrase")))


def refused(enrollment: Enrollment, engine: Engine, name: str) -> list[str]:
    try:
        enrollment.add(engine, recording(name))
    except EnrollmentRejected as error:
        return [error.reason]
    return []


def enroll_from(
    store: ProfileStore, engine: Engine, request: EnrollmentRequest, *names: str
) -> tuple[Enrollment, list[str]]:
    enrollment = Enrollment(store, request, EnrollmentConfig())
    refusals: list[str] = []
    for name in names:
        refusals += refused(enrollment, engine, name)
    enrollment.finish()
    return enrollment, refusals


def request(name: str, **more: Any) -> EnrollmentRequest:
    return EnrollmentRequest(name, ProfileKind.PHRASE, **more)


ADAS = ("ada_enroll_1", "ada_enroll_2", "ada_enroll_3")


def test_enrolling_both(engine: Engine, tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        with pytest.raises(ProfileError, match="there is no profile"):
            Enrollment(store, request("Ada", duress=True), EnrollmentConfig())
        enroll_from(store, engine, request("Ada"), *ADAS[:2])
        with pytest.raises(ProfileError, match="no enrolled passphrase"):
            Enrollment(store, request("Ada", duress=True), EnrollmentConfig())
        enroll_from(store, engine, request("Ada"), ADAS[2])
        second, refusals = enroll_from(
            store, engine, request("ada", duress=True), "ada_right_phrase", "ada_wrong_phrase"
        )
        assert refusals == ["wrong_phrase"]
        profile = store.get("Ada (duress)")
        assert (profile.duress_of, len(profile.samples)) == (store.get("Ada").id, 1)
        assert second.profile.id == profile.id
        with pytest.raises(ProfileError, match="give the person's name and --duress"):
            Enrollment(store, request("Ada (duress)"), EnrollmentConfig())
        # Her own phrase cannot be replaced by one that is too like it either.
        again, refusals = enroll_from(
            store, engine, request("Ada", again=True), "ada_wrong_phrase", *ADAS
        )
        assert refusals == ["wrong_phrase"]
        assert again.complete
        # What goes with the person.
        store.delete("Ada")
        assert store.list() == []


def test_at_the_command_line(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("state_directory: state\n")
    monkeypatch.setenv("EDGE_VOICE_CONFIG", str(config))

    def files(*names: str) -> list[str]:
        return [str(demo_directory() / f"{name}.flac") for name in names]

    assert main(["enroll", "Ada", *files(*ADAS)]) == 0
    assert main(["enroll", "Ada", "--duress", *files("ada_right_phrase")]) == 2
    assert "too similar to the phrase of Ada" in capsys.readouterr().err
    assert main(["profiles", "list"]) == 0
    assert "duress" not in capsys.readouterr().out
    assert main(["enroll", "Ada", "--duress", *files("ada_wrong_phrase")]) == 0
    assert "Ada (duress) still needs 2 more repetitions" in capsys.readouterr().out
    code, value = run_json(capsys, "identify", *files("ada_wrong_phrase"))
    assert (code, len(value["ranking"])) == (0, 1)


def test_who_has_only_a_voice_has_no_duress_phrase(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.create("Grace", ProfileKind.VOICE, required=30)
        with pytest.raises(ProfileError, match="no enrolled passphrase"):
            Enrollment(store, request("Grace", duress=True), EnrollmentConfig())


def test_a_long_name_still_has_room(engine: Engine, tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        name = "A" * 64
        enroll_from(store, engine, request(name), *ADAS)
        enroll_from(store, engine, request(name, duress=True), "ada_wrong_phrase")
        assert [len(profile.name) for profile in store.list()] == [64, 64]
