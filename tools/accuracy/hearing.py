"""Recordings as the product hears and judges them, under a condition, by several processes.

A sound is described by its files and the name of a condition, and made where it is heard. So a
process is sent a few words and answers with a few figures.
"""

from __future__ import annotations

import functools
import logging
import os
import pickle
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from edge.audio.utterance import utterance_of
from edge.config import Config
from edge.evaluation import trials
from edge.evaluation.trials import phrase_scores, voice_scores
from edge.recognition import Engine
from edge.recognition.results import Analysis
from edge.types import Profile, ProfileKind, ReasonCode
from tools.accuracy.figures import Scores
from tools.accuracy.surroundings import QUIET, Surroundings, changed
from tools.acoustics.words import recorded

_T = TypeVar("_T")
_Found = TypeVar("_Found")

HOPELESS = 3.0
"""A joint score that no preset accepts: one in twenty. Below it a phrase is not looked at."""
REFUSED = -1e3
"""Score of a refused recording: it does not open."""


@dataclass(frozen=True)
class Sound:
    """What is played to the product.

    Attributes:
        paths: the recording, or single words to be said in a row.
        condition: the name of one, for `surroundings.changed`.
        turn: whose turn it is, among the noises and in all that is random.
        to_enroll: whether what is kept of a repetition is wanted too.
    """

    paths: tuple[Path, ...]
    condition: str = QUIET
    turn: int = 0
    to_enroll: bool = False


@dataclass(frozen=True, eq=False)
class Heard:
    """A sound as the models see it, None without any speech; `refusal` None if it is judged."""

    analysis: Analysis | None
    refusal: ReasonCode | None


@dataclass(frozen=True, eq=False)
class Judged:
    """Every sound against every profile.

    Attributes:
        scores: joint scores, shape (profiles, sounds). Where they were not asked for, or where no
            phrase could bring the score to `HOPELESS`, it is what a perfect phrase would give.
        refusals: why a sound was not judged, None where it was.
    """

    scores: Scores
    refusals: tuple[ReasonCode | None, ...]

    @property
    def refused(self) -> NDArray[np.bool_]:
        """Which sounds were not judged, shape (sounds,)."""
        return np.asarray([reason is not None for reason in self.refusals], dtype=np.bool_)


@dataclass(frozen=True, eq=False)
class Listener:
    """Hears and judges in one process."""

    engine: Engine = field(repr=False)
    surroundings: Surroundings

    def hear(self, sound: Sound) -> Heard:
        """Make a sound, and cut and embed it as the product does."""
        samples = changed(recorded(sound.paths), sound.condition, sound.turn, self.surroundings)
        utterance = utterance_of(samples)
        if utterance.quality.net_speech_s <= 0.0:
            return Heard(None, ReasonCode.TOO_SHORT)
        refusal = self.engine.refusal(utterance, ProfileKind.PHRASE)
        if refusal is not None:
            return Heard(None, refusal)
        analysis = self.engine.analyze(utterance, to_enroll=sound.to_enroll)
        if not sound.to_enroll:
            analysis = self.engine.with_stretches(utterance, analysis)
            analysis = self.engine.without_echo(utterance, analysis)
        return Heard(analysis, refusal)

    def call(self, function: Callable[[Engine, _T], _Found], thing: _T) -> _Found:
        """The function of the engine and a thing."""
        return function(self.engine, thing)

    def judge(self, sound: Sound, profiles: Path, asked: NDArray[np.bool_]) -> Any:
        """The scores of a sound, shape (profiles,), and why it is refused."""
        heard = self.hear(sound)
        if heard.analysis is None or heard.refusal is not None:
            return np.full(len(asked), REFUSED), heard.refusal
        return joint_scores(self.engine, _profiles(profiles), heard.analysis, asked), None


def joint_scores(
    engine: Engine, profiles: Sequence[Profile], analysis: Analysis, asked: NDArray[np.bool_]
) -> Scores:
    """Joint scores of an utterance, shape (profiles,), as `Judged` has them."""
    voice = voice_scores(engine, profiles, [analysis])[:, 0]
    scores = np.asarray(engine.scorer.joints(voice, np.full(len(voice), np.inf)), np.float64)
    looked_at = np.flatnonzero(asked & (scores >= HOPELESS)).tolist()
    if looked_at:
        some = [profiles[i] for i in looked_at]
        phrase = phrase_scores(engine, some, [analysis])
        found = trials.joint_scores(engine, some, [analysis], voice[looked_at, None], phrase)
        scores[looked_at] = found[:, 0]
    return scores


class Hearing:
    """Hears and judges many sounds, by several processes if `jobs` is more than one.

    Args:
        surroundings: where noise comes from.
        models: folder of the models; None for those that come with the software.
        jobs: how many processes.
    """

    def __init__(
        self, surroundings: Surroundings, models: Path | None = None, jobs: int = 1
    ) -> None:
        self.engine = Engine.open(Config(models_directory=models))
        self.surroundings = surroundings
        self._listener = Listener(self.engine, surroundings)
        self._quiet: dict[Sound, Heard] = {}
        self._pool: ProcessPoolExecutor | None = None
        if jobs > 1:
            os.environ.setdefault("OMP_NUM_THREADS", "1")
            self._pool = ProcessPoolExecutor(
                jobs, get_context("spawn"), _open, (surroundings, models)
            )

    def close(self) -> None:
        """End the processes."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def hear(self, sounds: Sequence[Sound], description: str) -> list[Heard]:
        """Every sound; those in quiet are kept for the next time."""
        new = [sound for sound in dict.fromkeys(sounds) if sound not in self._quiet]
        found = dict(zip(new, self._each(Listener.hear, new, description=description)))
        self._quiet.update((sound, one) for sound, one in found.items() if sound.condition == QUIET)
        return [found.get(sound) or self._quiet[sound] for sound in sounds]

    def judge(
        self,
        profiles: Sequence[Profile],
        sounds: Sequence[Sound],
        asked: NDArray[np.bool_],
        description: str,
    ) -> Judged:
        """Every sound against every profile; `asked`, shape (profiles, sounds), where it counts."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "profiles"
            file.write_bytes(pickle.dumps(list(profiles)))
            files = [file] * len(sounds)
            found = list(
                self._each(Listener.judge, sounds, files, asked.T, description=description)
            )
        return Judged(np.stack([scores for scores, _ in found], 1), tuple(why for _, why in found))

    def each(
        self, function: Callable[[Engine, _T], _Found], things: Sequence[_T], description: str
    ) -> list[_Found]:
        """A function of the module level, called with a process's engine and each thing."""
        functions = [function] * len(things)
        return list(self._each(Listener.call, functions, things, description=description))

    def _each(self, method: Any, *columns: Iterable[Any], description: str) -> Iterable[Any]:
        rows = list(zip(*columns))
        if self._pool is None:
            found: Iterable[Any] = (method(self._listener, *row) for row in rows)
        else:
            found = self._pool.map(_do, [method.__name__] * len(rows), rows, chunksize=2)
        watched = sys.stdout.isatty()
        return track(found, description, len(rows), transient=True, disable=not watched)


_here: Listener | None = None
"""The listener of this process, where it is one of a pool's."""


def _open(surroundings: Surroundings, models: Path | None) -> None:
    logging.getLogger("edge").setLevel(logging.ERROR)
    global _here  # noqa: PLW0603 (what an initializer leaves for the calls after it)
    _here = Listener(Engine.open(Config(models_directory=models)), surroundings)


def _do(method: str, row: Sequence[Any]) -> Any:
    return getattr(_here, method)(*row)


@functools.lru_cache(maxsize=1)
def _profiles(file: Path) -> list[Profile]:
    """Profiles that this very tool wrote."""
    profiles: list[Profile] = pickle.loads(file.read_bytes())  # noqa: S301
    return profiles
