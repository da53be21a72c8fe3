"""What happened at the door, and what would have been needed where it stayed shut."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup
from starlette.responses import Response
from starlette.routing import BaseRoute

from edge.page import plots, words
from edge.page.visits import Pages, Visit
from edge.store.api_keys import ApiKey
from edge.store.audit_chain import Entry
from edge.store.audit_file import FILE_NAME, reading
from edge.types import EventKind, Profile

MOST_SHOWN = 30
_MOST_IN_CHART = 300
_DAYS = {"1": 1, "7": 7, "30": 30, "": None}
_DECISIONS = (EventKind.DECISION.value, EventKind.DURESS.value)
"""A silent alarm looks like any other decision here: whoever forces somebody may look on."""
_TITLES: Mapping[str, str] = {
    "started": "The service started",
    "stopped": "The service stopped",
    "command": "Done",
    "command_refused": "Refused",
    "enrollment": "Enrolled",
    "change": "Changed",
    "deletion": "Deleted",
    "export": "Exported",
    "import": "Imported",
    "lock_out": "Locked out",
    "lock_out_over": "The lock-out is over",
    "clock": "The time",
    "rollback": "An older file was put back",
    "keys": "A key",
    "retention": "Old entries were removed",
    "unwritten": "Entries are lost",
    "tampering": "The history was tampered with",
}
_TOLD = ("what", "command", "rule", "reason", "problem", "version", "microphone", "by")
"""What is told of an event that is no decision, in this order."""


@dataclass(frozen=True)
class _Filter:
    """Which decisions are shown; empty is all."""

    outcome: str
    person: str
    days: str
    kind: str

    @classmethod
    def of(cls, visit: Visit) -> _Filter:
        days, kind, outcome = (visit.field(name) for name in ("days", "kind", "outcome"))
        return cls(
            outcome if outcome in ("granted", "denied") else "",
            visit.field("person")[:64],
            days if days in _DAYS else "",
            kind if kind == "other" else "",
        )


@dataclass(frozen=True)
class Shown:
    """An entry as it is shown.

    Attributes:
        id: of the decision; empty for anything else.
        state: a word for the style, and the words.
        who: a name, or what else is known; empty for nobody.
        figures: what was measured, in words.
        drawing: the scores against their limits; None where nothing was compared.
        needed: what would have been needed; empty where the door opened.
    """

    id: str
    at: float
    state: tuple[str, str]
    who: str
    reason: str
    figures: str = ""
    drawing: Markup | None = None
    needed: str = ""


def routes(pages: Pages) -> list[BaseRoute]:
    """What this part serves."""
    return [pages.page("/history", _show)]


def _show(visit: Visit) -> Response:
    profiles = visit.context.store.list()
    people = {each.id: each for each in profiles if each.duress_of is None}
    hidden = {each.id for each in profiles if each.duress_of is not None}
    chosen = _Filter.of(visit)
    path = visit.context.config.state_path / FILE_NAME
    # There may be a hundred thousand: no more are read than are shown.
    with reading(path, newest_first=True) as entries:
        matching = _filtered(entries, chosen, hidden, words.now())
        found = list(itertools.islice(matching, _MOST_IN_CHART))
    keys = visit.context.keys.list()
    shown = [
        _decision(entry, people, visit) if entry.kind in _DECISIONS else _other(entry, people, keys)
        for entry in found[:MOST_SHOWN]
    ]
    points = [point for entry in found if (point := _point(entry)) is not None]
    return visit.show(
        "history.html",
        "History",
        entries=shown,
        more=len(found) > len(shown),
        chart=plots.chart(points) if len(points) > 1 else "",
        chosen=chosen,
        people=sorted(people.values(), key=lambda each: each.name.casefold()),
    )


def _filtered(
    entries: Iterable[Entry], chosen: _Filter, hidden: set[str], now: float
) -> Iterable[Entry]:
    """The entries to show."""
    days = _DAYS[chosen.days]
    since = 0.0 if days is None else now - 86400.0 * days
    for entry in entries:
        if (entry.kind in _DECISIONS) is (chosen.kind == "other") or entry.profile_id in hidden:
            continue
        if seconds_of(entry) < since or chosen.person not in ("", entry.profile_id):
            continue
        if entry.kind in _DECISIONS:
            outcome = entry.details().get("outcome")
            if outcome is None or chosen.outcome not in ("", outcome):
                continue
        yield entry


def seconds_of(entry: Entry) -> float:
    """Unix time; 0 for anything else, which a forger put there."""
    return entry.time_us / 1e6 if isinstance(entry.time_us, int) else 0.0


def _decision(entry: Entry, people: Mapping[str, Profile], visit: Visit) -> Shown:
    detail = entry.details()
    granted = detail.get("outcome") == "granted"
    profile = people.get(str(entry.profile_id))
    reason = str(detail.get("reason", ""))
    margins = [
        (name, margin)
        for name, margin in (
            ("voice", words.number(detail.get("voice_margin"))),
            ("passphrase", words.number(detail.get("phrase_margin"))),
        )
        if margin is not None
    ]
    rule = profile.rule.in_words() if profile else ""
    return Shown(
        str(detail.get("id", "")),
        seconds_of(entry),
        ("good", "Let in") if granted else ("bad", "Not let in"),
        _who(entry.profile_id, people),
        words.REASONS.get(reason, reason),
        _figures(detail),
        plots.bars(margins) if margins else None,
        words.needed(detail, visit.context.config.recognition, rule),
    )


def _figures(detail: Mapping[str, Any]) -> str:
    """What was measured of an utterance."""
    length, level, snr = (
        words.number(detail.get(name)) for name in ("utterance_s", "level_dbfs", "snr_db")
    )
    parts = []
    if length:
        parts.append(f"{length:.1f} s of sound")
    if level is not None:
        parts.append(f"level {words.minus(level)} dB")
    if snr is not None:
        parts.append(f"{words.minus(snr)} dB above the noise")
    if detail.get("confidence") in ("low", "normal", "high"):
        parts.append(f"{detail['confidence']} confidence")
    if detail.get("sent") is False:
        parts.append("too late, so nobody was told")
    return ", ".join(parts)


def _other(entry: Entry, people: Mapping[str, Profile], keys: list[ApiKey]) -> Shown:
    detail = entry.details()
    seconds = words.number(detail.get("lasts_s"))
    told = [f"for {words.duration(seconds)}"] if seconds else []
    told += [
        f"{'by ' * (name == 'by')}{detail[name]}".replace("_", " ")
        for name in _TOLD
        if detail.get(name)
    ]
    key = next((each.name for each in keys if each.id == detail.get("key")), detail.get("key"))
    if key:
        told.append(f"key {key}")
    alarming = ("lock_out", "rollback", "unwritten", "tampering", "command_refused")
    style = "wait" if entry.kind in alarming else "off"
    title = _TITLES.get(str(entry.kind), str(entry.kind))
    who = _who(entry.profile_id, people)
    return Shown("", seconds_of(entry), (style, title), who, ", ".join(told))


def _who(profile_id: str | None, people: Mapping[str, Profile]) -> str:
    if profile_id is None:
        return ""
    profile = people.get(profile_id)
    return profile.name if profile else "somebody who was deleted"


def _point(entry: Entry) -> plots.Point | None:
    """A decision in the chart; None where nothing was compared."""
    if entry.kind not in _DECISIONS:
        return None
    detail = entry.details()
    margins = [words.number(detail.get(f"{part}_margin")) for part in ("voice", "phrase")]
    known = [margin for margin in margins if margin is not None]
    if not known:
        return None
    return plots.Point(seconds_of(entry), min(known), detail.get("outcome") == "granted")
