"""How many replays are detected, and how many repetitions are mistaken for one.

    python -m tools.measure_replay FOLDER [--json FILE] [--only PART ...]
        [--speakers all|first|second] [--every N] [--distortions TEXT ...]

FOLDER contains any of these:

    same_phrase/SPEAKER/PHRASE/*  each phrase several times by the same speaker
    digits/SPEAKER/DIGIT/*        single digits, and strings of four joined from them
    words/SPEAKER/WORD/*          single words, and strings of four joined from them
    keywords/WORD/*, near_miss/WORD/*
                                  words by unnamed speakers; all of a word are repetitions
    noise/*                       background noise; by default pink noise

The threshold was fitted to the first half of the speakers, in the order of their names;
`--speakers second` measures only the others.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from edge.audio.files import read_audio
from edge.errors import EdgeVoiceError
from edge.types import FloatArray
from tools.attacks.rows import Attack, markdown
from tools.conditions import pink_noise
from tools.replay.distortions import Distortion, at_the_door, distortions
from tools.replay.measure import Recording, keywords, measure, phrases, single_words, strings

PARTS = {
    "same_phrase": ("same_phrase", phrases),
    "strings": ("digits", strings),
    "digits": ("digits", single_words),
    "word_strings": ("words", strings),
    "words": ("words", single_words),
    "keywords": ("keywords", keywords),
    "near_miss": ("near_miss", keywords),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--speakers", choices=("all", "first", "second"), default="all")
    parser.add_argument("--every", type=int, default=1, help="distort only each Nth recording")
    parser.add_argument(
        "--distortions", nargs="*", help="only those whose name contains one of these texts"
    )
    options = parser.parse_args(arguments)
    console = Console()
    found = {}
    try:
        noise = _noise(options.folder)
        ways = [
            way
            for way in distortions(noise)
            if options.distortions is None or any(text in way.name for text in options.distortions)
        ]
        doors = {
            "at a door in a hallway, 5 to 20 cm apart": at_the_door(noise),
            "there from the same spot (worst case)": at_the_door(noise, moving=False),
        }
        for part in options.only:
            name, gather = PARTS[part]
            if (options.folder / name).is_dir():
                recordings = _half(gather(options.folder / name), options.speakers)
                found[part] = measure(recordings, ways, doors, _tracked, options.every)
                _show(part, found[part], console)
    except EdgeVoiceError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    if not found:
        print(
            f"error: {options.folder} contains none of the folders with recordings", file=sys.stderr
        )
        return 2
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0


def _tracked(ways: Sequence[Distortion]) -> Iterable[Distortion]:
    return track(ways, "distortions", transient=True)


def _noise(folder: Path) -> FloatArray:
    files = sorted((folder / "noise").glob("*")) if (folder / "noise").is_dir() else []
    return read_audio(files[0]).samples if files else pink_noise(20.0, seed=1)


def _half(recordings: Sequence[Recording], which: str) -> list[Recording]:
    speakers = sorted({one.speaker for one in recordings})
    middle = len(speakers) // 2
    chosen = {"all": speakers, "first": speakers[:middle], "second": speakers[middle:]}[which]
    return [one for one in recordings if one.speaker in chosen]


def attacks_of(part: str, figures: dict[str, Any]) -> list[Attack]:
    """The rows of docs/THREATS.md: what is not known again opens wherever its voice does."""
    return [
        Attack(
            f"A recording of what was said here ({part}): {name} (accepted: not known again)",
            row["of"],
            row["of"] - row["detected"],
            "Its harmonics, at any speed, pitch and tempo of -12 to +12 %.",
            "What it never heard; what is shorter than half a second.",
            f"measure_replay FOLDER --only {part}",
        )
        for name, row in figures["replays"].items()
    ]


def _show(part: str, figures: dict[str, Any], console: Console) -> None:
    table = Table(
        title=f"{part}: {figures['recordings']} recordings of {figures['speakers']} speakers,"
        f" {figures['too short to compare']} too short, {figures['bytes of a fingerprint']} bytes"
        f" each, {figures['ms against all']} ms against {figures['remembered']}",
        title_justify="left",
    )
    for heading in ("utterance", "detected", "of", "%", "95 % interval"):
        table.add_column(heading, justify="left" if heading == "utterance" else "right")
    rows = {**figures["replays"]}
    rows.update({name: row for name, row in figures.items() if name.startswith("repetitions")})
    for name, row in rows.items():
        low, high = row["interval"]
        table.add_row(
            name,
            str(row["detected"]),
            str(row["of"]),
            f"{row['percent']:.1f}",
            f"{low:.1f} to {high:.1f}",
        )
    console.print(table)
    print(markdown(attacks_of(part, figures)))
    for name, row in rows.items():
        for line in row.get("which", ()):
            console.print(f"  {name}: {line}", soft_wrap=True)
        for line in row.get("duplicates", ()):
            console.print(f"  not counted, the same recording twice: {line}", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
