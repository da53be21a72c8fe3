"""Exported audit trails, evaluation reports and model cards made to harm."""

from __future__ import annotations

import contextlib
import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from edge.cli.audit import read_export
from edge.cli.main import main
from edge.config.settings import FALSE_ACCEPT_PRESETS
from edge.errors import InputError, ModelError
from edge.evaluation.report import read_suggestion
from edge.evaluation.results import FORMAT, VERSION
from edge.inference import read_card
from edge.recognition.scoring import phrase_calibration, voice_calibration
from edge.resources import models_directory
from edge.store.audit_chain import START, sealed_entry
from edge.store.audit_chain import check as check_trail
from edge.types import Event, EventKind
from tests.unit.fuzzing import EXAMPLES, JSON, damaged, hammer, in_time

KEY = bytes(range(32))
_DETAILS = [
    {"outcome": "granted", "counter": 7},
    {"lost": "entries", "found": 2},
    {"lost": "head", "found": 0},
    {"count": 2, "last": 2, "hash": "00" * 32},
    {},
]
_KINDS = [EventKind.DECISION, EventKind.TAMPERING, EventKind.RETENTION, EventKind.COMMAND]


def exported() -> list[dict[str, Any]]:
    """Lines as `audit export` writes them, of a trail that verifies."""
    previous, rows = START, []
    for seq in range(1, 7):
        event = Event(EventKind.DECISION, {"outcome": "denied"}, "somebody", time=1e9 + seq)
        entry = sealed_entry(KEY, previous, seq, event)
        previous = entry.mac
        rows.append(entry.as_dict())
    head = f"{rows[-1]['seq']}:{rows[-1]['mac']}"
    return [{"edge_voice_audit": 1, "entries": len(rows), "head": head, "how": ""}, *rows]


def text_of(rows: list[Any]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


DETAIL = st.one_of(
    st.sampled_from(_DETAILS).map(json.dumps),
    st.dictionaries(st.sampled_from(["lost", "found", "count", "last", "hash"]),
                    st.one_of(JSON, st.just("entries"), st.integers())).map(json.dumps),
    st.text(max_size=20),
)  # fmt: skip
MEMBERS = ["seq", "time", "kind", "profile", "detail", "mac", "head"]
CHANGE = st.one_of(
    st.tuples(st.just("detail"), DETAIL),
    st.tuples(st.just("kind"), st.sampled_from([kind.value for kind in _KINDS])),
    st.tuples(st.just("seq"), st.one_of(st.integers(-2, 9), st.integers(), st.just(10**4299),
                                       st.just(9.5), st.just("3"), st.just(math.inf))),
    st.tuples(st.sampled_from(MEMBERS), JSON),
)  # fmt: skip


@st.composite
def edited(draw: st.DrawFn) -> bytes:
    rows = exported()
    for _ in range(draw(st.integers(1, 4))):
        row = draw(st.integers(0, len(rows) - 1))
        what = draw(st.sampled_from(["change", "change", "change", "remove", "twice"]))
        if what == "change":
            # A forger edits several things of an entry at once.
            for name, value in draw(st.lists(CHANGE, min_size=1, max_size=3)):
                rows[row][name] = value
        elif what == "remove" and len(rows) > 1:
            del rows[row]
        else:
            rows.insert(row, dict(rows[row]))
    return text_of(rows)


def _judged(file: Path) -> bool:
    """Whether an exported file verifies; False also where it is refused."""
    try:
        entries, head = read_export(file)
    except InputError as error:
        assert str(error).startswith(str(file))
        assert "\n" not in str(error)
        return False
    verdict = check_trail(entries, KEY, anchor=head, anchored=False)
    assert all(len(finding) < 400 for finding in verdict.findings)
    assert str(verdict.removed)
    return verdict.intact


@pytest.mark.parametrize("examples", EXAMPLES)
def test_no_edit_of_an_exported_trail_harms_or_goes_unnoticed(
    examples: int, tmp_path: Path
) -> None:
    file = tmp_path / "trail.jsonl"
    whole = text_of(exported())
    file.write_bytes(whole)
    assert _judged(file)
    genuine = [_bare(line) for line in whole.splitlines()[1:]]

    def check(data: bytes) -> None:
        file.write_bytes(data)
        if _judged(file):  # then nothing was changed; only its end may be missing
            found = [_bare(line) for line in data.splitlines()[1:]]
            assert found == genuine[: len(found)]

    hammer(examples, check, data=st.one_of(edited(), damaged([whole], head=400)))


def _bare(line: bytes) -> Any:
    content = json.loads(line)
    return {name: content.get(name) for name in MEMBERS[:-1]}


@pytest.mark.usefixtures("config", "store_path")
def test_what_is_no_file_is_not_read_for_ever(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    wide = tmp_path / "wide"
    with wide.open("wb") as file:
        file.truncate(8 << 30)  # a gap, one line of 8 GiB
    for path in (pipe, wide, Path("/dev/zero"), tmp_path):
        with in_time():
            assert main(["audit", "verify", "--file", str(path)]) == 2
        assert capsys.readouterr().err.startswith(f"edge-voice: error: {path}")


def _report(**changes: Any) -> dict[str, Any]:
    suggestion = {"preset": "balanced", "reason": "few are refused", "warnings": ["so few"]}
    return {"format": FORMAT, "version": VERSION, "speaker_model": "1" * 64,
            "phrase_model": "2" * 64, "suggestion": {**suggestion, **changes}}  # fmt: skip


@pytest.mark.parametrize("examples", EXAMPLES)
def test_any_report_suggests_something_sane_or_is_refused(examples: int, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    whole = json.dumps(_report()).encode()

    def check(data: bytes) -> None:
        file.write_bytes(data)
        try:
            suggestion = read_suggestion(file, "1" * 64, "2" * 64)
        except InputError as error:
            assert str(error).startswith(str(file))
            return
        assert suggestion.preset in FALSE_ACCEPT_PRESETS
        # They are shown on a terminal, and must not write to it what they like.
        assert all(text.isprintable() for text in (suggestion.reason, *suggestion.warnings))

    some = st.dictionaries(st.sampled_from(["preset", "reason", "warnings"]), JSON)
    changed = some.map(lambda changes: json.dumps(_report(**changes)).encode())
    spoken = st.text(max_size=40).map(lambda text: json.dumps(_report(reason=text)).encode())
    anything = JSON.map(lambda value: json.dumps(value).encode())
    hammer(examples, check, data=st.one_of(damaged([whole], head=400), changed, spoken, anything))


@pytest.mark.parametrize(
    "data", [b"[" * 900_000, b'{"a":' * 150_000, b"9" * 900_000, b" " * (2 << 20), b"\xff\xfe{}"]
)
def test_a_bomb_of_a_report_is_refused(data: bytes, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    file.write_bytes(data)
    with in_time(), pytest.raises(InputError, match=r"report\.json"):
        read_suggestion(file, "1" * 64, "2" * 64)


CARDS = {
    name: json.loads((models_directory() / f"{name}.json").read_text(encoding="utf-8"))
    for name in ("speaker_embedding", "phrase_embedding")
}
FIGURE = st.one_of(JSON, st.floats(), st.integers(), st.just(10**400), st.just(math.nan))


@st.composite
def exchanged(draw: st.DrawFn) -> bytes:
    """A card with one to three parts exchanged or left out, however deep."""
    card = json.loads(json.dumps(draw(st.sampled_from(list(CARDS.values())))))
    for _ in range(draw(st.integers(1, 3))):
        inner: Any = card
        while True:
            keys = list(inner) if isinstance(inner, dict) else list(range(len(inner)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(inner[key], (dict, list)) and draw(st.booleans()):
                inner = inner[key]
                continue
            if draw(st.booleans()):
                inner[key] = draw(FIGURE)
            else:
                del inner[key]
            break
    return json.dumps(card).encode()


@pytest.mark.parametrize("examples", EXAMPLES)
def test_any_card_is_taken_or_refused(examples: int, tmp_path: Path) -> None:
    file = tmp_path / "card.json"
    whole = [json.dumps(card).encode() for card in CARDS.values()]

    def check(data: bytes) -> None:
        file.write_bytes(data)
        try:
            card = read_card(file)
        except ModelError:
            return
        with contextlib.suppress(ModelError):
            assert math.isfinite(card.threshold("enrollment"))
        for calibration in (voice_calibration, phrase_calibration):
            with contextlib.suppress(ModelError):
                curve = calibration(card).curve
                assert all(math.isfinite(curve.threshold(rate)) for rate in (1e-6, 0.5))

    hammer(examples, check, data=st.one_of(exchanged(), damaged(whole, head=2000)))


@pytest.mark.parametrize("data", [b"[" * 200_000, b"9" * 100_000, b"", b"\x00", b"{}"])
def test_a_bomb_of_a_card_is_refused(data: bytes, tmp_path: Path) -> None:
    file = tmp_path / "card.json"
    file.write_bytes(data)
    with in_time(), pytest.raises(ModelError, match=r"card\.json"):
        read_card(file)
