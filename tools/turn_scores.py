"""What is said of who speaks when, held against the truth.

The diarization error rate is that of pyannote.metrics (`pip install pyannote.metrics`), with a
collar of 0.25 s and all strangers as one; without the package it is left out.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edge.types import SAMPLE_RATE
from tools.turn_streams import NOBODY, Spoken, Stream

_FRAME_S = 0.01
_LATE_S = 0.7
"""A name that comes this long after somebody's last word is still theirs."""
_COLLAR_S = 0.5
"""Both sides of a border together."""


def _error_rates() -> list[Any]:
    """The diarization error rate, where its package is installed."""
    try:
        from pyannote.metrics.diarization import DiarizationErrorRate  # noqa: PLC0415
    except ImportError:
        return []
    return [DiarizationErrorRate(collar=_COLLAR_S)]


@dataclass(frozen=True)
class Said:
    """What is said of a turn at a moment of the stream; later ones of the same number replace it.

    Attributes:
        at_s: how much of the stream had been heard by then, seconds.
        name: whose voice it is; None for nobody of the group.
        over: whether the turn has ended.
    """

    at_s: float
    number: int
    start_s: float
    end_s: float
    name: str | None
    over: bool


@dataclass
class Household:
    """What was counted in streams of people in turn, seconds of speech unless said."""

    seconds: float = 0.0
    right: float = 0.0
    wrong: float = 0.0
    unnamed: float = 0.0
    strangers: float = 0.0
    strangers_named: float = 0.0
    first_s: list[float] = field(default_factory=list)
    """From somebody's first word to their name."""
    never: int = 0
    _metrics: list[Any] = field(default_factory=_error_rates)

    def add(self, stream: Stream, said: Sequence[Said]) -> None:
        """Count a stream."""
        truth = stream.truth
        self.seconds += truth[-1].end_s
        length = round((truth[-1].end_s + 1.0) / _FRAME_S)
        names = np.full(length, NOBODY, dtype=object)
        for each in said:
            if each.over:
                first, last = (round(at / _FRAME_S) for at in (each.start_s, each.end_s))
                names[first:last] = each.name or NOBODY
        for spoken in truth:
            given = names[round(spoken.start_s / _FRAME_S) : round(spoken.end_s / _FRAME_S)]
            nobody, right = (
                float(np.sum(given == name)) * _FRAME_S for name in (NOBODY, spoken.name)
            )
            everything = len(given) * _FRAME_S
            if spoken.name == NOBODY:
                self.strangers += everything
                self.strangers_named += everything - nobody
            else:
                self.right += right
                self.unnamed += nobody
                self.wrong += everything - nobody - right
        self._add_first(truth, said)
        for metric in self._metrics:
            metric(*_annotations(truth, said), uem=_whole(stream))

    def _add_first(self, truth: Sequence[Spoken], said: Sequence[Said]) -> None:
        for name, several in itertools.groupby(truth, key=lambda each: each.name):
            if name == NOBODY:
                continue
            turn = list(several)
            begins, ends = turn[0].start_s, turn[-1].end_s + _LATE_S
            named = [s.at_s - begins for s in said if s.name == name and begins <= s.at_s <= ends]
            if named:
                self.first_s.append(min(named))
            else:
                self.never += 1

    def figures(self) -> dict[str, float | None]:
        """By name."""
        known = self.right + self.wrong + self.unnamed
        rates = [round(100.0 * abs(metric), 2) for metric in self._metrics] or [None]
        return {
            "minutes": round(self.seconds / 60.0, 1),
            "diarization error rate, %": rates[0],
            "wrong name, %": percent(self.wrong, known),
            "no name, %": percent(self.unnamed, known),
            "strangers named, %": percent(self.strangers_named, self.strangers),
            "first right name, median s": (
                round(statistics.median(self.first_s), 2) if self.first_s else None
            ),
            "turns never named, %": percent(self.never, self.never + len(self.first_s)),
        }


@dataclass
class Strangers:
    """False names in streams without anyone of the group.

    Attributes:
        hours: of their speech, times the groups that listened.
        names: how often a turn came to have a name, or another one.
    """

    hours: float = 0.0
    names: int = 0

    def add(self, stream: Stream, said: Iterable[Said]) -> None:
        """Count a stream that a group listened to."""
        self.hours += sum(each.end_s - each.start_s for each in stream.truth) / 3600.0
        shown: dict[int, str | None] = {}
        for each in said:
            self.names += each.name is not None and shown.get(each.number) != each.name
            shown[each.number] = each.name

    def figures(self) -> dict[str, float]:
        """The rate with its interval, 95 %."""
        low, high = poisson_interval(self.names)
        return {
            "hours": round(self.hours, 2),
            "false names": self.names,
            "an hour": round(self.names / self.hours, 2),
            "at least": round(low / self.hours, 2),
            "at most": round(high / self.hours, 2),
        }


def percent(part: float, whole: float) -> float | None:
    """A share in percent; None of nothing."""
    return round(100.0 * part / whole, 2) if whole else None


def poisson_interval(count: int) -> tuple[float, float]:
    """The exact 95 % interval of the mean of a Poisson variable of which `count` was seen.

    F. Garwood, "Fiducial limits for the Poisson distribution", 1936.
    """
    from scipy.stats import chi2  # noqa: PLC0415 - of the extra "measure"

    low = float(chi2.ppf(0.025, 2 * count)) / 2.0 if count else 0.0
    return low, float(chi2.ppf(0.975, 2 * count + 2)) / 2.0


def _whole(stream: Stream) -> Any:
    from pyannote.core import Segment, Timeline  # noqa: PLC0415 - not everywhere

    return Timeline([Segment(0.0, len(stream.samples) / SAMPLE_RATE)])


def _annotations(truth: Sequence[Spoken], said: Sequence[Said]) -> tuple[Any, Any]:
    from pyannote.core import Annotation, Segment  # noqa: PLC0415 - not everywhere

    reference, hypothesis = Annotation(), Annotation()
    for number, each in enumerate(truth):
        reference[Segment(each.start_s, each.end_s), number] = each.name
    for turn in said:
        if turn.over and turn.end_s > turn.start_s:
            hypothesis[Segment(turn.start_s, turn.end_s), turn.number] = turn.name or NOBODY
    return reference, hypothesis
