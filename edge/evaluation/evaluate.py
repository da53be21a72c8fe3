"""From a folder of recordings to all that they show."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from edge import __version__
from edge.errors import AudioFormatError, InputError
from edge.evaluation import corpus
from edge.evaluation.corpus import CorpusFile, Track, complain_in_log, unwatched
from edge.evaluation.measure import kind_figures, preset_figures
from edge.evaluation.results import Evaluation
from edge.evaluation.suggestion import suggest
from edge.evaluation.trials import Trials, score, split
from edge.evaluation.trials import thresholds as preset_thresholds
from edge.recognition import Engine
from edge.types import ProfileKind


@dataclass(frozen=True, eq=False)
class Evaluated:
    """What was found, and what plots are drawn from.

    Attributes:
        evaluation: what was found.
        trials: every scored trial.
        thresholds: the score from which each preset accepts, by its name.
    """

    evaluation: Evaluation
    trials: Trials
    thresholds: Mapping[str, float]


def evaluate(
    engine: Engine,
    folder: Path,
    *,
    enroll: int = 3,
    track: Track = unwatched,
    on_unreadable: Callable[[CorpusFile, AudioFormatError], None] = complain_in_log,
) -> Evaluated:
    """Measure how often strangers would get in and residents be turned away.

    Args:
        engine: the recognizer.
        folder: `PERSON/*.wav`, voices only, or `PERSON/PHRASE/*.wav`; FLAC too.
        enroll: recordings enrolled for each person (and phrase), the first ones by name.
        track: shows how far it is.
        on_unreadable: is told of each file that cannot be read; it is counted, and the rest goes
            on.

    Raises:
        InputError: the folder does not exist, mixes both layouts, or holds too little.
    """
    items = corpus.find_items(folder)
    by_phrase = _layout(folder, items)
    unreadable: list[CorpusFile] = []

    def left_out(item: CorpusFile, error: AudioFormatError) -> None:
        unreadable.append(item)
        on_unreadable(item, error)

    spoken = corpus.analyze_all(
        engine, items, with_phrase=by_phrase, track=track, on_unreadable=left_out
    )
    parts = split([one for one in spoken if one.refusal is None], enroll)
    trials = score(engine, parts, track)
    kind = ProfileKind.PHRASE if by_phrase else ProfileKind.VOICE
    thresholds = preset_thresholds(engine, kind)
    presets = preset_figures(trials, thresholds)
    evaluation = Evaluation(
        folder=folder.resolve().name,
        made_at=datetime.now().astimezone().isoformat(timespec="seconds"),
        software=__version__,
        speaker_model=engine.models.speaker.sha256,
        phrase_model=engine.models.phrase.sha256,
        by_phrase=by_phrase,
        enroll=enroll,
        people=len(trials.people),
        profiles=len(parts.enrolled),
        recordings=len(items),
        tested=len(parts.tested),
        refused=corpus.refusals(items, spoken, len(unreadable)),
        kinds=kind_figures(trials),
        presets=presets,
        suggestion=suggest(presets, len(trials.people)),
    )
    return Evaluated(evaluation, trials, thresholds)


def _layout(folder: Path, items: Sequence[CorpusFile]) -> bool:
    """Whether there are phrases; an error where there are in part."""
    spoken_freely = [item.path for item in items if not item.phrase]
    phrases = [item.path for item in items if item.phrase]
    if spoken_freely and phrases:
        raise InputError(
            f"{folder}: holds both PERSON/FILE ({spoken_freely[0].relative_to(folder)}) and"
            f" PERSON/PHRASE/FILE ({phrases[0].relative_to(folder)}); put them in two folders and"
            " evaluate each"
        )
    return bool(phrases)
