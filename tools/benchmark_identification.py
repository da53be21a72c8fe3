"""Measures what identifying who speaks takes: two services side by side, one of them without it."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge.audio.blocks import FRAME_SAMPLES
from edge.config import load_config
from edge.demo.parts import (
    DecisionSubscriber,
    DemoBroker,
    Player,
    ServiceProcess,
    is_online,
    write_config,
)
from edge.demo.show import Show
from edge.demo.story import START_TIMEOUT_S, Play, Scene, demo_settings, enroll
from edge.types import SAMPLE_RATE, FloatArray
from tools.benchmark_service import PLAYS, memory_mb, processor_s

_SPEECH_DBFS = -45.0
_LONGEST_PAUSE = 6
"""Frames of a pause that stay, 0.2 s: somebody who speaks without a stop."""
_SETTLE_S = 5.0
_PATIENCE_S = 60.0


@dataclass(frozen=True)
class Identifying:
    """What a service takes that identifies who speaks, or does not.

    Attributes:
        identifying: whether it does.
        idle: share of a core in a quiet room.
        speaking: share of a core while somebody speaks without a stop.
        wait_s: median time from the end of a phrase to the decision.
        granted: how many decisions let in, of all that there should be.
        decisions: how many there should be.
        peak_mb: most memory.
    """

    identifying: bool
    idle: float
    speaking: float
    wait_s: float
    granted: int
    decisions: int
    peak_mb: float


class _Measured:
    """A service of its own folder, and what is played to it."""

    def __init__(self, play: Play, broker: DemoBroker, *, identifying: bool) -> None:
        self.identifying = identifying
        self._stack = ExitStack()
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        settings = {
            **demo_settings(folder, broker),
            "device": {"id": "with" if identifying else "without"},
            "identification": {"enabled": identifying},
            "replay": {"enabled": False},
            # On a busy machine too each decision is to be counted.
            "access": {"decision_lifetime_s": 60.0},
        }
        self._path = write_config(folder, settings)
        enroll(play.people, load_config(self._path), Show(None))

    def __enter__(self) -> _Measured:
        enter = self._stack.enter_context
        self._decisions = enter(DecisionSubscriber(load_config(self._path)))
        self.service = enter(ServiceProcess(self._path, piped=True))
        self.player = enter(Player(self.service.sound))
        if not self._decisions.wait_for_status(
            is_online, START_TIMEOUT_S, lambda: self.service.running
        ):
            raise self.service.fault("the service did not report on MQTT that it is online")
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def wait_of(self, scene: Scene) -> tuple[float, bool]:
        """Seconds from the end of a phrase to the decision, and whether it let in."""
        self._decisions.skip_decisions()
        begun = self.player.play(scene.samples)
        arrival = self._decisions.next_decision(_PATIENCE_S)
        if begun is None or arrival is None:
            raise self.service.fault("no decision came")
        message, decision = arrival
        return message.timestamp - begun - scene.speech_end_s, decision["decision"] == "granted"


def measure_identification(
    play: Play, scene: Scene, idle_s: float, speaking_s: float
) -> list[Identifying]:
    """Run two services at the same moment with the same sound, one of which identifies.

    Args:
        play: the people to enroll in both, and whose recordings are the speech.
        scene: the recording to play for a decision, which must be granted.
        idle_s: how long the room is quiet, seconds.
        speaking_s: how long there is speech, seconds.
    """
    speech = running_speech(play, speaking_s)
    with ExitStack() as stack:
        broker = stack.enter_context(DemoBroker())
        both = [
            stack.enter_context(_Measured(play, broker, identifying=identifying))
            for identifying in (False, True)
        ]
        pool = stack.enter_context(ThreadPoolExecutor(len(both)))
        time.sleep(_SETTLE_S)
        before, began = _processor(both), time.monotonic()
        time.sleep(idle_s)
        idle = _shares(both, before, began)
        before, began = _processor(both), time.monotonic()
        list(pool.map(lambda each: each.player.play(speech), both))
        speaking = _shares(both, before, began)
        time.sleep(_SETTLE_S)
        answers = [list(pool.map(lambda each: each.wait_of(scene), both)) for _ in range(PLAYS)]
        return [
            Identifying(
                each.identifying,
                idle[number],
                speaking[number],
                statistics.median(answer[number][0] for answer in answers),
                sum(answer[number][1] for answer in answers),
                len(answers),
                memory_mb(each.service.pid, "VmHWM"),
            )
            for number, each in enumerate(both)
        ]


def running_speech(play: Play, seconds: float) -> FloatArray:
    """What the people of a play say, one recording after another, without its longer pauses."""
    recordings = [
        *(samples for person in play.people for samples in person.repetitions),
        *(scene.samples for scene in play.scenes),
    ]
    spoken = np.concatenate([_without_pauses(samples) for samples in recordings])
    return np.resize(spoken, round(seconds * SAMPLE_RATE))


def _without_pauses(samples: FloatArray) -> FloatArray:
    frames = samples[: len(samples) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    power = np.mean(np.square(frames, dtype=np.float64), axis=1)
    kept, quiet = [], _LONGEST_PAUSE
    for frame, loud in zip(frames, power > 10.0 ** (_SPEECH_DBFS / 10.0)):
        quiet = 0 if loud else quiet + 1
        if quiet <= _LONGEST_PAUSE:
            kept.append(frame)
    return np.concatenate(kept)


def _processor(services: Iterable[_Measured]) -> list[float]:
    return [processor_s(each.service.pid) for each in services]


def _shares(services: Sequence[_Measured], before: Sequence[float], began: float) -> list[float]:
    """Which part of a core each has taken since a moment."""
    passed = time.monotonic() - began
    return [(after - earlier) / passed for after, earlier in zip(_processor(services), before)]
