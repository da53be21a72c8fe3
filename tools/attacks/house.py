"""A service on a state directory of its own, real speech to attack it with, and who says what."""

from __future__ import annotations

import itertools
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from edge.access.lockout import STATE_KEY, read_record
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
from edge.types import SAMPLE_RATE, AccessDecision, AudioBlock, FloatArray, Profile
from tools.end_to_end import ENROLLED
from tools.end_to_end import enroll as enroll_sounds

COUNTING = LockOutConfig(rejections=100, budget=1000, budget_s=2592000.0)
"""Counts and practically never locks."""
PAUSE_S = 4.0
_ROOM = 10.0 ** (-70.0 / 20.0)


class Played(Source):
    """Sounds one after another, with pauses, as fast as they are taken but dated at their pace.

    Attributes:
        at_s: how much has been taken, seconds.
        ends_s: where each sound ends.
    """

    def __init__(self, sounds: Sequence[FloatArray], pause_s: float = PAUSE_S) -> None:
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
    """A service on a state directory of its own."""

    engine: Engine
    folder: Path
    lockout: LockOutConfig = field(default_factory=lambda: COUNTING)

    @property
    def config(self) -> Config:
        """Its settings: the engine's, by default the defaults, without a broker."""
        return replace(
            self.engine.config,
            mqtt=MqttConfig(enabled=False),
            monitor=MonitorConfig(enabled=False),
            state_directory=self.folder,
            lockout=self.lockout,
        )

    def enroll(self, items: Sequence[CorpusFile]) -> Profile:
        """Enroll the speaker of these recordings."""
        sounds = [read_audio(each.path).samples for each in items]
        return enroll_sounds(self.engine, self.config, items[0].speaker, sounds)

    def hear(self, source: Source) -> list[tuple[float, AccessDecision]]:
        """The decisions, and how much of the sound had been taken then, seconds."""
        heard: list[tuple[float, AccessDecision]] = []

        def note(decision: AccessDecision) -> None:
            heard.append((getattr(source, "at_s", 0.0), decision))

        build_service(self.config, source=source, on_decision=note).run()
        return heard

    def opened_by(self, sounds: Sequence[FloatArray]) -> int:
        """How many of these sounds open."""
        return sum(decision.granted for _, decision in self.hear(Played(sounds)))

    def copied(self, folder: Path) -> House:
        """Another house, in the state that this one is in."""
        shutil.copytree(self.folder, folder)
        return replace(self, folder=folder)

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

    def enrolled(self, speaker: str, number: int = 0) -> list[CorpusFile]:
        """The recordings that are enrolled."""
        return self.phrase(speaker, number)[:ENROLLED]

    def said(self, speaker: str, number: int = 0) -> list[CorpusFile]:
        """The recordings that are not."""
        return self.phrase(speaker, number)[ENROLLED:]

    def pairs(self, count: int) -> list[tuple[str, str]]:
        """Targets, each with a stranger."""
        every = list(itertools.permutations(self.speakers, 2))
        step = len(self.speakers) - 1
        # Each target once, then each once more with another stranger.
        turns = [every[(turn + offset) % len(every)] for offset in range(step)
                 for turn in range(0, len(every), step)]  # fmt: skip
        return turns[:count]


def sound_of(path: Path) -> FloatArray:
    """The speech in a recording, with 50 ms on either side."""
    samples = read_audio(path).samples
    loud = np.flatnonzero(np.abs(samples) > 0.02 * np.abs(samples).max())
    margin = SAMPLE_RATE // 20
    return samples[max(0, loud[0] - margin) : loud[-1] + margin]
