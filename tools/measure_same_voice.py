"""How often one voice under two names is noticed, and two people are taken for one.

    python -m tools.measure_same_voice FOLDER

FOLDER holds any of `same_phrase/SPEAKER/PHRASE/*` (three repetitions make an enrollment, two
enrollments a phrase), `read_sentences/SPEAKER/*` (three sentences, of every third speaker) and
`words/SPEAKER/WORD/*` (a phrase of four words, said three times). Every pair of enrollments in one
corpus is compared.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from edge.audio.files import read_audio
from edge.audio.utterance import utterance_of
from edge.enrollment.same_voice import enrolled_twice
from edge.errors import EdgeVoiceError
from edge.recognition import Engine
from edge.types import SAMPLE_RATE, FloatArray, Profile, ProfileKind

_SIZE = 3
_WORDS = 4
_EVERY = 3


def enrollments(folder: Path) -> Iterator[tuple[str, Sequence[FloatArray]]]:
    """Who says what, in one corpus: the utterances of each enrollment."""
    for speaker in _folders(folder)[:: _EVERY if folder.name == "read_sentences" else 1]:
        parts = _folders(speaker)
        if folder.name == "words":
            for start in (0, _WORDS):
                chosen = [sorted(part.iterdir()) for part in parts[start : start + _WORDS]]
                yield speaker.name, [_phrase(files) for files in itertools.islice(zip(*chosen), 3)]
            continue
        for part in parts or [speaker]:
            files = sorted(part.iterdir())
            if len(files) >= 2 * _SIZE:
                last = files[-_SIZE:] if parts else files[_SIZE : 2 * _SIZE]
                for chosen_files in (files[:_SIZE], last):
                    yield speaker.name, [read_audio(file).samples for file in chosen_files]


def enrolled(engine: Engine, name: str, sounds: Sequence[FloatArray]) -> Profile:
    """A profile of a voice."""
    samples = []
    for sound in sounds:
        analysis = engine.analyze(utterance_of(sound), with_phrase=False, to_enroll=True)
        samples.append(analysis.to_sample(0.0))
    profile = Profile.begin(name, ProfileKind.VOICE, required=1e-3)
    return replace(profile, samples=tuple(samples))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print a line for each corpus."""
    parser = argparse.ArgumentParser(prog="python -m tools.measure_same_voice")
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    folder = parser.parse_args(arguments).folder
    engine = Engine.open()
    card = engine.models.speaker.card
    try:
        for corpus in ("same_phrase", "read_sentences", "words"):
            if not (folder / corpus).is_dir():
                print(f"{corpus}: not in {folder}, skipped")
                continue
            people = [enrolled(engine, *each) for each in enrollments(folder / corpus)]
            pairs = list(itertools.combinations(people, 2))
            found = enrolled_twice(people, card)
            own, noticed = (sum(a.name == b.name for a, b in some) for some in (pairs, found))
            print(
                f"{corpus}: {noticed} of {own} pairs by one person noticed,"
                f" {len(found) - noticed} of {len(pairs) - own} pairs by two taken for one"
            )
    except EdgeVoiceError as error:
        print(f"measure_same_voice: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _phrase(files: Sequence[Path]) -> FloatArray:
    pause = np.zeros(SAMPLE_RATE // 2, np.float32)
    return np.concatenate([pause, *(read_audio(file).samples for file in files), pause])


def _folders(folder: Path) -> list[Path]:
    return sorted(each for each in folder.iterdir() if each.is_dir())


if __name__ == "__main__":
    sys.exit(main())
