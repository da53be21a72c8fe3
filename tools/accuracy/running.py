"""Running speech through the whole service: false grants, missed phrases, time to a decision.

The stream is taken as fast as the service can. Time in it is counted in sound, so the time to a
decision is the sound since the end of the phrase plus the time of deciding.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from edge.audio.sources import Source
from edge.config import AccessConfig, Config, LockOutConfig, MqttConfig, ReplayConfig
from edge.errors import EnrollmentRejected
from edge.evaluation.corpus import CorpusFile
from edge.recognition import Engine
from edge.service import build_service
from edge.types import SAMPLE_RATE, AccessDecision, AudioBlock
from tools.accuracy.hearing import Hearing, Sound
from tools.accuracy.surroundings import Surroundings, changed
from tools.acoustics.words import recorded
from tools.end_to_end import enroll
from tools.running_speech import ABUTTING, ALONE, GAP, PHRASE, Event, Splice, Stream

PEOPLE = 4
ENROLLED = 3
SPLICES = 100
AT_A_TIME = 150
"""Recordings of background that one service hears."""
GAINS_DB = (-6.0, 0.0, 6.0, 12.0)
JOINTS = (GAP, ABUTTING, ALONE)
DELAYS = "seconds from the end of the phrase to the decision"
_SOONEST_S = -0.6
_LATEST_S = 2.5
"""Range of seconds after the end of a phrase in which a grant counts for that phrase."""


@dataclass(frozen=True)
class Person:
    """Who is enrolled, and with which repetitions."""

    name: str
    repetitions: tuple[Sound, ...]


@dataclass(frozen=True)
class Stretch:
    """A stretch of running speech, and who is enrolled meanwhile.

    Attributes:
        people: who is enrolled.
        background: recordings, each one file or single words said in a row.
        splices: phrases in between.
        seed: of the order and the gaps.
    """

    people: tuple[Person, ...]
    background: tuple[tuple[Path, ...], ...]
    splices: tuple[Splice, ...] = ()
    seed: int = 1


@dataclass(frozen=True)
class Grant:
    """A decision to open.

    Attributes:
        at_s: how much of the stream had been taken, seconds.
        decide_ms: how long the decision itself took.
        name: of the person.
    """

    at_s: float
    decide_ms: float
    name: str


@dataclass(frozen=True)
class Outcome:
    """What came of a stretch; `people` could be enrolled."""

    hours: float
    people: int
    grants: tuple[Grant, ...]
    events: tuple[Event, ...]


class _Watched(Source):
    """A source that reports how much of it was taken."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.position_s = 0.0

    def close(self) -> None:
        self._source.close()

    def blocks(self) -> Iterator[AudioBlock]:
        with self._source:
            for block in self._source.blocks():
                self.position_s = block.end_s
                yield block


def run(engine: Engine, stretch: Stretch) -> Outcome:
    """Enroll the people and let the service hear the stretch."""
    with tempfile.TemporaryDirectory() as folder:
        config = replace(
            engine.config,
            mqtt=MqttConfig(enabled=False),
            # Recordings are played several times here, each as a new repetition.
            replay=ReplayConfig(enabled=False),
            lockout=LockOutConfig(enabled=False),
            state_directory=Path(folder) / "state",
            # A busy machine may fall behind the stream, which does not wait.
            access=AccessConfig(decision_lifetime_s=60.0),
        )
        people = sum(_enrolled(engine, config, person) for person in stretch.people)
        background = [_file(paths, Path(folder)) for paths in stretch.background]
        stream = Stream.compose(background, stretch.splices, stretch.seed)
        grants = _grants(config, stream)
    return Outcome(stream.duration_s / 3600, people, tuple(grants), tuple(stream.events))


def _enrolled(engine: Engine, config: Config, person: Person) -> bool:
    sounds = [
        changed(recorded(one.paths), one.condition, one.turn, Surroundings())
        for one in person.repetitions
    ]
    try:
        enroll(engine, config, person.name, sounds)
    except EnrollmentRejected:
        return False
    return True


def _file(paths: tuple[Path, ...], folder: Path) -> Path:
    if len(paths) == 1:
        return paths[0]
    file = folder / f"{abs(hash(paths))}.wav"
    soundfile.write(file, recorded(paths), SAMPLE_RATE)
    return file


def _grants(config: Config, stream: Stream) -> list[Grant]:
    source = _Watched(stream)
    grants: list[Grant] = []

    def note(decision: AccessDecision) -> None:
        if decision.granted:
            taken = decision.timings_ms["decide"]
            grants.append(Grant(source.position_s, taken, decision.name or ""))

    build_service(config, source=source, on_decision=note).run()
    return grants


def measure(
    hearing: Hearing,
    people: Sequence[CorpusFile],
    background: Sequence[Path],
    calm: Sequence[str],
    quick: bool = False,
) -> dict[str, Any]:
    """Enroll some people, then run the service on the background without and with their phrases.

    Args:
        hearing: the recognizer.
        people: `SPEAKER/PHRASE/*` recordings.
        background: recordings of other people's speech.
        calm: the styles to enroll and test; all if no recording has one of them.
        quick: take a fifth of the background, and half of the phrases.
    """
    styled = any(item.style in calm for item in people)
    usable = [item for item in people if not styled or item.style in calm]
    enrolled, said = _choose(usable)
    residents = tuple(
        Person(items[0].speaker, tuple(Sound((item.path,)) for item in items)) for items in enrolled
    )
    order = [(background[i],) for i in np.random.default_rng(1).permutation(len(background))]
    count = min(SPLICES // 2 if quick else SPLICES, len(order) - 1)
    splices = tuple(
        Splice(
            said[n % len(said)].speaker,
            said[n % len(said)].path,
            GAINS_DB[n // len(said) % len(GAINS_DB)],
            JOINTS[n % len(JOINTS)],
        )
        for n in range(count)
    )
    plain = order[::5] if quick else order
    # With phrases, only as much background as they need.
    spliced = Stretch(residents, tuple(order[: 3 * count]), splices, seed=2)
    stretches = [
        Stretch(residents, tuple(plain[i : i + AT_A_TIME])) for i in range(0, len(plain), AT_A_TIME)
    ]
    heard, *others = hearing.each(run, [spliced, *stretches], "running speech")
    return {
        "people": heard.people,
        "foreign speech, hours": round(sum(one.hours for one in others), 2),
        "false grants": sum(len(one.grants) for one in others),
        "with phrases": _misses(heard.grants, [e for e in heard.events if e.kind == PHRASE]),
    }


def _choose(items: Sequence[CorpusFile]) -> tuple[list[list[CorpusFile]], list[CorpusFile]]:
    """Three recordings of one phrase by each of `PEOPLE`, and their other recordings of it."""
    speakers = sorted({item.speaker for item in items})
    step = max(1, len(speakers) // PEOPLE)
    enrolled, said = [], []
    for speaker in speakers[::step][:PEOPLE]:
        own = [item for item in items if item.speaker == speaker]
        own = [item for item in own if item.phrase == own[0].phrase]
        enrolled.append(own[:ENROLLED])
        said.append(own[ENROLLED:])
    longest = max(len(own) for own in said)
    return enrolled, [own[n] for n in range(longest) for own in said if n < len(own)]


def _misses(grants: Sequence[Grant], events: Sequence[Event]) -> dict[str, Any]:
    delays: dict[str, list[float]] = {joint: [] for joint in JOINTS}
    missed = dict.fromkeys(JOINTS, 0)
    left = list(grants)
    for event in events:
        own = [
            grant
            for grant in left
            if grant.name == event.person
            and _SOONEST_S < grant.at_s - event.speech_end_s < _LATEST_S
        ]
        if not own:
            missed[event.joint] += 1
            continue
        left.remove(own[0])
        delays[event.joint].append(own[0].at_s - event.speech_end_s + own[0].decide_ms / 1e3)
    return {
        "phrases": len(events),
        "missed": sum(missed.values()),
        "missed_by_joint": missed,
        "other grants": len(left),
        DELAYS: {
            joint: {
                name: round(float(np.quantile(found, share)), 2)
                for name, share in (("median", 0.5), ("nine in ten", 0.9), ("longest", 1.0))
            }
            for joint, found in delays.items()
            if found
        },
    }
