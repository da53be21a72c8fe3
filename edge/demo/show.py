"""The demo on the screen: a table that fills up, or plain lines without a terminal."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rich import box
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table


@dataclass(frozen=True)
class Expectation:
    """A decision to expect: `name` None is any or none, `text` empty is up to the person."""

    title: str
    text: str
    decision: str
    reason: str
    name: str | None

    def __str__(self) -> str:
        return f"{self.decision}, {self.reason}"


@dataclass(frozen=True)
class Result:
    """A decision received over MQTT `after_s` seconds after the speech; None if there is none."""

    expected: Expectation
    decision: dict[str, Any] | None = field(repr=False)
    after_s: float | None

    @property
    def as_expected(self) -> bool:
        """Whether the decision arrived and is as expected."""
        if self.decision is None:
            return False
        return (
            self.decision.get("decision") == self.expected.decision
            and self.decision.get("reason") == self.expected.reason
            and self.expected.name in (None, self.decision.get("name"))
        )

    def as_dict(self) -> dict[str, Any]:
        """The result under its JSON names."""
        return {
            "title": self.expected.title,
            "text": self.expected.text or None,
            "expected": {
                "decision": self.expected.decision,
                "reason": self.expected.reason,
                "name": self.expected.name,
            },
            "decision": self.decision,
            "after_speech_s": None if self.after_s is None else round(self.after_s, 3),
            "as_expected": self.as_expected,
        }

    def __str__(self) -> str:
        if self.decision is None:
            return "no decision"
        name = self.decision.get("name")
        who = f" ({name})" if name else ""
        return f"{self.decision.get('decision')}, {self.decision.get('reason')}{who}"


@dataclass(frozen=True)
class DemoOutcome:
    """The results in the order played, and the number of decisions with nothing said."""

    results: tuple[Result, ...]
    unexpected: int
    end_silence_s: float

    @property
    def as_expected(self) -> bool:
        """Whether every decision was as expected, and there was no other."""
        return not self.unexpected and all(result.as_expected for result in self.results)

    @property
    def median_after_s(self) -> float | None:
        """From the end of the speech until the decision arrived, seconds; None if none did."""
        times = [result.after_s for result in self.results if result.after_s is not None]
        return statistics.median(times) if times else None

    @property
    def median_decide_s(self) -> float | None:
        """How long the service took to decide, seconds, by its own timings; None without any."""
        timings = [(result.decision or {}).get("timings_ms", {}) for result in self.results]
        times = [one["decide"] / 1000.0 for one in timings if "decide" in one]
        return statistics.median(times) if times else None

    def as_dict(self) -> dict[str, Any]:
        """The outcome under its JSON names."""
        median, decide = self.median_after_s, self.median_decide_s
        return {
            "as_expected": self.as_expected,
            "passed": sum(result.as_expected for result in self.results),
            "failed": sum(not result.as_expected for result in self.results),
            "unexpected": self.unexpected,
            "median_after_speech_s": None if median is None else round(median, 3),
            "median_decide_s": None if decide is None else round(decide, 3),
            "end_silence_s": self.end_silence_s,
            "results": [result.as_dict() for result in self.results],
        }

    def __str__(self) -> str:
        passed = sum(result.as_expected for result in self.results)
        parts = [f"{passed} of {len(self.results)} decisions as expected"]
        if self.unexpected:
            parts.append(f"{self.unexpected} unexpected")
        if self.median_after_s is not None:
            parts.append(
                f"median {self.median_after_s:.2f} s after the end of speech (a denial first waits"
                f" {self.end_silence_s:.2f} s for silence)"
            )
        if self.median_decide_s is not None:
            parts.append(f"deciding took {self.median_decide_s:.2f} s")
        return "; ".join(parts) + "."


class Show:
    """Shows what the demo does, on a console or, with None, nowhere."""

    def __init__(self, console: Console | None) -> None:
        self._console = console
        self._live: Live | None = None
        self._expected: Sequence[Expectation] = ()
        self._results: list[Result] = []
        self._playing = False

    def say(self, text: str) -> None:
        """Show a line."""
        if self._console is not None:
            self._console.print(
                text, markup=False, highlight=False, soft_wrap=not self._console.is_terminal
            )

    @contextmanager
    def table(self, expected: Sequence[Expectation]) -> Iterator[None]:
        """Show what will be played, and fill in the results."""
        self._expected, self._results = expected, []
        if self._console is None or not self._console.is_terminal:
            yield
            return
        with Live(self._render(), console=self._console, auto_refresh=False) as self._live:
            yield
        self._live = None

    def playing(self, expected: Expectation) -> None:
        """Show that a recording is being played."""
        self._playing = True
        if not self._refresh():
            said = f': "{expected.text}"' if expected.text else ""
            self.say(f"{expected.title}{said}")

    def add(self, result: Result) -> None:
        """Show a result."""
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
        table.add_column("Received over MQTT", min_width=15)
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
                row[2] = _received(self._results[number])
                row[3] = _seconds(self._results[number])
            elif number == len(self._results) and self._playing:
                row[2] = "[cyan]listening ...[/cyan]"
            table.add_row(*row)
        return table


def _seconds(result: Result) -> str:
    return "-" if result.after_s is None else f"{result.after_s:.2f} s"


def _received(result: Result) -> str:
    color = "green" if result.as_expected else "bold red"
    if result.decision is None:
        return f"[{color}]none[/{color}]"
    outcome, reason = (str(result.decision.get(key)) for key in ("decision", "reason"))
    name = result.decision.get("name")
    who = f" ({name})" if name else ""
    return f"[{color}]{escape(outcome + who)}[/{color}]\n{escape(reason)}"
