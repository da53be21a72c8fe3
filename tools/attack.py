"""Attacks the running service with real speech, and counts what it lets through and what it tells.

    python -m tools.attack FOLDER [--only PART ...] [--attempts N] [--json FILE]

FOLDER contains `same_phrase/SPEAKER/PHRASE/*`, three phrases of each that are enrolled and more
that are played, and `read_sentences/SPEAKER/*`, talk around them. Parts:

    inside    an enrolled phrase inside other talk, in a stranger's voice and in the owner's
    talk      nothing but talk: how many attempts are counted that are none
    spread    how many attempts a stranger has who spreads them, by the clock alone
    locked    what a lock-out lets out: a right voice and a wrong one, and when each is answered
    duress    what tells a duress phrase from the person's own, besides the alarm itself
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from edge.access.lockout import STATE_KEY, LockOut, read_record
from edge.audio.blocks import blocks_of
from edge.audio.files import read_audio
from edge.audio.sources import Source
from edge.config import Config, LockOutConfig, MqttConfig
from edge.config.settings import MonitorConfig
from edge.evaluation.corpus import CorpusFile, find_items
from edge.recognition import Engine
from edge.service import build_service
from edge.store import open_store
from edge.store.audit import AUDIT_KEY, AuditTrail
from edge.store.device_state import DeviceState
from edge.types import SAMPLE_RATE, AccessDecision, AudioBlock, FloatArray, Profile, ReasonCode
from tools.end_to_end import ENROLLED, enroll
from tools.running_speech import Stream

_COUNTING = LockOutConfig(rejections=100, budget=1000, budget_s=2592000.0)
"""Counts and practically never locks."""
_PAUSE_S = 4.0
_ROOM = 10.0 ** (-70.0 / 20.0)
_TALK = 20
"""Recordings of talk for each attempt; they take four seconds each."""


class Played(Source):
    """Sounds one after another, with pauses, as fast as they are taken but dated at their pace.

    Attributes:
        at_s: how much has been taken, seconds.
        ends_s: where each sound ends.
    """

    def __init__(self, sounds: Sequence[FloatArray], pause_s: float = _PAUSE_S) -> None:
        chance = np.random.default_rng(1)
        self.at_s = 0.0
        self.ends_s: list[float] = []
        parts = [np.zeros(SAMPLE_RATE, np.float32)]
        for sound in sounds:
            parts.append(sound)
            self.ends_s.append(sum(map(len, parts)) / SAMPLE_RATE)
            parts.append(np.zeros(round(pause_s * SAMPLE_RATE), np.float32))
        samples = np.concatenate(parts)
        room = chance.normal(0.0, _ROOM, len(samples)).astype(np.float32)
        self._samples = samples + room

    def close(self) -> None:
        """Nothing is open."""
        return

    def blocks(self) -> Iterator[AudioBlock]:
        """As a microphone's."""
        started = time.monotonic()
        for block in blocks_of(self._samples):
            self.at_s = block.end_s
            yield replace(block, captured_at=started + block.end_s)


@dataclass
class House:
    """A service on a state directory of its own, with one person enrolled."""

    engine: Engine
    folder: Path
    lockout: LockOutConfig = field(default_factory=LockOutConfig)

    @property
    def config(self) -> Config:
        """Its settings: the defaults, without a broker."""
        return replace(
            self.engine.config,
            mqtt=MqttConfig(enabled=False),
            monitor=MonitorConfig(enabled=False),
            state_directory=self.folder,
            lockout=self.lockout,
        )

    def hear(self, source: Source) -> list[tuple[float, AccessDecision]]:
        """The decisions, and how much of the sound had been taken then, seconds."""
        heard: list[tuple[float, AccessDecision]] = []

        def note(decision: AccessDecision) -> None:
            heard.append((getattr(source, "at_s", 0.0), decision))

        build_service(self.config, source=source, on_decision=note).run()
        return heard

    def counted(self) -> int:
        """Attempts on the lock-out's account."""
        state = DeviceState(self.folder)
        record = read_record(state.get(STATE_KEY), 0.0, "")
        state.close()
        cost_s = self.lockout.budget_s / self.lockout.budget
        return int(np.ceil(record.debt_s / cost_s - 1e-3))

    def entries(self) -> int:
        """The number of the audit trail's newest entry, as `status` tells it."""
        with open_store(self.folder, settings=self.config.store) as store:
            state = DeviceState(self.folder)
            with AuditTrail(
                self.folder, store.derive_key(AUDIT_KEY), state, self.config.audit
            ) as trail:
                head = trail.head()
            state.close()
        return head.seq if head is not None else 0


class Voices:
    """Who says what: a target, whose phrase is enrolled, and a stranger who says the same."""

    def __init__(self, folder: Path) -> None:
        self._items = find_items(folder / "same_phrase")
        self.speakers = sorted({item.speaker for item in self._items})
        self.talk = sorted((folder / "read_sentences").glob("*/*.flac"))

    def phrase(self, speaker: str, number: int = 0) -> list[CorpusFile]:
        """All recordings of one of a speaker's phrases."""
        phrases = sorted({item.phrase for item in self._items if item.speaker == speaker})
        wanted = (speaker, phrases[number])
        return [item for item in self._items if (item.speaker, item.phrase) == wanted]

    def pairs(self, count: int) -> list[tuple[str, str]]:
        """Targets, each with a stranger."""
        return list(itertools.islice(itertools.permutations(self.speakers, 2), 0, None, 11))[:count]


def _sound(path: Path) -> FloatArray:
    samples = read_audio(path).samples
    loud = np.flatnonzero(np.abs(samples) > 0.02 * np.abs(samples).max())
    margin = SAMPLE_RATE // 20
    return samples[max(0, loud[0] - margin) : loud[-1] + margin]


def _wrapped(phrase: Path, before: Path, after: Path) -> FloatArray:
    gap = np.zeros(round(0.08 * SAMPLE_RATE), np.float32)
    return np.concatenate((_sound(before), gap, _sound(phrase), gap, _sound(after)))


def inside(engine: Engine, voices: Voices, attempts: int) -> dict[str, Any]:
    """A phrase in other talk: a stranger's, and the owner's for comparison."""
    result: dict[str, Any] = {}
    talk = iter(voices.talk)
    sounds: dict[str, list[FloatArray]] = {"stranger": [], "owner": []}
    target, stranger = voices.pairs(1)[0]
    enrolled, said = voices.phrase(target)[:ENROLLED], voices.phrase(target)[ENROLLED:]
    for who, recordings in (("stranger", voices.phrase(stranger)), ("owner", said)):
        for item in itertools.islice(itertools.cycle(recordings), attempts):
            sounds[who].append(_wrapped(item.path, next(talk), next(talk)))
    for who, played in sounds.items():
        for name, lockout in (("counting", _COUNTING), ("default", LockOutConfig())):
            if (who, name) == ("owner", "default"):
                continue
            with tempfile.TemporaryDirectory() as state:
                house = House(engine, Path(state), lockout)
                _enroll(engine, house.config, enrolled)
                decisions = [each for _, each in house.hear(Played(played, 1.5))]
                reasons = Counter(each.reason.value for each in decisions)
                result[f"{who}_{name}"] = {"said": len(played), "reasons": dict(reasons)}
                if name == "counting":
                    result[f"{who}_{name}"]["counted"] = house.counted()
    return result


def _enroll(engine: Engine, config: Config, items: Sequence[CorpusFile]) -> Profile:
    return enroll(
        engine, config, items[0].speaker, [read_audio(each.path).samples for each in items]
    )


def talk(engine: Engine, voices: Voices, attempts: int) -> dict[str, Any]:
    """What is counted although nobody says the phrase."""
    with tempfile.TemporaryDirectory() as state:
        house = House(engine, Path(state), _COUNTING)
        _enroll(engine, house.config, voices.phrase(voices.speakers[0])[:ENROLLED])
        step = max(1, len(voices.talk) // (_TALK * attempts))
        stream = Stream.compose(voices.talk[::step][: _TALK * attempts], [], seed=1)
        decisions = house.hear(stream)
        hours = stream.duration_s / 3600
        return {"hours": round(hours, 3), "decisions": len(decisions), "counted": house.counted()}


def spread(engine: Engine, voices: Voices, attempts: int) -> dict[str, Any]:
    """Attempts that are judged on the first day and on each of nine more, by how they are made."""
    del engine, voices, attempts
    return {
        "four each 301 s": _judged(LockOutConfig(), lambda number: 301.0 if number % 4 == 0 else 0),
        "one each 2.4 h": _judged(LockOutConfig(), lambda _: 8641.0),
        "as many as it takes": _judged(LockOutConfig(), lambda _: 10.0),
        "with grants between": _judged(LockOutConfig(), lambda _: 9.0, grants=True),
    }


def _judged(
    config: LockOutConfig, wait_s: Callable[[int], float], *, grants: bool = False
) -> list[int]:
    stranger, resident = np.eye(2, dtype=np.float32)
    now = 0.0
    days = [0] * 10
    with tempfile.TemporaryDirectory() as folder:
        state = DeviceState(Path(folder))
        lockout = LockOut(
            config,
            state,
            record=lambda _: None,
            changed=lambda _: None,
            clock=lambda: now,
            boot="boot",
        )
        number = 0
        while now < 864000.0:
            if not lockout.locked:
                number += 1
                days[int(now // 86400.0)] += 1
                lockout.rejected(ReasonCode.UNKNOWN_SPEAKER, stranger)
                if grants and number % 4 == 0:
                    lockout.granted(resident)
            now += max(wait_s(number), 0.01 if not lockout.locked else 10.0)
        state.close()
    return days


def locked(engine: Engine, voices: Voices, attempts: int) -> dict[str, Any]:
    """What is published during a lock-out, and how long after the speech."""
    target, stranger = voices.pairs(1)[0]
    own = [item.path for item in voices.phrase(target)[ENROLLED:]]
    other = [item.path for item in voices.phrase(stranger)]
    order = [*other[:1]]
    pairs = zip(itertools.cycle(own), itertools.cycle(other))
    for right, wrong in itertools.islice(pairs, attempts):
        order += [right, wrong]
    logs: list[str] = []
    with tempfile.TemporaryDirectory() as state, _noting(logs):
        house = House(engine, Path(state), LockOutConfig(rejections=1, first_s=86400.0,
                                                         longest_s=86400.0))  # fmt: skip
        _enroll(engine, house.config, voices.phrase(target)[:ENROLLED])
        source = Played([_sound(path) for path in order])
        heard = house.hear(source)
    found: dict[str, dict[str, Any]] = {}
    for kind, first in (("right", 1), ("wrong", 2)):
        ends = source.ends_s[first::2]
        answers = [
            [(at_s - end_s, each) for at_s, each in heard if 0.0 <= at_s - end_s < _PAUSE_S]
            for end_s in ends
        ]
        delays = [round(after_s, 2) for several in answers for after_s, _ in several]
        texts = Counter(_told(each) for several in answers for _, each in several)
        found[kind] = {
            "said": len(ends),
            "answers": len(delays),
            "after_s": [min(delays, default=0.0), max(delays, default=0.0)],
            "different answers": len(texts),
            "reasons": dict(Counter(each.reason.value for a in answers for _, each in a)),
        }
    return found


def _told(decision: AccessDecision) -> str:
    """What a decision says, without its id, its times and its counter."""
    content = decision.as_dict()
    for name in ("id", "time", "counter", "issued_at", "expires_at"):
        content.pop(name, None)
    return json.dumps(content)


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


def duress(engine: Engine, voices: Voices, attempts: int) -> dict[str, Any]:
    """The own phrase and the duress phrase of several people, each in a house of its own."""
    result: dict[str, Any] = {}
    for kind, number in (("own", 0), ("duress", 1)):
        rows = []
        for speaker in voices.speakers[: max(1, attempts // 4)]:
            lines: list[str] = []
            with tempfile.TemporaryDirectory() as state, _noting(lines):
                house = House(engine, Path(state))
                house.engine.config = replace(  # learning leaves traces as well
                    engine.config, enrollment=replace(engine.config.enrollment, adapt=True)
                )
                owner = _enroll(engine, house.config, voices.phrase(speaker)[:ENROLLED])
                with open_store(house.folder, settings=house.config.store) as store:
                    second = enroll_second(engine, store, owner, voices.phrase(speaker, 1))
                sound = _sound(voices.phrase(speaker, number)[ENROLLED].path)
                heard = house.hear(Played([sound]))
                with open_store(house.folder, settings=house.config.store) as store:
                    shown = store.get(owner.id)
                    unchanged = store.get(second).updated_at
                granted = sum(each.granted for _, each in heard)
                rows.append(
                    {
                        "granted": granted,
                        "entries": house.entries(),
                        "learned": len(shown.adapted),
                        "changed": shown.updated_at > owner.updated_at,
                        "second changed": unchanged > time.time(),
                        "lines": len(lines),
                    }
                )
        result[kind] = [
            {"times": count, **json.loads(row)}
            for row, count in Counter(json.dumps(row) for row in rows).items()
        ]
    return result


def enroll_second(engine: Engine, store: Any, owner: Any, items: Sequence[CorpusFile]) -> str:
    """Enroll a duress phrase, whatever its quality; its id."""
    from edge.audio.utterance import utterance_of  # noqa: PLC0415

    profile = replace(owner, id="", samples=())
    for item in items[:ENROLLED]:
        profile = engine.extend(profile, utterance_of(read_audio(item.path).samples))
    made = store.create(
        f"{owner.name} (duress)",
        owner.kind,
        required=ENROLLED,
        samples=profile.samples,
        speaker_model=profile.speaker_model,
        phrase_model=profile.phrase_model,
        duress_of=owner.id,
    )
    return str(made.id)


PARTS = {"inside": inside, "talk": talk, "spread": spread, "locked": locked, "duress": duress}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", metavar="FOLDER", type=Path)
    parser.add_argument("--only", metavar="PART", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--attempts", type=int, default=24)
    parser.add_argument("--json", metavar="FILE", type=Path)
    args = parser.parse_args(arguments)
    logging.getLogger("edge").addHandler(logging.NullHandler())
    logging.getLogger("edge").propagate = False
    engine, voices = Engine.open(), Voices(args.folder)
    found = {part: PARTS[part](engine, voices, args.attempts) for part in args.only}
    text = json.dumps(found, indent=2)
    if args.json is not None:
        args.json.write_text(text + "\n")
    print(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
