"""Whether an audit trail is as it was written: nothing edited, cut, re-ordered or exchanged."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from edge.store.audit_entry import START, Entry, Head
from edge.store.audit_file import removed_before
from edge.types import EventKind


@dataclass(frozen=True)
class AuditVerdict:
    """What verifying a trail has found.

    Attributes:
        findings: one line for each thing that is wrong, the earliest first; none if nothing is.
        entries: how many entries there are.
        first: number of the oldest one; 0 when there is none.
        head: the newest one, as the file has it.
        removed: how many older ones retention has removed and put on record, as far as the
            entries that are left say so.
    """

    findings: tuple[str, ...]
    entries: int
    first: int
    head: Head
    removed: int

    @property
    def intact(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings


def check(
    entries: Iterable[Entry],
    key: bytes,
    *,
    anchor: Head | None,
    expected: Head | None = None,
    anchored: bool = True,
) -> AuditVerdict:
    """Verify a trail.

    Args:
        entries: all of them, by number.
        key: what they were authenticated with.
        anchor: the head that `DeviceState` had before the entries were read; None when it has
            none that is genuine.
        expected: a head that was written down or published earlier.
        anchored: whether there must be an anchor; an exported trail has none.
    """
    rows = list(entries)
    findings = list(_chain(rows, key))
    if rows and findings and not anchor and not rows[-1].genuine(key, _before_last(rows)):
        findings = [f"entries {rows[0].seq} to {rows[-1].seq} do not verify: another key is in use"]
    head = Head(rows[-1].seq, _bytes(rows[-1].mac)) if rows else Head(0, START)
    if anchored and rows and anchor is None:  # before the first entry there need not be one
        findings.append("the head that is kept apart from the trail is missing or altered")
    for known, where in ((anchor, "kept apart from the trail"), (expected, "given")):
        if known is not None:
            findings += _against(known, rows, head, where)
    counts = [row.details().get("count") for row in rows if row.kind == EventKind.RETENTION.value]
    removed: int = sum(filter(_is_number, counts))  # type: ignore[arg-type]  # only numbers pass
    return AuditVerdict(tuple(findings), len(rows), rows[0].seq if rows else 0, head, removed)


def _chain(rows: list[Entry], key: bytes) -> Iterable[str]:
    """What is wrong within the entries; each link is judged by the MACs as they stand."""
    seq = 0
    previous: bytes | None = START  # None where the link to the entry before cannot be judged
    for number, row in enumerate(rows):
        if not isinstance(row.seq, int):
            yield f"an entry has {str(row.seq)[:20]!r} for its number"
            return
        lost = row.details() if row.kind == EventKind.TAMPERING.value else {}
        if number == 0 and row.seq > 1 and lost.get("found") != 0:
            seq, previous = row.seq - 1, removed_before(rows, row)
            if previous is None:
                yield f"entries before {row.seq} are missing, and retention did not remove them"
        elif row.seq != seq + 1 and lost.get("found") != seq:
            yield f"{_entries(seq + 1, row.seq - 1)} missing"
            previous = None
        if previous is not None and not row.genuine(key, previous):
            yield f"entry {row.seq} is not as it was written"
        elif lost.get("lost") == "entries" and _is_number(lost.get("found")):
            missing = _entries(lost["found"] + 1, row.seq - 1)
            yield f"{missing} missing, as was noticed when entry {row.seq} was written"
        elif lost:
            yield f"the head kept apart was missing when entry {row.seq} was written"
        seq, previous = row.seq, _bytes(row.mac)


def _entries(first: int, last: int) -> str:
    return f"entry {first} is" if first == last else f"entries {first} to {last} are"


def _against(known: Head, rows: list[Entry], head: Head, where: str) -> Iterable[str]:
    if known.seq == 0:
        return
    if known.seq > head.seq:
        yield (
            f"{_entries(head.seq + 1, known.seq)} missing at the end:"
            f" the head {where} is entry {known.seq}"
        )
    elif rows and known.seq < rows[0].seq:
        if where == "given":
            yield (
                f"entry {known.seq} was removed as too old, so that the head {where} proves"
                " nothing: give a newer one"
            )
    else:
        own = next((row.mac for row in rows if row.seq == known.seq), None)
        if own != known.mac:
            yield f"entry {known.seq} is not the one of the head {where}: the trail was exchanged"


def _before_last(rows: list[Entry]) -> bytes:
    return _bytes(rows[-2].mac) if len(rows) > 1 else START


def _is_number(value: Any) -> bool:
    """Whether a detail is a count; that of a forged entry may be anything."""
    return type(value) is int and 0 <= value < 2**63


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else START
