"""One entry of the audit trail, what is authenticated of it, and the head of the chain."""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge.errors import InputError
from edge.types import Detail, Event

START = bytes(32)
"""What stands in for the entry before the first one."""

MAX_DETAIL = 4096
"""Most characters of an entry's detail."""

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
        kind: an `EventKind`'s value.
        profile_id: whom it is about; None when nobody.
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
            "time_us": self.time_us,
            "kind": self.kind,
            "profile": self.profile_id,
            "detail": self.detail,
            "mac": self.mac.hex(),
        }

    def details(self) -> dict[str, Any]:
        """The detail, read; empty where it is no JSON object, as in a forged entry."""
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
    """The newest entry of a trail: whoever knows it can tell whether anything up to it was cut.

    Attributes:
        seq: its number; 0 for a trail without entries.
        mac: its MAC, `START` for a trail without entries.
    """

    seq: int
    mac: bytes

    def __str__(self) -> str:
        return f"{self.seq}:{self.mac.hex()}"

    @classmethod
    def parse(cls, text: str) -> Head:
        """Read what `str` wrote.

        Raises:
            InputError: it is nothing of the kind.
        """
        match = _HEAD.fullmatch(text)
        if match is None:
            raise InputError(
                f"{text[:40]!r} is no head of an audit trail; give SEQ:HASH, a number and"
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
    """A detail as canonical JSON of `MAX_DETAIL` ASCII characters at most.

    What is too long is cut, and what is no flat figure or word is replaced by its type's name: a
    mistake elsewhere must neither stop the trail nor bring an embedding into it.
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
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _mac(key: bytes, previous: bytes, content: tuple[Any, ...]) -> bytes:
    try:
        text = json.dumps(content, separators=(",", ":")).encode()
    except (TypeError, ValueError):  # an altered entry may hold anything; a BLOB, for one
        text = repr(content).encode("utf-8", "surrogatepass")
    return hmac.new(key, _DOMAIN + previous + text, hashlib.sha256).digest()
