"""Compares the decisions of the service with those of its parts called one by one."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.progress import track

from edge.audio.files import read_audio
from edge.audio.sources import FileSource
from edge.audio.utterance import utterance_of
from edge.config import Config, LockOutConfig, MqttConfig, ReplayConfig
from edge.evaluation.corpus import CorpusFile, find_items
from edge.recognition import Engine
from edge.service import build_service
from edge.store import open_store
from edge.types import AccessDecision, FloatArray, Profile, ProfileKind

ENROLLED = 3


def agreement(engine: Engine, folder: Path) -> dict[str, Any]:
    """Enroll each speaker in turn and compare the service's decisions with `Engine.verify`.

    Args:
        engine: the recognizer, opened as by the service.
        folder: `SPEAKER/PHRASE/*.flac`, two speakers with two phrases at least.

    Returns:
        Number of decisions, largest differences of the two scores, files that the service cut into
        another number of utterances than one, and decisions that differ.
    """
    items = find_items(folder)
    speakers = sorted({item.speaker for item in items})
    voice: list[float] = []
    phrase: list[float] = []
    disagreements = cut_otherwise = 0
    for number, speaker in enumerate(track(speakers, description="service", transient=True)):
        own = [item for item in items if item.speaker == speaker]
        said = [item for item in own if item.phrase == own[0].phrase]
        other = [item for item in own if item.phrase != own[0].phrase]
        stranger_name = speakers[(number + 1) % len(speakers)]
        stranger = [
            item for item in items if (item.speaker, item.phrase) == (stranger_name, said[0].phrase)
        ]
        if len(said) < ENROLLED + 2:
            continue
        with tempfile.TemporaryDirectory() as state:
            config = replace(
                engine.config,
                mqtt=MqttConfig(enabled=False),
                state_directory=Path(state),
                # Only recognition is compared; wrong attempts would cause a lock-out.
                replay=ReplayConfig(enabled=False),
                lockout=LockOutConfig(enabled=False),
            )
            sounds = [read_audio(item.path).samples for item in said[:ENROLLED]]
            profile = enroll(engine, config, speaker, sounds)
            for item in [*said[ENROLLED : ENROLLED + 2], *other[:1], *stranger[:1]]:
                offline = engine.verify(profile, utterance_of(read_audio(item.path)))
                decisions = _decisions(config, item)
                if len(decisions) != 1:
                    cut_otherwise += 1
                    continue
                decision = decisions[0]
                disagreements += decision.granted != offline.accepted
                if decision.scores and offline.speaker and offline.phrase:
                    voice.append(abs(decision.scores["voice"] - offline.speaker.score))
                    phrase.append(abs(decision.scores["phrase_distance"] - offline.phrase.distance))
    return {
        "decisions": len(voice),
        "largest_voice_difference": max(voice, default=0.0),
        "largest_phrase_difference": max(phrase, default=0.0),
        "cut_otherwise": cut_otherwise,
        "disagreements": disagreements,
    }


def enroll(engine: Engine, config: Config, name: str, sounds: Sequence[FloatArray]) -> Profile:
    """Enroll a person into the configuration's store, whether or not the repetitions agree.

    Raises:
        EnrollmentRejected: a recording is too poor.
    """
    with open_store(config.state_path, settings=config.store) as store:
        profile = store.create(name, ProfileKind.PHRASE, required=len(sounds))
        for samples in sounds:
            sample = engine.enroll(replace(profile, samples=()), utterance_of(samples))
            models = engine.models
            profile = store.add_sample(
                profile.id, sample, models.speaker.sha256, models.phrase.sha256
            )
    return profile


def _decisions(config: Config, item: CorpusFile) -> list[AccessDecision]:
    decisions: list[AccessDecision] = []
    build_service(config, source=FileSource(item.path), on_decision=decisions.append).run()
    return decisions
