"""Makes the pictures of the documentation from real output: `docs/pictures/*.svg`.

    python -m tools.make_pictures [--only NAME] [--columns N,N] [--out FOLDER] [--png FOLDER]

Each picture shows a command run in a terminal of its own, at the widths and backgrounds of the
table below. Only times of day and durations differ from run to run. The monitor is watched for four
minutes; the rest takes seconds. Pictures of the microphone need PulseAudio, and are skipped with a
note without it.

With --png, Chromium draws each picture as PNG too.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.text import Text

from edge.resources import demo_directory
from tools.pictures.drawing import THEMES, strangers, svg_of
from tools.pictures.stage import REPOSITORY, Stage, home

FOLDER = REPOSITORY / "docs" / "pictures"
Screens = dict[int, list[Text]]
Take = Callable[[Stage, Sequence[int], int], Screens]


@dataclass(frozen=True)
class Picture:
    """A picture of one command.

    Attributes:
        name: of the files.
        title: the command as typed.
        take: makes the screens, by width.
        widths: columns of the terminals that the documentation shows.
        lines: height of the terminals; trailing empty lines are dropped.
    """

    name: str
    title: str
    take: Take
    widths: tuple[int, ...] = (80,)
    lines: int = 60


def command(*arguments: str) -> Take:
    """A command that ends by itself."""

    def take(stage: Stage, widths: Sequence[int], lines: int) -> Screens:
        return {columns: stage.shown(columns, lines, *arguments) for columns in widths}

    return take


def _monitor(stage: Stage, widths: Sequence[int], lines: int) -> Screens:
    return stage.watched(widths, lines)


def in_a_room(*arguments: str) -> Take:
    """A command that ends by itself and listens to the microphone."""

    def take(stage: Stage, widths: Sequence[int], lines: int) -> Screens:
        return {columns: stage.shown_in_a_room(columns, lines, *arguments) for columns in widths}

    return take


def _enrolling(stage: Stage, widths: Sequence[int], lines: int) -> Screens:
    return {columns: stage.enrolled_by_voice(columns, lines, "2 of 3") for columns in widths}


def _enrolled(stage: Stage, widths: Sequence[int], lines: int) -> Screens:
    return {columns: stage.enrolled_by_voice(columns, lines) for columns in widths}


PICTURES = (
    Picture("profiles", "edge-voice profiles list", command("profiles", "list")),
    Picture(
        "verify",
        "edge-voice verify Ada recording.flac",
        command("verify", "Ada", str(demo_directory() / "ada_right_phrase.flac")),
    ),
    Picture("demo", "edge-voice demo", command("demo")),
    Picture("enrolling", "edge-voice enroll Grace", _enrolling),
    Picture("enrolled", "edge-voice enroll Grace", _enrolled),
    Picture("doctor", "edge-voice doctor", in_a_room("doctor")),
    Picture("monitor", "edge-voice monitor", _monitor, widths=(80, 120), lines=24),
)


def make(picture: Picture, folder: Path) -> list[Path]:
    """Make a picture at all its widths and backgrounds.

    Args:
        picture: which.
        folder: where it goes.

    Returns:
        The files.

    Raises:
        ValueError: a picture contains something private or loads something from elsewhere.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    with home() as place:
        stage = Stage(place)
        stage.enroll()
        for columns, screen in picture.take(stage, picture.widths, picture.lines).items():
            for theme in THEMES:
                svg = stage.public(svg_of(screen, columns, picture.title, theme))
                found = strangers(svg, stage.private)
                if found:
                    raise ValueError(f"{', '.join(found)} must not be in it")
                file = folder / f"{picture.name}-{columns}-{theme}.svg"
                file.write_text(svg, encoding="utf-8")
                files.append(file)
    return files


def draw(svg: Path, folder: Path) -> None:
    """Draw a picture as PNG with Chromium."""
    found = re.search(r'viewBox="0 0 ([0-9.]+) ([0-9.]+)"', svg.read_text(encoding="utf-8"))
    width, height = (float(each) for each in found.groups()) if found else (1000.0, 1000.0)
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{svg.stem}.png"
    subprocess.run(
        [
            *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            *(f"--screenshot={target}", f"--window-size={width:.0f},{height:.0f}"),
            svg.resolve().as_uri(),
        ],
        check=True,
        capture_output=True,
    )


def main() -> int:
    """Make all pictures, or those named."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    names = [picture.name for picture in PICTURES]
    parser.add_argument(
        "--only",
        metavar="NAME",
        action="append",
        choices=names,
        default=[],
        help=f"make only this one; may be repeated: {', '.join(names)}",
    )
    parser.add_argument(
        "--columns",
        metavar="N,N",
        type=lambda text: tuple(int(each) for each in text.split(",")),
        help="other widths than those of the documentation",
    )
    parser.add_argument(
        "--out", metavar="FOLDER", type=Path, default=FOLDER, help="folder for the pictures"
    )
    parser.add_argument("--png", metavar="FOLDER", type=Path, help="folder for PNG files")
    args = parser.parse_args()
    missing = 0
    for picture in PICTURES:
        if args.only and picture.name not in args.only:
            continue
        if args.columns:
            picture = replace(picture, widths=args.columns)  # noqa: PLW2901
        try:
            files = make(picture, args.out)
        except (FileNotFoundError, TimeoutError, ValueError) as error:
            sys.stderr.write(f"make_pictures: {picture.name} was not made: {error}\n")
            missing += 1
            continue
        for file in files:
            print(f"{file.name}  {file.stat().st_size / 1000:.0f} kB")
            if args.png is not None and shutil.which("chromium"):
                draw(file, args.png)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
