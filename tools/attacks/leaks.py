"""What answers and traces tell: during a lock-out, and of a duress phrase."""

from __future__ import annotations

import itertools
import json
import logging
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edge.audio.files import read_audio
from edge.audio.utterance import utterance_of
from edge.config import LockOutConfig
from edge.evaluation.corpus import CorpusFile
from edge.recognition import Engine
from edge.store import ProfileStore, open_store
from edge.types import AccessDecision, Profile
from tools.attacks.guessing import Found
from tools.attacks.house import PAUSE_S, House, Played, Voices, sound_of
from tools.attacks.rows import Attack
from tools.end_to_end import ENROLLED

_ALIKE_S = 0.3
"""Answers that are no further apart tell nothing: so much the end of what is said is uncertain."""


class _noting(logging.Handler):  # noqa: N801 (a context manager)
    """Notes the lines of the log from level info on."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__(logging.INFO)
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        """Note a line."""
        self._lines.append(record.getMessage())

    def __enter__(self) -> None:
        logger = logging.getLogger("edge")
        self._level = logger.level
        logger.setLevel(logging.INFO)
        logger.addHandler(self)

    def __exit__(self, *_: object) -> None:
        logger = logging.getLogger("edge")
        logger.setLevel(self._level)
        logger.removeHandler(self)


def locked(engine: Engine, voices: Voices, attempts: int) -> Found:
    """What is published during a lock-out, and how long after the speech."""
    target, stranger = voices.pairs(1)[0]
    own = [item.path for item in voices.said(target)]
    other = [item.path for item in voices.phrase(stranger)]
    order = [*other[:1]]
    pairs = zip(itertools.cycle(own), itertools.cycle(other))
    for right, wrong in itertools.islice(pairs, attempts):
        order += [right, wrong]
    forever = LockOutConfig(rejections=1, first_s=86400.0, longest_s=86400.0)
    with tempfile.TemporaryDirectory() as state:
        house = House(engine, Path(state), forever)
        house.enroll(voices.enrolled(target))
        source = Played([sound_of(path) for path in order])
        heard = house.hear(source)
    answers = {
        kind: [
            [(at_s - end_s, each) for at_s, each in heard if 0.0 <= at_s - end_s < PAUSE_S]
            for end_s in source.ends_s[first::2]
        ]
        for kind, first in (("right", 1), ("wrong", 2))
    }
    texts = Counter(_told(each) for kind in answers.values() for one in kind for _, each in one)
    usual = texts.most_common(1)[0][0]
    figures = {kind: _delays(several) for kind, several in answers.items()}
    earliest, latest = figures["wrong"]["after_s"]
    apart = sum(
        len(one) != 1
        or _told(one[0][1]) != usual
        or not earliest - _ALIKE_S <= one[0][0] <= latest + _ALIKE_S
        for one in answers["right"]
    )
    row = Attack(
        "The right voice during a lock-out, beside a stranger's (accepted: answered otherwise)",
        len(answers["right"]),
        apart,
        "One answer for everything, a fixed time after the end of what is said.",
        "That somebody spoke, and how loud (`sound`).",
        "attack FOLDER --only locked",
    )
    return [row], figures


def _delays(answers: Sequence[Sequence[tuple[float, AccessDecision]]]) -> dict[str, Any]:
    delays = [round(after_s, 2) for several in answers for after_s, _ in several]
    return {
        "said": len(answers),
        "answers": len(delays),
        "after_s": [min(delays, default=0.0), max(delays, default=0.0)],
    }


def _told(decision: AccessDecision) -> str:
    """What a decision says, without its id, its times and its counter."""
    content = decision.as_dict()
    for name in ("id", "time", "counter", "issued_at", "expires_at"):
        content.pop(name, None)
    return json.dumps(content)


def duress(engine: Engine, voices: Voices, attempts: int) -> Found:
    """The own phrase and the duress phrase of several people, each in a house of its own."""
    learning = replace(engine.config.enrollment, adapt=True)  # it leaves traces as well
    engine.config = replace(engine.config, enrollment=learning)
    granted = Counter[str]()
    traces: dict[str, list[dict[str, Any]]] = {"own": [], "duress": []}
    people = voices.speakers[: max(1, attempts // 4)]
    for speaker in people:
        for number, kind in enumerate(traces):
            with tempfile.TemporaryDirectory() as state:
                opened, trace = _said_in(House(engine, Path(state)), voices, speaker, number)
            granted[kind] += opened
            traces[kind].append(trace)
    told = sum(own != forced for own, forced in zip(*traces.values()))
    row = Attack(
        "A duress phrase, beside the own one (accepted: told apart by whoever may not know)",
        len(people),
        told,
        "Decision, journal, growth of the audit trail and what is learned are the same.",
        "Whoever reads the topic `duress`, the profiles, or counts the broker's messages.",
        "attack FOLDER --only duress",
    )
    return [row], {"opened": dict(granted), **traces}


def _said_in(
    house: House, voices: Voices, speaker: str, number: int
) -> tuple[bool, dict[str, Any]]:
    """Whether a phrase opens, and what the device shows of it, of two phrases that are enrolled."""
    lines: list[str] = []
    owner = house.enroll(voices.enrolled(speaker))
    with open_store(house.folder, settings=house.config.store) as store:
        second = _enroll_second(house.engine, store, owner, voices.enrolled(speaker, 1))
    with _noting(lines):
        heard = house.hear(Played([sound_of(voices.said(speaker, number)[0].path)]))
    with open_store(house.folder, settings=house.config.store) as store:
        shown = store.get(owner.id)
        changed = store.get(second.id).updated_at != second.updated_at
    learned = len(shown.adapted)
    return any(each.granted for _, each in heard), {
        "decisions": len(heard),
        "entries": house.entries(),
        # Whether something is learned depends on how well it was said.
        "lines but of learning": len(lines) - learned,
        "changed without learning": (shown.updated_at > owner.updated_at) != bool(learned),
        "second profile changed": changed,
    }


def _enroll_second(
    engine: Engine, store: ProfileStore, owner: Profile, items: Sequence[CorpusFile]
) -> Profile:
    """Enroll a duress phrase, whatever its quality."""
    profile = replace(owner, id="", samples=())
    samples = [
        engine.enroll(profile, utterance_of(read_audio(item.path).samples)) for item in items
    ]
    return store.create(
        f"{owner.name} (duress)",
        owner.kind,
        required=ENROLLED,
        samples=samples,
        speaker_model=engine.models.speaker.sha256,
        phrase_model=engine.models.phrase.sha256,
        duress_of=owner.id,
    )
