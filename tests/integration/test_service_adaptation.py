"""The service that learns: only from clear grants, and without delaying a decision."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge.access.decider import Decider
from edge.audio.files import read_audio
from edge.audio.sources import FileSource
from edge.audio.utterance import utterance_of
from edge.cli.main import main
from edge.config import AccessConfig, Config, EnrollmentConfig, MqttConfig, ReplayConfig
from edge.recognition import Engine
from edge.recognition.adaptation import AdaptationRefusal, drift_of
from edge.recognition.scoring import signature_of
from edge.resources import demo_directory
from edge.service import build_service
from edge.store import open_store
from edge.types import AccessDecision, AudioBlock, Confidence, Profile, ProfileKind, Utterance
from tests.integration.waiting import PATIENCE

DEMO = demo_directory()
LEARNING = EnrollmentConfig(adapt=True)


def utterance(name: str) -> Utterance:
    return utterance_of(read_audio(DEMO / f"{name}.flac").samples)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine.open()


@pytest.fixture(scope="module")
def enrolled(engine: Engine) -> Profile:
    profile = Profile.begin("Ada")
    for number in (1, 2, 3):
        profile = engine.extend(profile, utterance(f"ada_enroll_{number}"))
    return profile


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(
        access=AccessConfig(decision_lifetime_s=25.0),
        mqtt=MqttConfig(enabled=False),
        state_directory=tmp_path / "state",
        enrollment=LEARNING,
        # What is compared is the store's bytes, and one recording stands for many sayings.
        replay=ReplayConfig(enabled=False),
    )


def keep(config: Config, profile: Profile) -> Profile:
    with open_store(config.state_path) as store:
        return store.create(
            profile.name,
            ProfileKind.PHRASE,
            required=3,
            samples=profile.samples,
            speaker_model=profile.speaker_model,
            phrase_model=profile.phrase_model,
        )


def kept(config: Config) -> Profile:
    with open_store(config.state_path) as store:
        return store.get("Ada")


def hear(
    config: Config,
    *names: str,
    source: Callable[[Path], FileSource] = FileSource,
    then: Callable[[AccessDecision], None] = lambda decision: None,
) -> list[AccessDecision]:
    """One run of the service for each recording."""
    decisions: list[AccessDecision] = []

    def both(decision: AccessDecision) -> None:
        decisions.append(decision)
        then(decision)

    for name in names:
        build_service(config, source=source(DEMO / f"{name}.flac"), on_decision=both).run()
    return decisions


def test_learns_from_who_is_let_in_and_can_be_reverted(
    config: Config, enrolled: Profile, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = keep(config, enrolled)
    signature = signature_of(before.samples)
    with caplog.at_level(logging.DEBUG):
        (decision,) = hear(config, "ada_right_phrase")
    assert decision.granted
    after = kept(config)
    assert (len(after.enrolled), len(after.adapted)) == (3, 1)
    assert after.adapted[0].created_at == pytest.approx(decision.time, abs=1e-3)
    assert 0.0 < drift_of(after) < 0.05
    assert "Ada: learned from 1 of at most 5 utterances" in caplog.text
    # An embedding would show as a run of numbers, or as an array.
    assert "array(" not in caplog.text
    assert max(len(line) for line in caplog.text.splitlines()) < 400
    # The same again adds nothing.
    assert [each.granted for each in hear(config, "ada_right_phrase")] == [True]
    assert len(kept(config).adapted) == 1
    file = tmp_path / "config.yaml"
    file.write_text("state_directory: state\n")
    assert main(["profiles", "revert", "Ada", "--yes", "--config", str(file)]) == 0
    assert signature_of(kept(config).samples).tobytes() == signature.tobytes()


def _stored(config: Config) -> list[str]:
    """All that is stored of people; that a service started is noted there too."""
    with closing(sqlite3.connect(config.state_path / "signatures.sqlite")) as file:
        own = ("'starts'", "sqlite_sequence")
        return [line for line in file.iterdump() if not any(name in line for name in own)]


def test_nothing_is_learned_unless_it_is_asked_for(config: Config, enrolled: Profile) -> None:
    keep(config, enrolled)
    before = _stored(config)
    decisions = hear(replace(config, enrollment=EnrollmentConfig()), "ada_right_phrase")
    assert [decision.granted for decision in decisions] == [True]
    assert _stored(config) == before


@pytest.mark.parametrize(
    "said", ["stranger_adas_phrase", "stranger_other_phrase", "ada_wrong_phrase", "robin_enroll_1"]
)
def test_nothing_is_learned_from_who_is_turned_away(
    config: Config, enrolled: Profile, said: str
) -> None:
    keep(config, enrolled)
    before = _stored(config)
    assert [decision.granted for decision in hear(config, said)] == [False]
    assert _stored(config) == before


def test_nothing_is_learned_from_who_is_barely_let_in(
    config: Config, engine: Engine, enrolled: Profile, caplog: pytest.LogCaptureFixture
) -> None:
    keep(config, _barely_like(enrolled, engine, config))
    before = _stored(config)
    with caplog.at_level(logging.DEBUG):
        (decision,) = hear(config, "ada_right_phrase")
    assert decision.granted
    assert decision.confidence is not Confidence.HIGH
    assert AdaptationRefusal.UNSURE.value in caplog.text
    assert _stored(config) == before


def _barely_like(profile: Profile, engine: Engine, config: Config) -> Profile:
    """Somebody like Ada, only so much that Ada is still let in."""
    for share in np.arange(0.5, 3.0, 0.05):
        voice = (
            np.random.default_rng(1)
            .standard_normal(engine.models.speaker.dimensions)
            .astype(np.float32)
        )
        voice /= np.linalg.norm(voice)
        samples = []
        for sample in profile.samples:
            mixed = sample.speaker_embedding + np.float32(share) * voice
            mixed /= np.linalg.norm(mixed)
            samples.append(
                replace(sample, speaker_embedding=mixed, voice_variants=(), stretches=())
            )
        other = replace(profile, samples=tuple(samples))
        decision = Decider(engine, config).decide(utterance("ada_right_phrase"), [other]).decision
        if decision.granted and decision.confidence is Confidence.LOW:
            return other
    raise AssertionError("no voice is barely alike")


def test_a_borderline_voice_cannot_be_walked_to(
    config: Config, engine: Engine, enrolled: Profile, caplog: pytest.LogCaptureFixture
) -> None:
    """What was learned before makes Ada welcome, but what was enrolled alone does not."""
    profile = keep(config, _barely_like(enrolled, engine, config))
    (like_ada, *_) = enrolled.samples
    with open_store(config.state_path) as store:
        sample = replace(like_ada, adapted=True, created_at=0.0, net_speech_s=3.0)
        profile = store.adapt(profile, sample, most=5)
    with caplog.at_level(logging.DEBUG):
        (decision,) = hear(config, "ada_right_phrase")
    assert (decision.granted, decision.confidence) == (True, Confidence.HIGH)
    assert AdaptationRefusal.STRAYED.value in caplog.text
    assert len(kept(config).adapted) == 1


def test_a_decision_that_came_late_teaches_nothing(config: Config, enrolled: Profile) -> None:
    class Backlog(FileSource):
        def blocks(self) -> Iterator[AudioBlock]:
            for block in super().blocks():
                yield replace(block, captured_at=block.captured_at - 30.0)

    keep(config, enrolled)
    assert hear(config, "ada_right_phrase", source=Backlog) == []
    assert kept(config).adapted == ()


def test_the_door_opens_before_anything_is_written(config: Config, enrolled: Profile) -> None:
    keep(config, enrolled)
    learned_by_then = []
    hear(
        config,
        "ada_right_phrase",
        then=lambda decision: learned_by_then.append(len(kept(config).adapted)),
    )
    assert learned_by_then == [0]
    assert len(kept(config).adapted) == 1


def test_is_learned_while_the_service_goes_on(config: Config, enrolled: Profile) -> None:
    class Lingering(FileSource):
        """A recording, and then silence until something was learned from it."""

        def blocks(self) -> Iterator[AudioBlock]:
            end = 0.0
            for block in super().blocks():
                end = block.end_s
                yield block
            deadline = time.monotonic() + PATIENCE
            while time.monotonic() < deadline and not kept(config).adapted:
                for _ in range(10):
                    silence = np.zeros(512, np.float32)
                    yield AudioBlock(silence, end, time.monotonic())
                    end += 512 / 16_000
            learned.append(len(kept(config).adapted))

    keep(config, enrolled)
    learned: list[int] = []
    hear(config, "ada_right_phrase", source=Lingering)
    assert learned == [1]


def test_a_store_in_use_is_skipped_without_a_fault(
    config: Config, enrolled: Profile, caplog: pytest.LogCaptureFixture
) -> None:
    keep(config, enrolled)
    path = config.state_path / "signatures.sqlite"
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)

    def lock(decision: AccessDecision) -> None:
        other.execute("BEGIN IMMEDIATE")

    with caplog.at_level(logging.INFO):
        decisions = hear(config, "ada_right_phrase", then=lock)
    other.execute("ROLLBACK")
    other.close()
    assert [decision.granted for decision in decisions] == [True]
    assert kept(config).adapted == ()
    about = [record for record in caplog.records if "nothing learned" in record.message]
    assert [record.levelno for record in about] == [logging.INFO]


def test_a_profile_enrolled_anew_meanwhile_learns_nothing(
    config: Config, enrolled: Profile
) -> None:
    keep(config, enrolled)

    def enroll_anew(decision: AccessDecision) -> None:
        with open_store(config.state_path) as store:
            store.replace_samples(
                "Ada", enrolled.samples, enrolled.speaker_model, enrolled.phrase_model
            )

    hear(config, "ada_right_phrase", then=enroll_anew)
    assert kept(config).adapted == ()
