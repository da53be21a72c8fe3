"""Folders of recordings, `SPEAKER/*.flac` or `SPEAKER/PHRASE/*.flac`, as analyzed utterances.

A file name may begin with a style (`neutral1_1.flac`).
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from edge.audio.files import read_audio
from edge.audio.utterance import utterance_of
from edge.errors import AudioFormatError, InputError
from edge.recognition.engine import Analyzer
from edge.recognition.results import Analysis
from edge.types import ProfileKind, ReasonCode

_LOG = logging.getLogger(__name__)
_T = TypeVar("_T")

AUDIO_SUFFIXES = (".flac", ".wav")
_STYLE = re.compile(r"[a-z]+")


class Track(Protocol):
    """Shows progress, such as a progress bar."""

    def __call__(self, things: Sequence[_T], description: str, /) -> Iterable[_T]:
        """Yield the things one by one; `description` says what is done with them."""


@dataclass(frozen=True)
class CorpusFile:
    """A recording; `phrase` is empty for free text, `style` if the file name has none."""

    path: Path
    speaker: str
    phrase: str
    style: str


@dataclass(frozen=True)
class Spoken:
    """A recording as the models see it; `refusal` is None if the product would judge it."""

    item: CorpusFile
    analysis: Analysis
    refusal: ReasonCode | None


def unwatched(things: Sequence[_T], description: str) -> Iterable[_T]:
    """A `Track` that shows nothing."""
    del description
    return things


def warn_in_log(error: AudioFormatError) -> None:
    """Log that a recording, which the error names, is skipped."""
    _LOG.warning("skipped: %s", error)


def find_items(folder: Path) -> list[CorpusFile]:
    """Every recording in a folder by path, without hidden files. Raises `InputError` for none."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; name the folder of recordings")
    items = []
    for path in sorted([*folder.glob("*/*"), *folder.glob("*/*/*")]):
        parts = path.relative_to(folder).parts
        if path.suffix.lower() not in AUDIO_SUFFIXES:
            continue
        if any(part.startswith(".") for part in parts):
            continue
        style = _STYLE.match(path.stem.lower())
        items.append(
            CorpusFile(
                path, parts[0], parts[1] if len(parts) == 3 else "", style[0] if style else ""
            )
        )
    if not items:
        raise InputError(
            f"{folder}: no recordings; it must hold PERSON/*.wav or PERSON/PHRASE/*.wav (or .flac)"
        )
    return items


def analyze_all(
    analyzer: Analyzer,
    items: Sequence[CorpusFile],
    *,
    with_phrase: bool,
    track: Track = unwatched,
    on_unreadable: Callable[[AudioFormatError], None] = warn_in_log,
    on_silent: Callable[[CorpusFile], None] = lambda _item: None,
) -> list[Spoken]:
    """Segment and embed every recording as the product would, except those without speech."""
    spoken = []
    kind = ProfileKind.PHRASE if with_phrase else ProfileKind.VOICE
    for item in track(items, "listening"):
        try:
            utterance = utterance_of(read_audio(item.path))
        except AudioFormatError as error:
            on_unreadable(error)
            continue
        if utterance.quality.net_speech_s <= 0:
            on_silent(item)
            continue
        try:
            analysis = analyzer.analyze(utterance, with_phrase=with_phrase, to_enroll=with_phrase)
            if with_phrase:
                analysis = analyzer.without_echo(utterance, analysis)
        except InputError:  # too little sound for the models
            on_silent(item)
            continue
        spoken.append(Spoken(item, analysis, analyzer.refusal(utterance, kind)))
    return spoken


def refusals(
    items: Sequence[CorpusFile], spoken: Sequence[Spoken], unreadable: int = 0
) -> dict[str, int]:
    """How many of the recordings the product would not judge, by reason."""
    found = Counter(one.refusal.value for one in spoken if one.refusal)
    found["no speech found"] = len(items) - len(spoken) - unreadable
    found["cannot be read"] = unreadable
    return {reason: count for reason, count in found.items() if count}


def grouped(
    spoken: Iterable[Spoken], key: Callable[[CorpusFile], tuple[str, ...]]
) -> dict[tuple[str, ...], list[Spoken]]:
    """Recordings grouped by a key, in order."""
    groups: dict[tuple[str, ...], list[Spoken]] = {}
    for one in spoken:
        groups.setdefault(key(one.item), []).append(one)
    return groups
