"""The demo on the screen: a table that fills, or plain lines where the output is no terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich import box
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from edge.demo.result import Expectation, Result


class Show:
    """Where the demo says what it does.

    Args:
        console: the screen; None to say nothing at all.
    """

    def __init__(self, console: Console | None) -> None:
        self._console = console
        self._live: Live | None = None
        self._expected: Sequence[Expectation] = ()
        self._results: list[Result] = []
        self._playing = False

    def say(self, text: str) -> None:
        """One line."""
        if self._console is not None:
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def table(self, expected: Sequence[Expectation]) -> Iterator[None]:
        """Show what will be played, and fill in what comes of it."""
        self._expected, self._results = expected, []
        if self._console is None or not self._console.is_terminal:
            yield
            return
        with Live(self._render(), console=self._console, auto_refresh=False) as self._live:
            yield
        self._live = None

    def playing(self, expected: Expectation) -> None:
        """Say that a recording is being played."""
        self._playing = True
        if not self._refresh():
            said = f': "{expected.text}"' if expected.text else ""
            self.say(f"{expected.title}{said}")

    def came(self, result: Result) -> None:
        """Say what came of it."""
        self._playing = False
        self._results.append(result)
        if not self._refresh():
            verdict = "as expected" if result.as_expected else f"EXPECTED {result.expected}"
            self.say(f"    {result}; {_seconds(result)} after the speech; {verdict}")

    def _refresh(self) -> bool:
        if self._live is None:
            return False
        self._live.update(self._render(), refresh=True)
        return True

    def _render(self) -> Table:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
        table.add_column("Played")
        table.add_column("Expected", min_width=15)
        table.add_column("Came over MQTT", min_width=15)
        table.add_column("Took", justify="right")
        for number, expected in enumerate(self._expected):
            said = f"\n[dim italic]{escape(expected.text)}[/dim italic]" if expected.text else ""
            row = [
                f"{escape(expected.title)}{said}",
                f"{escape(expected.decision)}\n{escape(expected.reason)}",
                "",
                "",
            ]
            if number < len(self._results):
                row[2] = _came(self._results[number])
                row[3] = _seconds(self._results[number])
            elif number == len(self._results) and self._playing:
                row[2] = "[cyan]listening ...[/cyan]"
            table.add_row(*row)
        return table


def _seconds(result: Result) -> str:
    return "-" if result.after_s is None else f"{result.after_s:.2f} s"


def _came(result: Result) -> str:
    colour = "green" if result.as_expected else "bold red"
    if result.decision is None:
        return f"[{colour}]nothing[/{colour}]"
    outcome, reason = (str(result.decision.get(key)) for key in ("decision", "reason"))
    name = result.decision.get("name")
    who = f" ({name})" if name else ""
    return f"[{colour}]{escape(outcome + who)}[/{colour}]\n{escape(reason)}"
