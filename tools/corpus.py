"""Folders of recordings as lists of analysed utterances, for every tool that measures accuracy.

Two layouts are read: `SPEAKER/*.flac` (the text differs) and `SPEAKER/PHRASE/*.flac` (each phrase
said several times). Where file names begin with a style (`neutral1_1.flac`), the style is known.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from rich.progress import track

from edge.audio.files import read_audio
from edge.audio.utterance import utterance_of
from edge.recognition import Engine
from edge.recognition.results import Analysis
from edge.types import ProfileKind, ReasonCode

AUDIO_SUFFIXES = (".flac", ".wav")
_STYLE = re.compile(r"[a-z]+")


@dataclass(frozen=True)
class Item:
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

    item: Item
    analysis: Analysis
    refusal: Optional[ReasonCode]


def find_items(folder: Path) -> list[Item]:
    """Every recording below a folder, in order of its path.

    Raises:
        FileNotFoundError: the folder does not exist or holds no recordings.
    """
    items = []
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.suffix.lower() not in AUDIO_SUFFIXES or len(parts) not in (2, 3):
            continue
        style = _STYLE.match(path.stem.lower())
        items.append(
            Item(path, parts[0], parts[1] if len(parts) == 3 else "", style[0] if style else "")
        )
    if not items:
        raise FileNotFoundError(
            f"no recordings in {folder}: it must hold SPEAKER/*.flac or SPEAKER/PHRASE/*.flac"
        )
    return items


def analyse_all(engine: Engine, items: Iterable[Item], *, with_phrase: bool) -> list[Spoken]:
    """Cut and embed every recording as the product would; those without speech are left out."""
    spoken = []
    for item in track(list(items), description="listening", transient=True):
        utterance = utterance_of(read_audio(item.path).samples)
        if utterance.quality.net_speech_s > 0:
            analysis = engine.analyse(utterance, with_phrase=with_phrase)
            kind = ProfileKind.PHRASE if with_phrase else ProfileKind.VOICE
            spoken.append(Spoken(item, analysis, engine.refusal(utterance, kind)))
    return spoken


def refusals(items: Sequence[Item], spoken: Sequence[Spoken]) -> dict[str, int]:
    """How many of all recordings the product would not judge, by reason."""
    found = Counter(one.refusal.value for one in spoken if one.refusal)
    found["no speech found"] = len(items) - len(spoken)
    return {reason: count for reason, count in found.items() if count}


def grouped(
    spoken: Iterable[Spoken], key: Callable[[Item], tuple[str, ...]]
) -> dict[tuple[str, ...], list[Spoken]]:
    """Recordings by what `key` says of them, in order."""
    groups: dict[tuple[str, ...], list[Spoken]] = {}
    for one in spoken:
        groups.setdefault(key(one.item), []).append(one)
    return groups
