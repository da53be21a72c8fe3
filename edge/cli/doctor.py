"""`edge-voice doctor`: check everything the service depends on, and say how to fix it."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from edge.cli.output import console, one_line, printing, show, show_json
from edge.errors import EXIT_ENVIRONMENT, EXIT_OK

if TYPE_CHECKING:
    from rich.console import Console

    from edge.doctor import Finding, State

HELP = "check microphone, broker, keys, models and service; say how to fix problems"

_WIDEST = 120
_NAME_CELLS = 16


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's own options."""
    parser.description = (
        "Checks everything the service depends on. Each row is green (all is well), yellow (it"
        " works, but not as well or as safely as it could) or red, with the remedy. Nothing is"
        " changed. The exit code is 0 when nothing is red, else 3. Run it as root or as the"
        " service's user."
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="leave out what takes seconds: recording, and measuring the speed",
    )


def run(args: argparse.Namespace) -> int:
    """Run all checks; rows are shown as they are made."""
    from edge.doctor import State, examine

    found: list[Finding] = []
    screen = console(sys.stdout) if not args.json else None
    for finding in examine(args.config, quick=args.quick):
        found.append(finding)
        if screen is not None:
            draw = show_row if screen.is_terminal else show_lines
            with printing():
                draw(screen, finding)
    counts = {state: sum(each.state is state for each in found) for state in State}
    if screen is None:
        show_json(
            {
                "findings": [asdict(finding) for finding in found],
                **{state.value: count for state, count in counts.items()},
            }
        )
    else:
        with printing():
            screen.print()
            words = [f"{count} {state.value}" for state, count in counts.items() if count]
            screen.print(", ".join(words))
    return EXIT_ENVIRONMENT if counts[State.RED] else EXIT_OK


def show_row(screen: Console, finding: Finding) -> None:
    """One row: the state as symbol, word and color, the finding, and the remedy."""
    from rich.table import Table
    from rich.text import Text

    row = Table.grid(padding=(0, 1, 0, 0))
    row.width = min(screen.width, _WIDEST)
    row.add_column(width=9, no_wrap=True)
    row.add_column(width=_NAME_CELLS, no_wrap=True)
    row.add_column(ratio=1, overflow="fold")
    symbol, style = _look(finding.state, screen)
    row.add_row(
        Text(f"{symbol} {finding.state.value}", style),
        Text(label(finding.name), "bold"),
        Text(one_line(finding.found)),
    )
    if finding.remedy:
        # The text itself without color: yellow is hard to read on white.
        remedy = Table.grid(padding=(0, 1, 0, 0))
        remedy.add_row(
            Text("\N{RIGHTWARDS ARROW}" if _draws(screen) else "->", style),
            Text(one_line(finding.remedy), overflow="fold"),
        )
        row.add_row("", "", remedy)
    screen.print(row)


def show_lines(screen: Console, finding: Finding) -> None:
    """One row where it goes to a file: whole lines, as `grep` and `less` want them."""
    symbol, _ = _look(finding.state, screen)
    show(f"{symbol} {finding.state.value} {label(finding.name)}: {one_line(finding.found)}")
    if finding.remedy:
        arrow = "\N{RIGHTWARDS ARROW}" if _draws(screen) else "->"
        show(f"  {arrow} {one_line(finding.remedy)}")


def label(name: str) -> str:
    """The name of a row for people."""
    words = name.replace("_", " ")
    return words.replace("tls", "TLS").replace("home assistant", "Home Assistant")


def _look(state: State, screen: Console) -> tuple[str, str]:
    drawn, plain, style = {
        "green": ("\N{HEAVY CHECK MARK}", "+", "green"),
        "yellow": ("\N{BLACK UP-POINTING TRIANGLE}", "!", "yellow"),
        "red": ("\N{HEAVY BALLOT X}", "x", "bold red"),
        "skipped": ("\N{EN DASH}", "-", "dim"),
    }[state.value]
    return (drawn if _draws(screen) else plain), style


def _draws(screen: Console) -> bool:
    return screen.encoding.lower().startswith("utf")
