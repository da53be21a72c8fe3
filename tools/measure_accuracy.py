"""Measures error rates on recordings, beside what is aimed at.

    python -m tools.measure_accuracy FOLDER [--quick] [--only PART ...] [--json FILE]
    python -m tools.measure_accuracy FOLDER --compare REVISION

FOLDER holds any of these; each part is measured if its recordings exist:

    read_sentences/SPEAKER/*     sentences: voices, on speakers not used for calibration
    same_phrase/SPEAKER/PHRASE/* same_phrase: four kinds of trial, calm and excited, in quiet,
                                 noise, voices, rooms, and through other microphones
    words/SPEAKER/WORD/*         words: phrases of four single words: strangers, one word replaced;
                                 tricks: strangers with noise around the phrase and the like
    near_miss/WORD/*             near_miss: near misses of one phrase (`--phrase`)
    keywords/WORD/*              near_miss: other people's keywords, against the same phrase
    noise/*, noise/KIND/*        with same_phrase and words: the noises, taken in turn; pink noise
                                 without
    all of them                  running: other people's speech, and phrases in it, through the
                                 service; own_speech: the enrolled people's own; agreement

Every recording goes through the product's own end-pointer, models and scores. Voices to talk in
the background are those of read_sentences, else of keywords. Only if named: learning
shows what learning from clear accepts brings, moods what an excited repetition at enrollment does,
centers how much is taken off of what voices have in common. A table at the end has the figures
that matter.

`--compare` measures an earlier revision too, or the models of another folder, in the same run; the
tool is this one, the software and the models are the other's.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from edge.evaluation.corpus import CorpusFile, find_items
from tools.accuracy import learning, moods, near_miss, own_speech, running, same_phrase, words
from tools.accuracy.hearing import Hearing
from tools.accuracy.summary import Report, summary, summary_table
from tools.accuracy.surroundings import Surroundings, noises_of
from tools.accuracy.tables import show
from tools.benchmark_against import checked_out
from tools.end_to_end import agreement

NEEDS: dict[str, tuple[str, ...]] = {
    "sentences": ("read_sentences",),
    "same_phrase": ("same_phrase",),
    "words": ("words",),
    "tricks": ("words",),
    "near_miss": ("near_miss",),
    "running": ("same_phrase", "read_sentences|keywords"),
    "own_speech": ("read_sentences|words",),
    "agreement": ("same_phrase",),
    "learning": ("same_phrase",),
    "moods": ("same_phrase",),
    "centers": ("read_sentences", "same_phrase", "words"),
}
"""The parts, and the folders that each takes, or one of several."""
ASKED_FOR = ("learning", "moods", "centers")
"""Parts that are measured only if named."""
PARTS = tuple(part for part in NEEDS if part not in ASKED_FOR)
OTHER_PEOPLE = ("read_sentences", "keywords")
"""Recordings of people who are not enrolled, as background."""
_ROOT = Path(__file__).resolve().parent.parent


def has(folder: Path, *names: str) -> bool:
    """Whether a folder has all of these folders, of `one|other` either."""
    return all(any((folder / name).is_dir() for name in either.split("|")) for either in names)


class Measurement:
    """One folder, measured part by part.

    Args:
        folder: the recordings.
        hearing: the recognizer.
        phrase: the word of `near_miss` to enroll.
        quick: take a fifth of the trials.
    """

    def __init__(self, folder: Path, hearing: Hearing, phrase: str, quick: bool) -> None:
        self._folder = folder
        self._hearing = hearing
        self._phrase = phrase
        self._quick = quick

    def sentences(self) -> dict[str, Any]:
        """Voices, plain and calibrated."""
        return _part("sentences")(self._hearing, self._items("read_sentences"))

    def learning(self) -> dict[str, Any]:
        """Profiles before and after learning."""
        return learning.measure(self._hearing, self._items("same_phrase"), self._quick)

    def moods(self) -> dict[str, Any]:
        """An excited repetition at enrollment."""
        return moods.measure(self._hearing, self._items("same_phrase"), self._quick)

    def centers(self) -> dict[str, Any]:
        """How much to take off of what voices have in common."""
        corpora = (self._items(name) for name in NEEDS["centers"])
        return _part("centers")(self._hearing, *corpora)

    def same_phrase(self) -> dict[str, Any]:
        """Four kinds of trial under every condition."""
        return same_phrase.measure(self._hearing, self._items("same_phrase"), self._quick)

    def words(self) -> dict[str, Any]:
        """Phrases of single words."""
        return words.measure(self._hearing, self._items("words"), self._quick)

    def tricks(self) -> dict[str, Any]:
        """Strangers who alter the sound at the door."""
        return words.measure_tricks(self._hearing, self._items("words"), self._quick)

    def near_miss(self) -> dict[str, Any]:
        """Near misses, and keywords by strangers."""
        strangers = self._items("keywords") if has(self._folder, "keywords") else []
        return near_miss.measure(
            self._hearing, self._items("near_miss"), strangers, self._phrase, self._quick
        )

    def running(self) -> dict[str, Any]:
        """Running speech through the service."""
        background = [
            item.path
            for name in OTHER_PEOPLE
            if has(self._folder, name)
            for item in self._items(name)
        ]
        return running.measure(
            self._hearing, self._items("same_phrase"), background, same_phrase.CALM, self._quick
        )

    def own_speech(self) -> dict[str, Any]:
        """The enrolled people's own other speech through the service."""
        read, of_words = (
            self._items(name) if has(self._folder, name) else []
            for name in ("read_sentences", "words")
        )
        return own_speech.measure(self._hearing, read, of_words, self._quick)

    def agreement(self) -> dict[str, Any]:
        """The service against its parts."""
        return agreement(self._hearing.engine, self._folder / "same_phrase")

    def _items(self, name: str) -> list[CorpusFile]:
        return find_items(self._folder / name)


def _part(name: str) -> Callable[..., dict[str, Any]]:
    """A part that calibrates anew, which only fits the software of the tool's own revision."""
    part: Callable[..., dict[str, Any]] = importlib.import_module(f"tools.accuracy.{name}").measure
    return part


def surroundings_of(folder: Path) -> Surroundings:
    """The noises of a folder of recordings, and the people who talk in the background."""
    speech = next((folder / one for one in OTHER_PEOPLE if (folder / one).is_dir()), None)
    talkers = () if speech is None else tuple(item.path for item in find_items(speech))
    return Surroundings(noises_of(folder / "noise"), talkers)


def measure(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """The parts that were asked for and have their recordings; printed one after the other."""
    folder: Path = options.folder
    parts = [name for name, needs in NEEDS.items() if name in options.only and has(folder, *needs)]
    if not parts:
        return {}
    # Hundreds of stores are made on the way, and each would say so.
    logging.getLogger("edge").setLevel(logging.ERROR)
    hearing = Hearing(surroundings_of(folder), options.models, options.jobs)
    report: dict[str, Any] = {}
    try:
        measurement = Measurement(folder, hearing, options.phrase, options.quick)
        for name in parts:
            part: Callable[[], dict[str, Any]] = getattr(measurement, name)
            report[name] = part()
            show(name, report[name], console)
    finally:
        hearing.close()
    return report


def measured_elsewhere(other: str, options: argparse.Namespace) -> Report:
    """The figures of another revision, or of the models of another folder."""
    command = [sys.executable, "-m", "tools.measure_accuracy", str(options.folder.resolve())]
    command += ["--phrase", options.phrase, "--jobs", str(options.jobs)]
    command += ["--quick"] * options.quick + ["--only", *options.only]
    with tempfile.TemporaryDirectory() as scratch, _software(other) as (tree, more):
        file = Path(scratch) / "report.json"
        subprocess.run(
            [*command, *more, "--json", str(file)],
            cwd=tree,
            env={**os.environ, "PYTHONPATH": str(tree)},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        found: Report = json.loads(file.read_text(encoding="utf-8"))
    return found


@contextmanager
def _software(other: str) -> Iterator[tuple[Path, list[str]]]:
    """The folder of the software to run, and the options that it takes."""
    if Path(other).is_dir():
        yield _ROOT, ["--models", str(Path(other).resolve())]
        return
    with checked_out(other) as tree:
        shutil.rmtree(tree / "tools")
        shutil.copytree(_ROOT / "tools", tree / "tools")
        yield tree, []


def main(arguments: Sequence[str]) -> int:
    """Measure, print, and write JSON if requested."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.measure_accuracy",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, nargs="?", default=Path("../shared/speech"))
    parser.add_argument("--only", nargs="+", choices=(*NEEDS,), default=list(PARTS), metavar="PART")
    parser.add_argument("--quick", action="store_true", help="take a fifth of the trials")
    parser.add_argument(
        "--jobs",
        type=int,
        default=os.cpu_count() or 1,
        metavar="N",
        help="processes (default: %(default)s)",
    )
    parser.add_argument("--models", type=Path, metavar="FOLDER", help="measure these models")
    parser.add_argument(
        "--compare",
        metavar="REVISION|FOLDER",
        help="also measure an earlier revision, or the models of another folder",
    )
    parser.add_argument("--phrase", default="HeySavant", help="the word of near_miss to enroll")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="also write the figures to this file"
    )
    options = parser.parse_args(arguments)
    # Output to a file is not wrapped to a terminal's width.
    console = Console(width=None if sys.stdout.isatty() else 110)
    reports: dict[str, Report] = {}
    if options.compare:
        reports[options.compare] = measured_elsewhere(options.compare, options)
    report = measure(options, console)
    if not report:
        console.print(f"{options.folder} has none of the recordings needed; see --help")
        return 2
    reports["measured"] = report
    lines = summary(reports)
    if lines:
        console.print(summary_table(lines, list(reports)))
    if options.json:
        before = {"compared_with": reports[options.compare]} if options.compare else {}
        content = {**report, **before, "summary": lines}
        options.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
