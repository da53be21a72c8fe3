"""Prints the figures as tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table


def show(part: str, figures: dict[str, Any], console: Console) -> None:
    """Print the figures of a part."""
    tables: Mapping[str, Callable[[dict[str, Any], Console], None]] = {
        "sentences": _sentences,
        "same_phrase": _same_phrase,
        "conditions": _conditions,
    }
    tables.get(part, _plain(part))(figures, console)


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left")
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number else "left")
    return table


def _errors(name: str, row: dict[str, Any]) -> tuple[str, ...]:
    return (
        name,
        str(row["targets"]),
        str(row["nontargets"]),
        f"{row['eer_percent']:.2f}",
        f"{row['false_reject_percent_at_far_0.1_percent']:.2f}",
        f"{row['min_dcf']:.3f}",
    )


_ERRORS = ("trials", "right", "wrong", "EER %", "FR % at 0.1 % FA", "minDCF")


def _sentences(figures: dict[str, Any], console: Console) -> None:
    if "presets" not in figures:
        _plain("sentences")(figures, console)
        return
    title = f"Voices, {figures['speakers']} speakers, none seen in calibration"
    table = _table(title, *_ERRORS)
    for name in ("plain cosine", "calibrated"):
        table.add_row(*_errors(name, figures[name]))
    console.print(table)
    table = _table(
        "Requested and measured rates", "preset", "requested %", "FA %", "halves", "FR %"
    )
    for name, row in figures["presets"].items():
        both = ", ".join(f"{rate:.3f}" for rate in row["false_accept_percent_of_each_half"])
        table.add_row(
            name,
            f"{row['asked_percent']:g}",
            f"{row['false_accept_percent']:.4f}",
            both,
            f"{row['false_reject_percent']:.2f}",
        )
    console.print(table)
    table = _table("At balanced, by seconds of speech", "speech", "FA %", "FR %")
    for length, row in figures["by seconds of speech, at balanced"].items():
        accepts, rejects = row["false_accept_percent"], row["false_reject_percent"]
        table.add_row(length, f"{accepts:.4f}", f"{rejects:.2f}")
    console.print(table)
    table = _table(
        "Identification in a group", "group of", "requested %", "strangers", "FA %", "right %"
    )
    for size, row in figures["groups"].items():
        table.add_row(
            size,
            f"{row['asked_percent']:g}",
            str(row["strangers"]),
            f"{row['false_accept_percent']:.4f}",
            f"{row['identified_percent']:.2f}",
        )
    console.print(table)


def _same_phrase(figures: dict[str, Any], console: Console) -> None:
    table = _table("Voice and phrase, TC against TW, IC and IW", *_ERRORS)
    for label, row in figures.items():
        table.add_row(*_errors(f"{label}, plain", row["plain"]))
        table.add_row(*_errors(f"{label}, calibrated", row["calibrated"]))
    console.print(table)
    table = _table(
        "By kind of trial, percent", "trials", "FR", "TW accepted", "IC accepted", "IW accepted"
    )
    for label, row in figures.items():
        rates = {"plain": row["plain, at its fixed thresholds, percent"]}
        rates.update(row["presets, percent"])
        for name, one in rates.items():
            values = (f"{one[kind]:.2f}" for kind in ("FR", "TW", "IC", "IW"))
            table.add_row(f"{label}, {name}", *values)
    console.print(table)


def _conditions(figures: dict[str, Any], console: Console) -> None:
    table = _table(
        "Enrolled clean, tested under the condition",
        *("condition", "refused %", "minDCF plain", "calibrated"),
        *("FR % balanced", "TW accepted", "IC accepted"),
    )
    for name, row in figures.items():
        rates = row["balanced, percent"]
        table.add_row(
            name,
            f"{row['refused_percent']:.1f}",
            _optional(row["plain_min_dcf"]),
            _optional(row["min_dcf"]),
            *(f"{rates[kind]:.2f}" for kind in ("FR", "TW", "IC")),
        )
    console.print(table)


def _optional(value: Any) -> str:
    return "-" if value is None else f"{value:.3f}"


def _plain(part: str) -> Callable[[dict[str, Any], Console], None]:
    def lines(figures: dict[str, Any], console: Console) -> None:
        table = _table(part, "figure", "")
        for name, value in _flat(figures):
            table.add_row(name, str(value))
        console.print(table)

    return lines


def _flat(figures: Mapping[str, Any], before: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for name, value in figures.items():
        path = f"{before}{name}"
        rows += _flat(value, f"{path}, ") if isinstance(value, Mapping) else [(path, value)]
    return rows
