"""`edge-voice evaluate`: how often strangers would be accepted and residents rejected."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from edge.cli import options
from edge.cli.output import (
    complain,
    console,
    new_table,
    one_line,
    show,
    show_json,
    show_table,
)
from edge.errors import EXIT_OK, AudioFormatError, StoreError

if TYPE_CHECKING:
    from edge.config import Config
    from edge.evaluation.evaluate import Evaluated
    from edge.evaluation.results import Evaluation
    from edge.evaluation.turned_away import TurnedAway

HELP = "measure false accepts and rejects on your recordings, and suggest a setting"

_T = TypeVar("_T")
_MOST_SHOWN = 30
"""Recordings named on the terminal; the report names all."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what it takes."""
    parser.description = (
        "Measures how often strangers would be accepted and residents rejected, and suggests a"
        " setting. FOLDER holds PERSON/*.wav (voices; any text) or PERSON/PHRASE/*.wav"
        " (passphrases, each said several times). Put impostors saying a phrase in a folder named"
        " after it. FLAC works too."
    )
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="the recordings")
    parser.add_argument(
        "--output",
        metavar="DIR",
        type=Path,
        default=Path("edge-voice-evaluation"),
        help="folder for report.html, report.json and the plots (default: ./edge-voice-evaluation)",
    )
    add_enroll(parser)


def add_enroll(parser: argparse.ArgumentParser) -> None:
    """Add `--enroll`, the number of recordings to enroll."""
    parser.add_argument(
        "--enroll",
        metavar="N",
        type=_count,
        default=3,
        help="recordings to enroll for each person (and phrase); the rest are tested (default: 3)",
    )


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:4]) <= 100):
        raise argparse.ArgumentTypeError(f"invalid number {text[:40]!r}; use 1 to 100")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Evaluate the recordings and write the report."""
    from edge.evaluation.plots import require_matplotlib
    from edge.evaluation.report import make_folder, write_report

    require_matplotlib()
    found = evaluated(args)
    make_folder(args.output)
    files = write_report(found, args.output)
    keep_summary(options.config_of(args), found.evaluation)
    if args.json:
        show_json(found.evaluation.as_dict())
        return EXIT_OK
    _print(found.evaluation)
    show(f"\nReport: {files['report.html']}")
    show(f"To use the suggestion: edge-voice calibrate {args.output}")
    return EXIT_OK


def keep_summary(config: Config, evaluation: Evaluation) -> None:
    """Keep the summary for the page, if this is the device that it is of."""
    from edge.evaluation.results import SUMMARY_KEY
    from edge.store.device_state import FILE_NAME

    if os.access(config.state_path / FILE_NAME, os.W_OK):
        with contextlib.suppress(StoreError), options.device_state(config) as state:
            state.put(SUMMARY_KEY, json.dumps(evaluation.summary()))


def evaluated(args: argparse.Namespace) -> Evaluated:
    """Evaluate the folder of recordings. Raises `InputError` or `ModelError`."""
    from edge.evaluation.corpus import find_items
    from edge.evaluation.evaluate import evaluate
    from edge.recognition.engine import Engine

    config = options.config_of(args)
    find_items(args.folder)  # fails before the models are opened
    engine = Engine.open(config)
    return evaluate(
        engine, args.folder, enroll=args.enroll, track=progress_bar, on_unreadable=_skipped
    )


def progress_bar(things: Sequence[_T], description: str) -> Iterable[_T]:
    """The things one by one, with a bar on standard error if that is a terminal."""
    if sys.stderr is None or not sys.stderr.isatty():
        return things
    from rich.progress import track

    return track(things, description=description, transient=True, console=console(sys.stderr))


def _skipped(error: AudioFormatError) -> None:
    complain(f"skipped: {error}")


def _print(evaluation: Evaluation) -> None:
    from edge.evaluation.results import LABELS, figure_words, one_in, strangers_sentence

    refused = ", ".join(
        f"{reason.replace('_', ' ')} {count}" for reason, count in evaluation.refused.items()
    )
    show(
        f"{evaluation.people} people, {evaluation.recordings} recordings, {evaluation.tested}"
        f" tested; not usable: {refused or 'none'}"
    )
    kind = evaluation.presets[0].false_accepts[0][0]
    table = new_table("SETTING", "MEANT TO ACCEPT", "RESIDENTS REJECTED", "ACCEPTED HERE")
    for preset in evaluation.presets:
        suggested = preset.name == evaluation.suggestion.preset
        table.add_row(
            f"{preset.name}{' *' if suggested else ''}",
            one_in(preset.false_accept_rate),
            figure_words(preset.false_reject),
            figure_words(preset.false_accepts[0][1]),
            style="bold" if suggested else "",
        )
    show_table(table)
    show(f"Accepted here: {LABELS[kind]}. {strangers_sentence(evaluation, evaluation.suggested)}")
    show(f"* {evaluation.suggestion.reason}")
    _print_turned_away(f"Turned away at {evaluation.suggestion.preset}", evaluation.turned_away)
    _print_turned_away("Not judged, and not in the figures", evaluation.not_judged)
    for warning in evaluation.suggestion.warnings:
        complain(warning)


def _print_turned_away(title: str, found: Sequence[TurnedAway]) -> None:
    from edge.evaluation.turned_away import by_person

    if not found:
        return
    show(f"\n{title}: {len(found)} {'recording' if len(found) == 1 else 'recordings'}")
    table = new_table("PERSON", "RECORDING", "WHY")
    shown = 0
    for person, own in by_person(found).items():
        for one in own[: max(0, _MOST_SHOWN - shown)]:
            name = f"{person} ({len(own)})" if one is own[0] else ""
            table.add_row(one_line(name), one_line(one.recording), one_line(one.why))
            shown += 1
    show_table(table)
    if shown < len(found):
        show(f"and {len(found) - shown} more, in the report")
