"""Prints the figures as tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from tools.accuracy.figures import PRESETS
from tools.accuracy.surroundings import QUIET
from tools.attacks.rows import Attack, markdown


def show(part: str, figures: dict[str, Any], console: Console) -> None:
    """Print the figures of a part."""
    tables: Mapping[str, Callable[[dict[str, Any], Console], None]] = {
        "sentences": _sentences,
        "same_phrase": _same_phrase,
        "words": _words,
        "tricks": _tricks,
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
    for mood, rows in figures.items():
        quiet = next(iter(rows.values()))
        table = _table(f"{mood}: TC against TW, IC and IW", *_ERRORS)
        table.add_row(*_errors("quiet", quiet["errors"]))
        console.print(table)
        table = _table(
            f"{mood}, enrolled calm in quiet, percent",
            *("condition", "recordings", "turned away", "of these too poor"),
            *("TW accepted", "IC accepted", "IC relaxed", "IC strict"),
        )
        for name, row in rows.items():
            presets = row["presets"]
            table.add_row(
                name,
                str(row["recordings"]),
                *(
                    _percent(value)
                    for value in (
                        presets["balanced"]["turned_away_percent"],
                        row["too_poor_percent"],
                        presets["balanced"]["TW_percent"],
                        *(presets[preset]["IC_percent"] for preset in _BY_DANGER),
                    )
                ),
            )
        console.print(table)
        for name, row in rows.items():
            if "turned_away_by_noise_percent" in row:
                by_kind = row["turned_away_by_noise_percent"].items()
                every = ", ".join(f"{kind} {_percent(rate)}" for kind, rate in by_kind)
                console.print(f"{name}, turned away by kind of noise, %: {every}")


def _words(figures: dict[str, Any], console: Console) -> None:
    table = _table(
        "Phrases of four words, percent",
        *("condition, preset", "asked", "strangers", "one word replaced", "turned away"),
    )
    for name, row in figures.items():
        for preset, rates in row["presets"].items():
            table.add_row(
                f"{name}, {preset}",
                f"{rates['asked_percent']:g}",
                _percent(rates["strangers_percent"]),
                _percent(rates["one_word_replaced_percent"]),
                _percent(rates["turned_away_percent"]),
            )
    console.print(table)
    for name, row in figures.items():
        pairs = row["pairs"]
        most = pairs["pairs_that_make_80_percent"]
        every = "; ".join(f"{pair}: {count}" for pair, count in most.items())
        console.print(
            f"{name}, balanced: {pairs['pairs_with_an_accept']} of {pairs['pairs']} pairs of people"
            f" are taken for each other; {len(most)} make 80 % of it ({every or 'none'}); without"
            f" these {pairs['strangers_percent_without_them']} %"
        )


def _tricks(figures: dict[str, Any], console: Console) -> None:
    table = _table(
        "Strangers with the right phrase who are let in (of these, not in quiet)",
        *("what was done", "attempts", *PRESETS, "turned away, %", "too poor, %"),
    )
    for name, row in figures.items():
        newly = row["accepted_but_not_in_quiet"]
        table.add_row(
            name,
            str(row["strangers"]),
            *(f"{row['accepted'][preset]} ({newly[preset]})" for preset in PRESETS),
            _percent(row["turned_away_percent"]),
            _percent(row["too_poor_percent"]),
        )
    console.print(table)
    console.print(markdown(altered(figures)), soft_wrap=True, markup=False, highlight=False)


def altered(figures: dict[str, Any]) -> list[Attack]:
    """The rows of docs/THREATS.md: strangers as they are, and with what helps them most."""
    others = {name: row for name, row in figures.items() if name != QUIET}
    worst = max(others, key=lambda name: others[name]["accepted"]["balanced"])
    return [
        Attack(
            f"A stranger says the phrase, {kind}, at `balanced` (false-accept rate)",
            figures[name]["strangers"],
            figures[name]["accepted"]["balanced"],
            "Nothing of it lowers what is asked of a voice." if name != QUIET else "As above.",
            "Related people on one microphone.",
            "measure_accuracy FOLDER --only tricks --quick",
        )
        for name, kind in (
            (QUIET, "in quiet"),
            (worst, f"with the worst of {len(others)} noises, echoes and tricks ({worst})"),
        )
    ]


_BY_DANGER = ("balanced", "relaxed", "strict")


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


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
