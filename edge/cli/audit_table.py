"""The audit trail as a table for people."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any

from edge.cli.output import console, one_line, printing

if TYPE_CHECKING:
    from edge.store.audit_entry import Entry

_UNITS = ("s", "ms")
_UNSAID = ("id", "hash")
"""For programs; `--json` has them."""


def print_table(entries: list[Entry], names: dict[str, str]) -> None:
    """Print entries, the names of those who are enrolled in place of their ids."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("ENTRY", justify="right")
    for title in ("TIME", "WHAT", "WHO", "DETAIL"):
        table.add_column(title, overflow="fold")
    for entry in entries:
        detail = entry.details()
        table.add_row(
            str(entry.seq),
            _when(entry),
            Text(one_line(str(entry.kind).replace("_", " ")), style=_style(entry.kind, detail)),
            Text(one_line(_who(entry.profile_id, names))),
            Text(one_line(_words(detail))),
        )
    with printing():
        console(sys.stdout).print(table)


def seconds_of(entry: Entry) -> float:
    """Unix time; 0 for what a forger has put in its place. `verify` says where that is."""
    return entry.time_us / 1e6 if isinstance(entry.time_us, int) else 0.0


def _when(entry: Entry) -> str:
    try:
        moment = datetime.fromtimestamp(seconds_of(entry)).astimezone()
    except (ValueError, OverflowError, OSError):
        return "?"
    return moment.strftime("%Y-%m-%d %H:%M:%S")


def _style(kind: str, detail: dict[str, Any]) -> str:
    if kind == "decision":
        return "green" if detail.get("outcome") == "granted" else "yellow"
    alarming = ("duress", "tampering", "lock_out", "command_refused", "unwritten")
    return "bold red" if kind in alarming else ""


def _who(profile_id: str | None, names: dict[str, str]) -> str:
    if profile_id is None:
        return ""
    return names.get(profile_id) or f"{str(profile_id)[:8]} (gone)"


def _words(detail: dict[str, Any]) -> str:
    """The detail for people: words that speak for themselves first, then figures by name."""
    spoken = [
        str(detail.pop(name)).replace("_", " ")
        for name in ("outcome", "reason", "what")
        if isinstance(detail.get(name), str)
    ]
    return ", ".join(
        [*spoken, *(_figure(*item) for item in detail.items() if item[0] not in _UNSAID)]
    )


def _figure(name: str, value: object) -> str:
    if isinstance(value, bool):
        return f"{'' if value else 'not '}{name.replace('_', ' ')}"
    stem, _, unit = name.rpartition("_")
    if not (stem and unit in _UNITS):
        stem, unit = name, ""
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return " ".join(word for word in (stem.replace("_", " "), text, unit) if word)
