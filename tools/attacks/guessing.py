"""Strangers who know the phrase, and how often they may say it."""

from __future__ import annotations

import itertools
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edge.access.lockout import LockOut
from edge.config import LockOutConfig
from edge.recognition import Engine
from edge.store.device_state import DeviceState
from edge.types import SAMPLE_RATE, FloatArray, ReasonCode
from tools.attacks.house import House, Played, Voices, sound_of
from tools.attacks.rows import Attack
from tools.running_speech import Stream

Found = tuple[list[Attack], dict[str, Any]]
"""The rows, and more figures."""
_TALK = 20
"""Recordings of talk for each attempt; they take four seconds each."""
_DAYS = 10
_DAY_S = 86400.0


def strangers(engine: Engine, voices: Voices, attempts: int) -> Found:
    """The phrase in strangers' voices, with nothing altered; and in the owner's, to compare."""
    opened = tried = own = said = 0
    each = max(1, attempts // 4)
    for target, stranger in voices.pairs(attempts // each):
        with tempfile.TemporaryDirectory() as state:
            house = House(engine, Path(state))
            house.enroll(voices.enrolled(target))
            sounds = [sound_of(item.path) for item in voices.phrase(stranger)[:each]]
            right = [sound_of(item.path) for item in voices.said(target)[:each]]
            opened += house.opened_by(sounds)
            own += house.opened_by(right)
            tried, said = tried + len(sounds), said + len(right)
    row = Attack(
        "A stranger says the phrase (no attack instrument: the false-accept rate)",
        tried,
        opened,
        "Voice and phrase must both be right, and the lock-out counts.",
        "Related people on one microphone.",
        "attack FOLDER --only strangers",
    )
    return [row], {"owner": {"said": said, "opened": own}}


def inside(engine: Engine, voices: Voices, attempts: int) -> Found:
    """A phrase in other talk: a stranger's, and the owner's for comparison."""
    result: dict[str, Any] = {}
    talk = iter(voices.talk)
    sounds: dict[str, list[FloatArray]] = {"stranger": [], "owner": []}
    target, stranger = voices.pairs(1)[0]
    recordings = {"stranger": voices.phrase(stranger), "owner": voices.said(target)}
    for who, items in recordings.items():
        for item in itertools.islice(itertools.cycle(items), attempts):
            sounds[who].append(_wrapped(item.path, next(talk), next(talk)))
    for who, played in sounds.items():
        with tempfile.TemporaryDirectory() as state:
            house = House(engine, Path(state))
            house.enroll(voices.enrolled(target))
            decisions = [each for _, each in house.hear(Played(played, 1.5))]
            result[who] = {
                "said": len(played),
                "opened": sum(each.granted for each in decisions),
                "counted": house.counted(),
                "reasons": dict(Counter(each.reason.value for each in decisions)),
            }
    found = result["stranger"]
    row = Attack(
        "A stranger says the phrase inside other talk",
        found["said"],
        found["opened"],
        f"As above; {found['counted']} of {found['said']} counted toward the lock-out.",
        "What is not recognized as the phrase is not counted, and cannot open.",
        "attack FOLDER --only inside",
    )
    return [row], result


def _wrapped(phrase: Path, before: Path, after: Path) -> FloatArray:
    gap = np.zeros(round(0.08 * SAMPLE_RATE), np.float32)
    return np.concatenate((sound_of(before), gap, sound_of(phrase), gap, sound_of(after)))


def talk(engine: Engine, voices: Voices, attempts: int) -> Found:
    """What opens, or is counted, although nobody says the phrase."""
    with tempfile.TemporaryDirectory() as state:
        house = House(engine, Path(state))
        house.enroll(voices.enrolled(voices.speakers[0]))
        step = max(1, len(voices.talk) // (_TALK * attempts))
        stream = Stream.compose(voices.talk[::step][: _TALK * attempts], [], seed=1)
        decisions = house.hear(stream)
        row = Attack(
            "Other talk at the door (accepted: opens)",
            len(decisions),
            sum(each.granted for _, each in decisions),
            f"It is no attempt: {house.counted()} counted toward the lock-out.",
            "Nothing that was seen.",
            "attack FOLDER --only talk",
        )
    return [row], {"minutes": round(stream.duration_s / 60.0, 1)}


def spread(engine: Engine, voices: Voices, attempts: int) -> Found:
    """Attempts that are judged within ten days, by how they are spread; by the clock alone."""
    del engine, voices, attempts
    ways = {
        "Four attempts each 301 s": (1152, _judged(lambda turn: 301.0 if turn % 4 == 0 else 0.0)),
        "One attempt each 2.4 hours": (10, _judged(lambda _: 8641.0)),
        "As many as it takes, one each 10 s": (8640, _judged(lambda _: 10.0)),
        "One each 9 s, and residents come home in between": (
            9600,
            _judged(lambda _: 9.0, grants=True),
        ),
    }
    rows = [
        Attack(
            f"{way}, for {_DAYS} days (accepted: judged)",
            wanted * _DAYS,
            sum(days),
            f"The budget: {days[0]} on the first day, then at most {max(days[1:])} a day.",
            "An attempt each 2.4 hours. And anybody can keep the door locked.",
            "attack FOLDER --only spread",
            chance=False,
        )
        for way, (wanted, days) in ways.items()
    ]
    return rows, {way: days for way, (_, days) in ways.items()}


def _judged(wait_s: Callable[[int], float], *, grants: bool = False) -> Sequence[int]:
    """The attempts that are judged on each day."""
    stranger, resident = np.eye(2, dtype=np.float32)
    now = 0.0
    days = [0] * _DAYS
    with tempfile.TemporaryDirectory() as folder:
        state = DeviceState(Path(folder))
        lockout = LockOut(
            LockOutConfig(),
            state,
            record=lambda _: None,
            changed=lambda _: None,
            clock=lambda: now,
            boot="boot",
        )
        number = 0
        while now < _DAYS * _DAY_S:
            if not lockout.locked:
                number += 1
                days[int(now // _DAY_S)] += 1
                lockout.rejected(ReasonCode.UNKNOWN_SPEAKER, stranger)
                if grants and number % 4 == 0:
                    lockout.granted(resident)
            now += max(wait_s(number), 0.01 if not lockout.locked else 10.0)
        state.close()
    return days
