"""The audit trail's entries: what they hold, how they are authenticated, and what is judged."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edge.errors import InputError
from edge.store.audit_chain import (
    Entry,
    Head,
    anchor_text,
    check,
    detail_text,
    read_anchor,
    sealed_entry,
)
from edge.types import Event, EventKind
from edge.types.decision import microseconds_of

KEY = bytes(range(32))
START = bytes(32)
HASH = "0123456789abcdef" * 4
TOO_OLD = "entry 3 was removed as too old, so that the head given proves nothing: give a newer one"


def chained(*events: Event, first: int = 1, previous: bytes = START) -> list[Entry]:
    """The entries of events."""
    entries: list[Entry] = []
    for number, each in enumerate(events, start=first):
        entries.append(sealed_entry(KEY, previous, number, each))
        previous = entries[-1].mac
    return entries


def event(kind: EventKind = EventKind.CHANGE, **detail: Any) -> Event:
    return Event(kind, detail, None, 1e9)


def found(
    entries: Sequence[Entry], anchor: Head | None = None, *, anchored: bool = False, **kwargs: Any
) -> tuple[str, ...]:
    return check(entries, KEY, anchor=anchor, anchored=anchored, **kwargs).findings


def test_an_entry_can_be_checked_by_the_description_in_an_export() -> None:
    one, two = chained(
        Event(EventKind.DECISION, {"b": 1, "a": "é"}, "somebody", 1.5), event(EventKind.STARTED)
    )
    assert one.content() == (1, 1_500_000, "decision", "somebody", '{"a":"\\u00e9","b":1}')
    text = json.dumps([2, 10**15, "started", None, "{}"], separators=(",", ":"))
    told = b"edge-voice audit entry 1\0" + one.mac + text.encode("ascii")
    assert two.mac == hmac.new(KEY, told, hashlib.sha256).digest()
    assert two.genuine(KEY, one.mac)
    assert not two.genuine(KEY, START)
    assert not two.genuine(bytes(32), one.mac)
    assert not replace(two, mac=two.mac.hex()).genuine(KEY, one.mac)  # type: ignore[arg-type]
    assert one.as_dict() == {
        "seq": 1,
        "time": "1970-01-01T00:00:01.500000Z",
        "kind": "decision",
        "profile": "somebody",
        "detail": '{"a":"\\u00e9","b":1}',
        "mac": one.mac.hex(),
    }


@pytest.mark.parametrize(
    ("time", "time_us"),
    [(0.0000015, 2), (float("nan"), 0), (float("inf"), 0), (-1.0, -1_000_000)],
)
def test_an_impossible_time_is_none(time: float, time_us: int) -> None:
    (entry,) = chained(Event(EventKind.STARTED, {}, "x" * 65, time))
    assert (entry.time_us, entry.profile_id) == (time_us, "x" * 64)


@pytest.mark.parametrize(
    ("time_us", "shown"),
    [
        (1_772_366_400_000_001, "2026-03-01T12:00:00.000001Z"),
        (-1_000_000, "1969-12-31T23:59:59.000000Z"),
        (2**62, None),
        ("1772366400", None),
    ],
)
def test_the_time_of_an_entry_is_exact_in_json(time_us: int, shown: str | None) -> None:
    (entry,) = chained(Event(EventKind.STARTED))
    assert replace(entry, time_us=time_us).as_dict()["time"] == shown
    assert shown is None or microseconds_of(shown) == time_us


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-01T12:00:00.000Z", "2026-03-01T12:00:00Z", "2026-03-01T12:00:00.000001",
        "2026-03-01T12:00:00.000001+00:00", "2026-03-01 12:00:00.000001Z",
        "2026-03-01T13:00:00.000001+01:00Z", "2026-02-30T12:00:00.000001Z", "1772366400", "",
    ],
)  # fmt: skip
def test_another_spelling_of_a_time_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"UTC|microseconds|Invalid|day"):
        microseconds_of(text)


def test_a_persons_id_is_ascii() -> None:
    (entry,) = chained(Event(EventKind.STARTED, {}, "é\ud800"))
    assert entry.profile_id == "\\xe9\\ud800"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "null"),
        (True, "true"),
        (2**63 - 1, "9223372036854775807"),
        (-(2**63) + 1, "-9223372036854775807"),
        (2**63, '"(out of range)"'),
        (-(2**63), '"(out of range)"'),
        (0.5, "0.5"),
        (np.float64(0.5), "0.5"),
        (float("nan"), '"(not finite)"'),
        (float("-inf"), '"(not finite)"'),
        ("x" * 256, '"' + "x" * 256 + '"'),
        ("x" * 257, '"' + "x" * 256 + '"'),
        (EventKind.DURESS, '"duress"'),
        (np.full(9, 0.123), '"(ndarray)"'),
        ([0.123], '"(list)"'),
        (b"bytes", '"(bytes)"'),
        (type("T" * 50, (), {})(), '"(' + "T" * 40 + ')"'),
    ],
)
def test_a_detail_is_a_figure_or_a_word(value: Any, shown: str) -> None:
    assert detail_text({"b": 1, "a": value}) == f'{{"a":{shown},"b":1}}'


def test_a_detail_is_bounded() -> None:
    many = {f"{number:02}": number for number in range(33)}
    assert list(json.loads(detail_text(many))) == list(many)[:32]
    assert detail_text({"n" * 65: 1}) == '{"' + "n" * 64 + '":1}'
    # 16 texts, 4,096 characters of JSON in all; with another one the first of the longest goes.
    full = {f"{number:02}": "x" * 248 for number in range(15)} | {"15": "x" * 247}
    assert len(detail_text(full)) == 4096
    assert json.loads(detail_text(full)) == full
    longer = full | {"15": "x" * 248}
    assert json.loads(detail_text(longer)) == longer | {"00": "(too long)"}
    # Names alone can be too long: 12 ASCII characters for each of these.
    names = {f"{number:02}" + "\U0001f600" * 64: "y" * 256 for number in range(32)}
    assert detail_text(names) == '{"detail":"(too long)"}'
    kept = {f"{number:02}" + "\U0001f600" * 62: "y" * 256 for number in range(5)}
    assert json.loads(detail_text(kept)) == dict.fromkeys(kept, "(too long)") | {
        "04" + "\U0001f600" * 62: "y" * 256
    }


@pytest.mark.parametrize("detail", ["", "[1]", "7", "{", "[" * 100_000])
def test_a_detail_that_is_no_object_is_empty(detail: str) -> None:
    assert Entry(1, 0, "change", None, detail, START).details() == {}


def test_a_head_is_read_as_it_was_written() -> None:
    head = Head(999_999_999_999_999, bytes.fromhex(HASH))
    assert str(head) == f"999999999999999:{HASH}"
    assert Head.parse(str(head)) == head


@pytest.mark.parametrize(
    "text",
    ["", "1", "1:ab", f"x:{HASH}", f"1:{HASH[:-1]}G", f"1000000000000000:{HASH}", f":{HASH}",
     f"1:{HASH}0", f" 1:{HASH}", f"1:{HASH}\n"],
)  # fmt: skip
def test_what_is_no_head_is_refused(text: str) -> None:
    with pytest.raises(InputError) as caught:
        Head.parse(text)
    assert str(caught.value) == (
        f"invalid head of an audit trail: {text[:40]!r}; give SEQ:HASH, a number and 64"
        " hexadecimal digits, as it was published"
    )


def test_a_head_kept_apart_cannot_be_made_without_the_key() -> None:
    head = Head(7, bytes.fromhex(HASH))
    text = anchor_text(KEY, head)
    mark = hmac.new(KEY, f"edge-voice audit head 1\0{head}".encode(), hashlib.sha256).hexdigest()
    assert text == f"7:{HASH}:{mark}"
    assert read_anchor(KEY, text) == head
    for other in (None, "", str(head), f"{head}:", text.upper(), text[:-1], text + "0",
                  text.replace("7:", "8:"), anchor_text(bytes(32), head), "é:é"):  # fmt: skip
        assert read_anchor(KEY, other) is None


def retention(last: int, mac: bytes, count: Any = 3) -> Event:
    return event(EventKind.RETENTION, first=1, last=last, count=count, hash=mac.hex())


@pytest.mark.parametrize(
    ("expected", "said"),
    [
        (0, []),
        (3, [TOO_OLD]),
        (4, []),
        (6, []),
        (7, ["entry 7 is missing at the end: the head given is entry 7"]),
        (9, ["entries 7 to 9 are missing at the end: the head given is entry 9"]),
    ],
)  # fmt: skip
def test_a_head_is_held_against_what_is_left(expected: int, said: list[str]) -> None:
    entries = chained(*[event()] * 5)
    entries += chained(retention(3, entries[2].mac), first=6, previous=entries[-1].mac)
    left = entries[3:]
    mac = (entries[expected - 1] if 0 < expected < 7 else entries[0]).mac
    verdict = check(left, KEY, anchor=Head(6, left[-1].mac), expected=Head(expected, mac))
    assert list(verdict.findings) == said
    assert verdict.intact == (said == [])
    assert (verdict.entries, verdict.first, verdict.removed) == (3, 4, 3)
    assert verdict.head == Head(6, left[-1].mac)
    kept_apart = found(left, Head(expected, mac))
    # What is kept apart may be older than all that is left: a power cut came after retention.
    assert list(kept_apart) == (
        []
        if expected == 3
        else [line.replace("given", "kept apart from the trail") for line in said]
    )


def test_another_entry_of_the_same_number_is_an_exchange() -> None:
    entries = chained(event(), event())
    for where, heads in (
        ("kept apart from the trail", {"anchor": Head(1, START)}),
        ("given", {"expected": Head(1, START)}),
    ):
        assert found(entries, **heads) == (  # type: ignore[arg-type]
            f"entry 1 is not the one of the head {where}: the trail was exchanged",
        )


def test_there_must_be_a_head_kept_apart_once_there_are_entries() -> None:
    missing = ("the head that is kept apart from the trail is missing or altered",)
    assert found([], anchored=True) == ()
    assert found(chained(event()), anchored=True) == missing
    assert found(chained(event()), Head(0, START), anchored=True) == ()
    assert found(chained(event())) == ()
    assert check(chained(event()), KEY, anchor=None).findings == missing
    verdict = check([], KEY, anchor=None)
    assert (verdict.entries, verdict.first, verdict.head, verdict.removed) == (
        0, 0, Head(0, START), 0
    )  # fmt: skip


def test_with_another_key_that_is_all_that_is_said() -> None:
    entries = chained(event(), event(), event())
    one = chained(event())
    for rows, said in ((entries, "entries 1 to 3"), (one, "entries 1 to 1")):
        assert check(rows, bytes(32), anchor=None, anchored=False).findings == (
            f"{said} do not verify: another key is in use",
        )
    # With an anchor by this key, or a genuine newest entry, it is not the key.
    assert len(check(entries, bytes(32), anchor=Head(0, START)).findings) == 3
    assert found([replace(entries[0], detail="{}x"), *entries[1:]]) == (
        "entry 1 is not as it was written",
    )
    assert found([replace(one[0], detail="{}x")]) == (
        "entries 1 to 1 do not verify: another key is in use",
    )


@pytest.mark.parametrize(
    ("count", "removed"),
    [(3, 3), (0, 0), (2**63 - 1, 2**63 - 1), (2**63, 0), (-1, 0), (True, 0), ("3", 0)],
)
def test_what_retention_removed_is_a_number(count: Any, removed: int) -> None:
    entries = chained(event())
    forged = replace(chained(retention(1, START))[0], detail=json.dumps({"count": count}), seq=2)
    assert check([*entries, forged], KEY, anchor=None).removed == removed


def test_an_entry_may_have_been_altered_to_bytes() -> None:
    entries = chained(event(), event())
    for change in ({"detail": b"{}"}, {"kind": b"change"}, {"profile_id": b"\xff"}):
        altered: Any = replace(entries[0], **change)  # type: ignore[arg-type]
        assert found([altered, entries[1]]) == ("entry 1 is not as it was written",)


@pytest.mark.parametrize("seq", ["3" * 20, 3.5, None])
def test_an_entry_without_a_number_ends_the_search(seq: Any) -> None:
    entries = chained(event(), event(), event())
    entries[1] = replace(entries[1], seq=seq)
    assert found(entries) == (f"an entry has {str(seq)!r} for its number",)
    entries[1] = replace(entries[1], seq="3" * 21)  # type: ignore[arg-type]
    assert found(entries) == (f"an entry has {'3' * 20!r} for its number",)


def test_of_a_gap_the_entry_after_it_is_not_blamed() -> None:
    entries = chained(*[event()] * 6)
    assert found(entries[:1] + entries[2:]) == ("entry 2 is missing",)
    assert found(entries[:1] + entries[4:]) == ("entries 2 to 4 are missing",)
    assert found(entries[1:]) == (
        "entries before 2 are missing, and retention did not remove them",
    )
    entries[4] = replace(entries[4], time_us=5)
    assert found(entries[:1] + entries[3:]) == (
        "entries 2 to 3 are missing", "entry 5 is not as it was written"
    )  # fmt: skip
    assert found(entries[3:]) == (
        "entries before 4 are missing, and retention did not remove them",
        "entry 5 is not as it was written",
    )


@pytest.mark.parametrize(
    ("detail", "said"),
    [
        ({"found": 2, "expected": 4, "lost": "entries"},
         "entries 3 to 4 are missing, as was noticed when entry 5 was written"),
        ({"found": 3, "expected": 4, "lost": "entries"}, "entries 3 to 4 are missing"),
        ({"lost": "entries"}, "entries 3 to 4 are missing"),
        ({}, "entries 3 to 4 are missing"),
    ],
)  # fmt: skip
def test_a_gap_that_was_noticed_is_told_as_such(detail: dict[str, Any], said: str) -> None:
    entries = chained(event(), event())
    entries += chained(
        event(EventKind.TAMPERING, **detail), event(), first=5, previous=entries[-1].mac
    )
    assert found(entries)[0] == said
    ordinary = chained(event(**detail), first=5, previous=entries[1].mac)
    assert found(entries[:2] + ordinary) == ("entries 3 to 4 are missing",)


def test_a_head_that_was_missing_is_told() -> None:
    entries = chained(event(), event(EventKind.TAMPERING, found=1, lost="head"))
    assert found(entries) == ("the head kept apart was missing when entry 2 was written",)


def test_a_trail_begun_anew_after_all_was_taken() -> None:
    taken = event(EventKind.TAMPERING, found=0, expected=5, lost="entries")
    assert found(chained(taken, event(), first=6)) == (
        "entries 1 to 5 are missing, as was noticed when entry 6 was written",
    )


def test_the_entry_that_tells_of_a_cut_may_be_the_oldest_left() -> None:
    entries = chained(event(), event())
    told = event(EventKind.TAMPERING, found=2, expected=4, lost="entries")
    entries += chained(told, first=5, previous=entries[1].mac)
    for last, said in (
        (2, "entries 3 to 4 are missing, as was noticed when entry 5 was written"),
        (4, "entries before 5 are missing, and retention did not remove them"),
    ):
        removed = retention(last, entries[1].mac)
        left = [entries[2], *chained(removed, first=6, previous=entries[2].mac)]
        assert found(left)[0] == said


@pytest.mark.parametrize("change", [{"hash": "xy"}, {"hash": 7}, {"last": 2}, {"last": 4}, {}])
def test_only_what_retention_tells_of_may_be_missing_at_the_beginning(
    change: dict[str, Any],
) -> None:
    entries = chained(*[event()] * 5)
    detail = {"last": 3, "hash": entries[2].mac.hex()} | change
    entries += chained(event(EventKind.RETENTION, **detail), first=6, previous=entries[4].mac)
    expected = ("entries before 4 are missing, and retention did not remove them",)
    assert found(entries[3:]) == (expected if change else ())
    assert found(entries[:5][3:]) == expected
