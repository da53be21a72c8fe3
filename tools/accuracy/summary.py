"""The figures that matter, beside what is aimed at, in one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from tools.accuracy.running import DELAYS
from tools.running_speech import ABUTTING, ALONE

Report = Mapping[str, Any]
"""Figures by part, as `tools.measure_accuracy` writes them."""


@dataclass(frozen=True)
class Line:
    """One line of the table.

    Attributes:
        name: what was measured, with its unit.
        aim: the most that it should be; None where nothing is aimed at.
        measured: the figure, of a report; None where it has none.
    """

    name: str
    aim: float | None
    measured: Callable[[Report], float | None]


def _at(*keys: str) -> Callable[[Report], Any]:
    """A figure by its path; None where there is none."""

    def find(report: Report) -> Any:
        found: Any = report
        for key in keys:
            if not isinstance(found, Mapping) or key not in found:
                return None
            found = found[key]
        return found

    return find


def _turned_away(mood: str, condition: str) -> Callable[[Report], Any]:
    path = ("same_phrase", mood, condition, "presets", "balanced", "turned_away_percent")
    return _at(*path)


def _poor(mood: str, condition: str) -> Callable[[Report], Any]:
    return _at("same_phrase", mood, condition, "too_poor_percent")


def _worst(kind: str) -> Callable[[Report], float | None]:
    """The highest rate of a kind of trial under any condition, at `balanced`."""

    def find(report: Report) -> float | None:
        moods = report.get("same_phrase", {})
        rates = [
            row["presets"]["balanced"][f"{kind}_percent"]
            for rows in moods.values()
            for row in rows.values()
        ]
        return max((rate for rate in rates if rate is not None), default=None)

    return find


def _words(condition: str, preset: str, figure: str) -> Callable[[Report], Any]:
    return _at("words", condition, "presets", preset, figure)


def _gained(preset: str) -> Callable[[Report], Any]:
    """The most that any trick adds to the strangers' accepts in quiet, in percent of attempts."""

    def find(report: Report) -> float | None:
        tricks = report.get("tricks")
        if not tricks:
            return None
        in_quiet = tricks["quiet"]["accepted"][preset]
        gained = {row["accepted"][preset] - in_quiet: row["strangers"] for row in tricks.values()}
        most = max(gained)
        return float(100.0 * most / gained[most])

    return find


_CONDITIONS = {
    "quiet": ("quiet", 0.5),
    "noise 20 dB": ("noise 20 dB", 1.0),
    "noise 10 dB": ("noise 10 dB", 4.0),
    "noise 5 dB": ("noise 5 dB", 15.0),
    "voices 20 dB": ("voices 20 dB", None),
    "voices 10 dB": ("voices 10 dB", None),
    "voices 5 dB": ("voices 5 dB", None),
    "hallway": ("hallway", 3.0),
    "hallway, far": ("hallway_far", 4.0),
    "hallway, noise 20 dB": ("hallway, noise 20 dB", 6.0),
    "hallway, far, noise 20 dB": ("hallway_far, noise 20 dB", 6.0),
    "stairwell": ("stairwell", 10.0),
}

LINES: tuple[Line, ...] = (
    *(
        Line(f"turned away, {name}, %", aim, _turned_away("calm", condition))
        for name, (condition, aim) in _CONDITIONS.items()
    ),
    *(
        Line(
            f"turned away, excited, {name}, %",
            6.0 if name == "quiet" else None,
            _turned_away("excited", condition),
        )
        for name, (condition, _) in _CONDITIONS.items()
    ),
    *(
        Line(f"too poor to judge, {name}, %", None, _poor("calm", name))
        for name in ("noise 10 dB", "noise 5 dB", "voices 5 dB", "stairwell")
    ),
    Line("strangers with the right phrase, worst condition, %", 0.3, _worst("IC")),
    Line("wrong phrase (two words in six), worst condition, %", 1.0, _worst("TW")),
    Line(
        "near misses of a short keyword at 5 % turned away, %",
        3.0,
        _at("near_miss", "near misses accepted at 5 % false rejects, percent"),
    ),
    *(
        Line(
            f"words: strangers with the right phrase, {preset} (asked {asked}), %",
            aim,
            _words("quiet", preset, "strangers_percent"),
        )
        for preset, asked, aim in (
            ("relaxed", "1", None),
            ("balanced", "0.1", 0.3),
            ("strict", "0.01", None),
        )
    ),
    Line(
        "words: pairs of people that make 80 % of it",
        None,
        lambda report: _count(_at("words", "quiet", "pairs", "pairs_that_make_80_percent")(report)),
    ),
    Line(
        "words: strangers without these pairs, balanced, %",
        None,
        _at("words", "quiet", "pairs", "strangers_percent_without_them"),
    ),
    Line(
        "words: strangers, noise 10 dB, balanced, %",
        0.3,
        _words("noise 10 dB", "balanced", "strangers_percent"),
    ),
    *(
        Line(f"words: what a trick adds to the strangers, {preset}, %", 0.0, _gained(preset))
        for preset in ("relaxed", "balanced", "strict")
    ),
    *(
        Line(f"words: {name}, {condition}, %", None, _words(condition, "balanced", figure))
        for condition in ("quiet", "noise 10 dB")
        for name, figure in (
            ("turned away", "turned_away_percent"),
            ("one word of four replaced", "one_word_replaced_percent"),
        )
    ),
    Line(
        "minDCF of the TdSV Challenge 2024, calm",
        0.010,
        _at("same_phrase", "calm", "quiet", "errors", "min_dcf"),
    ),
    Line("an evening of other people's speech: grants", 0.0, _at("running", "false grants")),
    Line("a hundred phrases in it: missed", 1.0, _at("running", "with phrases", "missed")),
    *(
        Line(
            f"from the end of a phrase to the decision, {where}, median, s",
            0.25,
            _at("running", "with phrases", DELAYS, joint, "median"),
        )
        for joint, where in ((ALONE, "alone"), (ABUTTING, "in running speech"))
    ),
    Line("an hour of people's own other speech: grants", 0.0, _at("own_speech", "grants")),
)


def _count(found: Any) -> float | None:
    return None if found is None else float(len(found))


def summary(reports: Mapping[str, Report]) -> list[dict[str, Any]]:
    """The lines that were measured: the figure, its aim, and the figure of each report by name."""
    lines = []
    for line in LINES:
        values = {name: line.measured(report) for name, report in reports.items()}
        if any(value is not None for value in values.values()):
            lines.append({"figure": line.name, "aim": line.aim, **values})
    return lines


def summary_table(lines: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Table:
    """The lines as a table; the last of `names` is the one that the aim is held against."""
    table = Table("figure", title="In short, at balanced unless said", title_justify="left")
    for name in (*names, "aim"):
        table.add_column(name, justify="right")
    for line in lines:
        aim, last = line["aim"], line[names[-1]]
        met = aim is None or last is None or last <= aim
        cells = [_number(line[name]) for name in names]
        table.add_row(line["figure"], *cells, _number(aim), style="" if met else "bold")
    return table


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
