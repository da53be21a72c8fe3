"""The chain of the audit trail: its entries, their authentication, and its verification."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from edge.errors import InputError
from edge.types import Detail, Event, EventKind
from edge.types.decision import utc_us

START = bytes(32)

MAX_DETAIL = 4096

_MAX_ITEMS = 32
_MAX_KEY = 64
_MAX_TEXT = 256
_TOO_LONG = "(too long)"
_DOMAIN = b"edge-voice audit entry 1\0"
_ANCHOR_DOMAIN = b"edge-voice audit head 1\0"
_HEAD = re.compile(r"([0-9]{1,15}):([0-9a-f]{64})")


@dataclass(frozen=True)
class Entry:
    """One entry as it is stored.

    Attributes:
        seq: its number; the first one is 1, and no number is given twice.
        time_us: Unix time of the event, microseconds.
        profile_id: the person concerned; None for nobody.
        detail: flat JSON with sorted keys, exactly as it was authenticated.
        mac: HMAC-SHA256 over the entry before and this one's content, 32 bytes.
    """

    seq: int
    time_us: int
    kind: str
    profile_id: str | None
    detail: str
    mac: bytes

    def as_dict(self) -> dict[str, Any]:
        """What programs get to see; `detail` stays the text that was authenticated."""
        return {
            "seq": self.seq,
            "time": self._time(),
            "kind": self.kind,
            "profile": self.profile_id,
            "detail": self.detail,
            "mac": self.mac.hex(),
        }

    def _time(self) -> str | None:
        """When, as JSON has it; None for no time, which a forger put there."""
        try:
            return utc_us(self.time_us) if isinstance(self.time_us, int) else None
        except OverflowError:
            return None

    def details(self) -> dict[str, Any]:
        """The detail, read; empty where it is not a JSON object, as in a forged entry."""
        try:
            value = json.loads(self.detail)
        except (ValueError, TypeError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}

    def genuine(self, key: bytes, previous: bytes) -> bool:
        """Whether it is what was written after the entry whose MAC is `previous`."""
        if not isinstance(self.mac, bytes):
            return False
        return hmac.compare_digest(self.mac, _mac(key, previous, self.content()))

    def content(self) -> tuple[Any, ...]:
        """What is authenticated."""
        return (self.seq, self.time_us, self.kind, self.profile_id, self.detail)


@dataclass(frozen=True)
class Head:
    """The newest entry's number and MAC, which reveal any cut before it; 0, `START` for none."""

    seq: int
    mac: bytes

    def __str__(self) -> str:
        return f"{self.seq}:{self.mac.hex()}"

    @classmethod
    def parse(cls, text: str) -> Head:
        """Read what `str` wrote. Raises `InputError` if it is not a head."""
        match = _HEAD.fullmatch(text)
        if match is None:
            raise InputError(
                f"invalid head of an audit trail: {text[:40]!r}; give SEQ:HASH, a number and"
                " 64 hexadecimal digits, as it was published"
            )
        return cls(int(match[1]), bytes.fromhex(match[2]))


def sealed_entry(key: bytes, previous: bytes, seq: int, event: Event) -> Entry:
    """The entry of an event, to follow the one whose MAC is `previous`."""
    time_us = round(event.time * 1e6) if math.isfinite(event.time) else 0
    profile = event.profile_id
    if profile is not None:
        profile = profile[:_MAX_KEY].encode("ascii", "backslashreplace").decode()
    content = (seq, time_us, event.kind.value, profile, detail_text(event.detail))
    return Entry(*content, _mac(key, previous, content))


def anchor_text(key: bytes, head: Head) -> str:
    """A head as it is kept outside the trail: it cannot be made without the key either."""
    mark = hmac.new(key, _ANCHOR_DOMAIN + str(head).encode(), hashlib.sha256).hexdigest()
    return f"{head}:{mark}"


def read_anchor(key: bytes, text: str | None) -> Head | None:
    """The head that `anchor_text` made, None where there is none that is genuine."""
    head = (text or "").rpartition(":")[0]
    if text is None or _HEAD.fullmatch(head) is None:
        return None
    read = Head.parse(head)
    genuine = hmac.compare_digest(anchor_text(key, read).encode(), text.encode())
    return read if genuine else None


def detail_text(detail: Mapping[str, Detail]) -> str:
    """A detail as canonical JSON of at most `MAX_DETAIL` ASCII characters.

    What is too long is cut, and what is no flat figure or word becomes its type's name: a mistake
    elsewhere must neither stop the trail nor bring an embedding into it.
    """
    items = sorted(detail.items(), key=lambda item: str(item[0]))[:_MAX_ITEMS]
    flat = {str(name)[:_MAX_KEY]: _flat(value) for name, value in items}
    text = _canonical(flat)
    while len(text) > MAX_DETAIL:
        longest = max(flat, key=lambda name: len(_canonical(flat[name])))
        if len(_canonical(flat[longest])) <= len(_canonical(_TOO_LONG)):  # so it is the names
            flat = {"detail": _TOO_LONG}
        else:
            flat[longest] = _TOO_LONG
        text = _canonical(flat)
    return text


def _flat(value: object) -> Detail:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)[:_MAX_TEXT]  # of an enumeration, too, the text alone
    if isinstance(value, int):
        return int(value) if abs(value) < 2**63 else "(out of range)"
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else "(not finite)"
    return f"({type(value).__name__[:40]})"


def _canonical(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _mac(key: bytes, previous: bytes, content: tuple[Any, ...]) -> bytes:
    try:
        text = json.dumps(content, separators=(",", ":")).encode()
    except TypeError:  # an altered entry may hold a BLOB
        text = repr(content).encode("utf-8", "surrogatepass")
    return hmac.new(key, _DOMAIN + previous + text, hashlib.sha256).digest()


@dataclass(frozen=True)
class AuditVerdict:
    """What verifying a trail has found.

    Attributes:
        findings: one line for each thing that is wrong, the earliest first.
        first: number of the oldest entry; 0 when there is none.
        head: the newest one, as the file has it.
        removed: how many older ones retention removed, as far as the entries left say so.
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
    """Verify a trail's entries, in order, by their key.

    Args:
        anchor: the head that `DeviceState` had before the entries were read; None when it has
            none that is genuine.
        expected: a head that was written down or published earlier.
        anchored: whether there must be an anchor; an exported trail has none.
    """
    rows = list(entries)
    findings = list(_chain(rows, key))
    before_last = _bytes(rows[-2].mac) if len(rows) > 1 else START
    if rows and findings and not anchor and not rows[-1].genuine(key, before_last):
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
            previous = _removed_before(rows, row)
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


def _is_number(value: Any) -> bool:
    """Whether a detail is a count; that of a forged entry may be anything."""
    return type(value) is int and 0 <= value < 2**63


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else START


def _removed_before(entries: Iterable[Entry], first: Entry) -> bytes | None:
    """The MAC before the first entry, as retention recorded it; None if it removed nothing."""
    last = first.seq - 1
    if first.kind == EventKind.TAMPERING.value:
        last = first.details().get("found", last)
    found = None
    for entry in entries:
        if entry.kind == EventKind.RETENTION.value:
            detail = entry.details()
            if detail.get("last") == last:
                with contextlib.suppress(ValueError, TypeError, KeyError):
                    found = bytes.fromhex(detail["hash"])
    return found
