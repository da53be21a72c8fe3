"""`edge-voice evaluate`: how often would strangers get in, and residents be turned away?"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from edge.cli import options
from edge.cli.output import complain, console, printing, show, show_json
from edge.errors import EXIT_OK, AudioFormatError

if TYPE_CHECKING:
    from edge.evaluation.corpus import CorpusFile
    from edge.evaluation.evaluate import Evaluated
    from edge.evaluation.results import Evaluation

NAME = "evaluate"
HELP = "measure on your own recordings who would get in, and suggest a setting"

_T = TypeVar("_T")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what it takes."""
    parser.description = (
        "Measures on recordings how often strangers would get in and residents be turned away, and"
        " suggests a setting. FOLDER holds PERSON/*.wav (voices; the text differs) or"
        " PERSON/PHRASE/*.wav (passphrases, each said several times; who says another person's"
        " phrase is a folder of the same name). FLAC is fine too."
    )
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="the recordings")
    parser.add_argument(
        "--output",
        metavar="DIR",
        type=Path,
        default=Path("edge-voice-evaluation"),
        help="where report.html, report.json and the plots go (default: ./edge-voice-evaluation)",
    )
    add_enroll(parser)


def add_enroll(parser: argparse.ArgumentParser) -> None:
    """Add `--enroll`, which says how recordings are split."""
    parser.add_argument(
        "--enroll",
        metavar="N",
        type=_count,
        default=3,
        help="recordings of each person (and phrase) that are enrolled; the rest are tested"
        " (default: 3)",
    )


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:4]) <= 100):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} cannot be used; give a number, 1 to 100")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Evaluate the recordings and write the report."""
    from edge.evaluation.plots import require_matplotlib
    from edge.evaluation.report import make_folder, write_report

    # What would be missing at the end is asked for before the long work.
    require_matplotlib()
    found = evaluated(args)
    make_folder(args.output)
    files = write_report(found, args.output)
    evaluation = found.evaluation
    if args.json:
        show_json(evaluation.as_dict())
        return EXIT_OK
    _print(evaluation)
    show(f"\nThe report: {files['report.html']}")
    show(f"To use the suggestion: edge-voice calibrate {args.output}")
    return EXIT_OK


def evaluated(args: argparse.Namespace) -> Evaluated:
    """What the folder of recordings shows, with a progress bar where somebody watches.

    Raises:
        InputError: the folder cannot be evaluated.
        ModelError: a model cannot be opened.
    """
    from edge.evaluation.corpus import find_items
    from edge.evaluation.evaluate import evaluate
    from edge.recognition.engine import Engine

    config = options.config_of(args)
    find_items(args.folder)  # complains sooner than the models are open
    engine = Engine.open(config)
    return evaluate(
        engine, args.folder, enroll=args.enroll, track=progress_bar, on_unreadable=_left_out
    )


def progress_bar(things: Sequence[_T], description: str) -> Iterable[_T]:
    """The things one by one, with a bar on standard error where that is a terminal."""
    if sys.stderr is None or not sys.stderr.isatty():
        return things
    return _watched(things, description)


def _watched(things: Sequence[_T], description: str) -> Iterator[_T]:
    from rich.progress import track

    yield from track(things, description=description, transient=True, console=console(sys.stderr))


def _left_out(item: CorpusFile, error: AudioFormatError) -> None:
    del item  # the error names the file
    complain(f"left out: {error}")


def _print(evaluation: Evaluation) -> None:
    from rich.table import Table

    from edge.evaluation.results import LABELS, one_in, residents_sentence, strangers_sentence, told

    refused = ", ".join(f"{reason} {n}" for reason, n in evaluation.refused.items())
    show(
        f"{evaluation.people} people, {evaluation.recordings} recordings, {evaluation.tested}"
        f" tested; not judged: {refused or 'none'}"
    )
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("SETTING", "STANDS FOR", "RESIDENTS TURNED AWAY"):
        table.add_column(title)
    kind, _ = evaluation.presets[0].false_accepts[0]
    table.add_column(f"GOT IN: {LABELS[kind].upper()}", overflow="fold")
    for preset in evaluation.presets:
        suggested = preset.name == evaluation.suggestion.preset
        table.add_row(
            f"{preset.name}{' *' if suggested else ''}",
            one_in(preset.asked),
            told(preset.false_reject),
            told(preset.false_accepts[0][1]),
            style="bold" if suggested else "",
        )
    with printing():
        console(sys.stdout).print(table)
    show(f"* {evaluation.suggestion.reason}")
    show(strangers_sentence(evaluation, evaluation.suggested))
    show(residents_sentence(evaluation.suggested))
    for warning in evaluation.suggestion.warnings:
        complain(warning)
