"""Folders of recordings as lists of analyzed utterances, for everything that measures accuracy.

Two layouts are read: `SPEAKER/*.flac` (the text differs) and `SPEAKER/PHRASE/*.flac` (each phrase
said several times). Where file names begin with a style (`neutral1_1.flac`), the style is known.
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
    """What shows how far it is, such as a progress bar."""

    def __call__(self, things: Sequence[_T], description: str, /) -> Iterable[_T]:
        """Give the things one by one; `description` is a word for what is done with them."""


@dataclass(frozen=True)
class CorpusFile:
    """One recording of a corpus.

    Attributes:
        path: the file.
        speaker: who speaks.
        phrase: which phrase is said; empty where the text differs from file to file.
        style: how it is said (`neutral`, `happy`); empty where the file name does not tell.
    """

    path: Path
    speaker: str
    phrase: str
    style: str


@dataclass(frozen=True)
class Spoken:
    """A recording as the models see it.

    Attributes:
        item: which one.
        analysis: what the models made of it.
        refusal: why the product would not judge it; None when it would.
    """

    item: CorpusFile
    analysis: Analysis
    refusal: ReasonCode | None


def unwatched(things: Sequence[_T], description: str) -> Iterable[_T]:
    """Show nobody how far it is; what shows it has the same form, as `Track`."""
    del description
    return things


def complain_in_log(item: CorpusFile, error: AudioFormatError) -> None:
    """Say why a recording is left out."""
    del item  # the error names the file
    _LOG.warning("left out: %s", error)


def find_items(folder: Path) -> list[CorpusFile]:
    """Every recording below a folder, in order of its path; hidden files are passed over.

    Raises:
        InputError: the folder does not exist or holds no recordings.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; name the one that holds the recordings")
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
    on_unreadable: Callable[[CorpusFile, AudioFormatError], None] = complain_in_log,
) -> list[Spoken]:
    """Cut and embed every recording as the product would; those without speech are left out.

    Args:
        analyzer: the recognizer.
        items: which recordings.
        with_phrase: whether to embed what is said too.
        track: shows how far it is; gets the recordings and a word, and gives them one by one.
        on_unreadable: is told of each file that cannot be read, and the rest goes on.
    """
    spoken = []
    kind = ProfileKind.PHRASE if with_phrase else ProfileKind.VOICE
    for item in track(items, "listening"):
        try:
            utterance = utterance_of(read_audio(item.path).samples)
        except AudioFormatError as error:
            on_unreadable(item, error)
            continue
        if utterance.quality.net_speech_s <= 0:
            continue
        try:
            analysis = analyzer.analyze(utterance, with_phrase=with_phrase, to_enroll=with_phrase)
        except InputError:  # too little sound for the models, which is no speech to speak of
            continue
        spoken.append(Spoken(item, analysis, analyzer.refusal(utterance, kind)))
    return spoken


def refusals(
    items: Sequence[CorpusFile], spoken: Sequence[Spoken], unreadable: int = 0
) -> dict[str, int]:
    """How many of all recordings the product would not judge, by reason.

    Args:
        items: all of them.
        spoken: those that were analyzed.
        unreadable: how many could not be read.
    """
    found = Counter(one.refusal.value for one in spoken if one.refusal)
    found["no speech found"] = len(items) - len(spoken) - unreadable
    found["cannot be read"] = unreadable
    return {reason: count for reason, count in found.items() if count}


def grouped(
    spoken: Iterable[Spoken], key: Callable[[CorpusFile], tuple[str, ...]]
) -> dict[tuple[str, ...], list[Spoken]]:
    """Recordings by what `key` says of them, in order."""
    groups: dict[tuple[str, ...], list[Spoken]] = {}
    for one in spoken:
        groups.setdefault(key(one.item), []).append(one)
    return groups
