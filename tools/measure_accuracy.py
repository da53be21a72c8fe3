"""Measures error rates before and after calibration.

    python -m tools.measure_accuracy FOLDER [--only PART ...] [--json FILE]

FOLDER holds any of these; each part is measured if its recordings exist:

    read_sentences/SPEAKER/*     voices, on speakers not used for calibration
    same_phrase/SPEAKER/PHRASE/* voice and phrase: four kinds of trial, calm and excited
    noise/*                      with same_phrase: the same in noise, rooms, other microphones
    near_miss/WORD/*             near misses of one phrase (`--phrase`)
    keywords/WORD/*              other people's keywords, against the same phrase
    all of them                  running speech through the service

Every recording goes through the product's own end-pointer, models and scores. Parts: sentences,
same_phrase, conditions, near_miss, running, agreement; weights (only if named) shows why so little
of the cohort similarity is subtracted. Without noise/, pink noise is used.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from edge.audio.files import read_audio
from edge.evaluation.corpus import Spoken, analyze_all, find_items, refusals
from edge.recognition import Engine
from edge.types import FloatArray
from tools.accuracy import near_miss, running, same_phrase, sentences, weights
from tools.accuracy.tables import show
from tools.calibration.voices import Voices, gather, listen
from tools.conditions import conditions, pink_noise
from tools.end_to_end import agreement

ASKED_FOR = ("weights",)
"""Parts that are measured only if named."""
PARTS = ("sentences", "same_phrase", "conditions", "near_miss", "running", "agreement")


class Measurement:
    """One folder, measured part by part; shared data is made once.

    Args:
        folder: the recordings.
        phrase: the word of `near_miss` to enroll.
    """

    def __init__(self, folder: Path, phrase: str) -> None:
        self.engine = Engine.open()
        self._folder = folder
        self._phrase = phrase
        self._spoken: dict[str, list[Spoken]] = {}
        self._voices: Voices | None = None

    def has(self, *names: str) -> bool:
        """Whether the folder has all of these."""
        return all((self._folder / name).is_dir() for name in names)

    def sentences(self) -> dict[str, Any]:
        """Voices, plain and calibrated."""
        voices = self._sentence_voices()
        if len(voices.speakers) < sentences.FEWEST_SPEAKERS:
            return {"too few speakers to calibrate with": len(voices.speakers)}
        return sentences.measure(voices)

    def weights(self) -> dict[str, Any]:
        """How much of the cohort similarity to subtract."""
        voices = self._sentence_voices()
        if len(voices.speakers) < sentences.FEWEST_SPEAKERS:
            return {"too few speakers to calibrate with": len(voices.speakers)}
        return weights.measure(self.engine, voices, self._of("same_phrase"))

    def same_phrase(self) -> dict[str, Any]:
        """Four kinds of trial."""
        return same_phrase.measure(self.engine, self._of("same_phrase"))

    def conditions(self) -> dict[str, Any]:
        """The same in noise and rooms."""
        every = conditions(self._noise())
        return same_phrase.in_conditions(
            self.engine,
            self._of("same_phrase"),
            every,
            lambda some: track(some, description="conditions", transient=True),
        )

    def near_miss(self) -> dict[str, Any]:
        """Near misses, and keywords by strangers."""
        strangers = self._of("keywords") if self.has("keywords") else []
        return near_miss.measure(self.engine, self._of("near_miss"), strangers, self._phrase)

    def running(self) -> dict[str, Any]:
        """Running speech through the service."""
        background = [
            item.path
            for name in ("read_sentences", "keywords")
            if self.has(name)
            for item in find_items(self._folder / name)
        ]
        people = find_items(self._folder / "same_phrase")
        return running.measure(self.engine, people, background, same_phrase.CALM)

    def agreement(self) -> dict[str, Any]:
        """The service against its parts."""
        return agreement(self.engine, self._folder / "same_phrase")

    def _sentence_voices(self) -> Voices:
        if self._voices is None:
            utterances = listen(find_items(self._folder / "read_sentences"))
            altered = conditions(pink_noise(20.0, seed=1))[1:]
            self._voices = gather(self.engine, utterances, altered)
        return self._voices

    def _of(self, name: str) -> list[Spoken]:
        if name not in self._spoken:
            items = find_items(self._folder / name)
            self._spoken[name] = analyze_all(
                self.engine,
                items,
                with_phrase=True,
                track=lambda some, description: track(
                    some, description=description, transient=True
                ),
            )
            print(f"{name}: {len(items)} recordings, refused: ", end="")
            print(refusals(items, self._spoken[name]) or "none")
        return self._spoken[name]

    def _noise(self) -> FloatArray:
        if self.has("noise"):
            files = sorted(p for p in (self._folder / "noise").iterdir() if p.is_file())
            if files:
                return read_audio(files[0]).samples
        return pink_noise(20.0, seed=1)


def main(arguments: list[str]) -> int:
    """Measure, print, and write JSON if requested."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.measure_accuracy",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, nargs="?", default=Path("../shared/speech"))
    parser.add_argument(
        "--only", nargs="+", choices=PARTS + ASKED_FOR, default=list(PARTS), metavar="PART"
    )
    parser.add_argument("--phrase", default="HeySavant", help="the word of near_miss to enroll")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="also write the figures to this file"
    )
    options = parser.parse_args(arguments)
    # Output to a file is not wrapped to a terminal's width.
    console = Console(width=None if sys.stdout.isatty() else 110)
    measurement = Measurement(options.folder, options.phrase)
    parts: dict[str, tuple[Callable[[], dict[str, Any]], tuple[str, ...]]] = {
        "sentences": (measurement.sentences, ("read_sentences",)),
        "same_phrase": (measurement.same_phrase, ("same_phrase",)),
        "conditions": (measurement.conditions, ("same_phrase",)),
        "near_miss": (measurement.near_miss, ("near_miss",)),
        "running": (measurement.running, ("same_phrase", "read_sentences")),
        "weights": (measurement.weights, ("read_sentences", "same_phrase")),
        "agreement": (measurement.agreement, ("same_phrase",)),
    }
    report: dict[str, Any] = {}
    for name, (measure, needs) in parts.items():
        if name in options.only and measurement.has(*needs):
            report[name] = measure()
            show(name, report[name], console)
            if options.json:
                options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    if not report:
        console.print(f"{options.folder} has none of the recordings needed; see --help")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
