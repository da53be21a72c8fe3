"""The monitor's view: given messages, what is seen, at every width."""

from __future__ import annotations

import io
import time
from typing import Any

import pytest
from rich.console import Console

from edge.cli.monitor_view import frame, minutes, sentence, state_words
from edge.monitor.client import Recent
from edge.monitor.messages import state_message
from edge.types.decision import utc

WIDTHS = (40, 60, 80, 120)


def decided(number: int, *, granted: bool, age_s: float = 5.0, **fields: Any) -> dict[str, Any]:
    return {
        "type": "decision",
        "id": str(number),
        "time": utc(time.time() - age_s),
        "decision": "granted" if granted else "denied",
        "reason": "recognized" if granted else "unknown_speaker",
        "confidence": "high",
        "name": "Ada" if granted else None,
        "took_ms": 712.0,
        "joint_margin": 11.0 if granted else -9.0,
        "voice_margin": 12.8 if granted else -3.1,
        "phrase_margin": 7.3,
        **fields,
    }


def watched() -> Recent:
    recent = Recent()
    for message in (
        {
            "type": "hello", "protocol": 1, "device": "front-door", "name": "Front door",
            "since": utc(time.time() - 600), "granted": 4, "denied": 2,
            "levels_dbfs": [-62.0] * 120 + [-20.0] * 3 + [-61.0] * 20,
        },
        state_message("listening", enrolled=2),
        {"type": "level", "level_dbfs": -23.0, "peak_dbfs": -8.0, "hearing": True},
        {"type": "utterance", "id": "1", "time": utc(time.time() - 5), "utterance_s": 2.4,
         "level_dbfs": -23.3, "snr_db": 38.8},
        decided(1, granted=True),
        decided(2, granted=False, age_s=60.0),
    ):  # fmt: skip
        recent.add(message)
    return recent


def drawn(recent: Recent, width: int = 80, height: int = 24, *, ascii_only: bool = False) -> str:
    page = Console(width=width, height=height, file=io.StringIO(), record=True)
    page.print(frame(recent, width, height, ascii_only=ascii_only))
    return page.export_text()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("height", [10, 24, 50])
def test_fits_every_terminal(width: int, height: int) -> None:
    recent = watched()
    for number in range(100):
        recent.add(decided(100 + number, granted=number % 3 == 0, age_s=3.0 * number))
    lines = drawn(recent, width, height).splitlines()
    assert len(lines) <= max(height, 12)
    assert max(len(line.rstrip()) for line in lines) <= width


@pytest.mark.parametrize("width", WIDTHS[1:])
def test_shows_what_was_heard_and_decided(width: int) -> None:
    seen = drawn(watched(), width)
    for words in (
        "front-door", "hearing speech", "2 enrolled", "-23 dB", "granted Ada", "2.4 s", "39",
        "+12.8", "+7.3", "unknown_speaker", "-3.1", "5 granted", "3 denied", "q quits",
    ):  # fmt: skip
        assert words in seen, words
    assert ("high" in seen) == (width >= 80)
    assert ("712 ms" in seen) == (width >= 100)


def test_scores_stand_on_their_side_of_the_threshold() -> None:
    lines = drawn(watched()).splitlines()
    threshold = next(n for n, line in enumerate(lines) if line.lstrip().startswith("0 "))
    above = next(n for n, line in enumerate(lines) if "│" in line and "●" in line)
    below = next(n for n, line in enumerate(lines) if "│" in line and "×" in line)  # noqa: RUF001
    assert above < threshold < below
    # The one of now at the right end, the one of a minute ago a fifth of the width before it.
    assert lines[above].rindex("●") > lines[below].rindex("×") + 10  # noqa: RUF001


def test_needs_nothing_but_ascii() -> None:
    seen = drawn(watched(), ascii_only=True)
    assert seen.isascii()
    assert "o granted" in seen
    assert "x denied" in seen


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (state_message("listening"), "listening"),
        (state_message("off"), "not listening: disarmed"),
        (state_message("asking"), "asking for digits"),
        (state_message("starting"), "starting"),
        (
            state_message("locked_out", until="in 50 minutes"),
            "(50 min left)",
        ),
        (
            state_message("enrolling", person="Grace", done=2, required=3),
            "enrolling Grace, 2 of 3",
        ),
        (state_message("no_microphone", detail="the cable is out"), "the cable is out"),
        (state_message("listening", problem="the store is damaged"), "the store is damaged"),
        ({"type": "gone"}, "service stopped; waiting for its return"),
        ({"type": "hello", "protocol": 99}, "update this program"),
        ({"type": "hello", "further": ["back", "shed"]}, "not shown: back, shed"),
    ],
)
def test_says_what_the_device_is_at(message: dict[str, Any], words: str) -> None:
    if message.get("until") == "in 50 minutes":
        message = {**message, "until": utc(time.time() + 3000.5)}
    recent = watched()
    recent.add({"type": "level", "level_dbfs": -60.0, "hearing": False})
    recent.add(message)
    assert words in drawn(recent)


def test_says_so_while_nothing_was_heard() -> None:
    assert "No utterance yet." in drawn(Recent())


def test_lines_without_a_terminal() -> None:
    recent = watched()
    assert "  granted Ada, high confidence; 2.4 s at -23 dB, SNR 39 dB; voice +12.8, phrase" in (
        sentence(recent.rows[0])
    )
    assert state_words(recent, time.time())[0] == "hearing speech"
    assert [minutes(s) for s in (-1, 99, 600, 7200, 900000)] == [
        "0 s", "99 s", "10 min", "2 h", "10 days",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "message",
    [
        {"type": "decision"},
        {"type": "decision", "id": [], "time": "yesterday", "joint_margin": "much"},
        {"type": "decision", "id": "3", "name": "\x1b[31mred", "joint_margin": float("nan")},
        {"type": "level", "level_dbfs": None},
        {"type": "level", "level_dbfs": 1e300},
        {"type": "hello", "levels_dbfs": [None, "loud", True, float("inf")]},
        {"type": "hello", "granted": {}, "since": 5},
        {"type": "hello", "further": [5, "\x1b[31mred"]},
        {"type": "hello", "further": "back"},
        {"type": "state", "state": 7, "until": [], "enrolled": "all"},
        {"type": "utterance", "id": "1", "utterance_s": False},
        {"type": "__class__"},
    ],
)
def test_nonsense_from_the_socket_does_no_harm(message: dict[str, Any]) -> None:
    recent = watched()
    recent.add(message)
    assert "\x1b" not in drawn(recent)


def test_levels_of_the_last_five_minutes_have_their_column(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    assert [Recent.column(now - age, 100, now) for age in (-5.0, 0.0, 2.9, 3.0, 150.0, 299.9)] == [
        99, 99, 99, 98, 49, 0,
    ]  # fmt: skip
    assert Recent.column(now - 300.0, 100, now) is None
    monkeypatch.setattr("edge.monitor.client.time.time", lambda: now)
    recent = Recent()
    recent.add({"type": "hello", "levels_dbfs": [-40.0, None, -20.0, -30.0]})
    for level in (-25.0, -27.0):  # of the same second
        recent.add({"type": "level", "level_dbfs": level})
    assert recent.loudest(300, now)[-5:] == [None, -40.0, None, -20.0, -25.0]
    assert recent.loudest(150, now)[-3:] == [None, -40.0, -20.0]
    recent.add({"type": "hello", "levels_dbfs": [0.0, -20.0, -30.0]})  # connected again
    assert recent.loudest(150, now)[-3:] == [None, -40.0, -20.0]
    recent = Recent()
    recent.add({"type": "hello", "levels_dbfs": [0.0] + [-50.0] * 300})
    assert recent.loudest(1, now) == [-50.0]


def test_what_comes_is_bounded() -> None:
    recent = Recent()
    for number in range(203):
        recent.add(decided(number, granted=True, age_s=300.0 - number))
    assert len(recent.rows) == 200
    assert recent.granted == 203
    with pytest.raises(KeyError):
        recent.row({"id": "2"})
    recent.add(decided(500, granted=True, name="A" * 201, took_ms=1e9, joint_margin=1.1e9))
    row = recent.row({"id": "500"})
    assert (row.name, row.took_ms, row.joint) == ("A" * 200, 1e9, None)
    recent.add({"type": "level", "level_dbfs": True})
    assert recent.level_dbfs == -100.0
    recent.add({"type": "hello", "protocol": 1})
    assert not recent.newer
    recent.add({"type": "hello", "protocol": 2})
    assert recent.newer


def test_an_utterance_and_its_decision_are_one_row() -> None:
    recent = Recent()
    when = utc(time.time() - 60.0)
    recent.add({"type": "utterance", "id": "1", "time": when, "utterance_s": 2.4})
    assert not recent.row({"id": "1"}).granted
    recent.add({"type": "decision", "id": "1", "time": utc(time.time()), "decision": "granted"})
    (row,) = recent.rows
    assert (row.granted, row.utterance_s) == (True, 2.4)
    assert time.time() - row.at == pytest.approx(60.0, abs=20.0)


def test_what_is_told_twice_counts_once() -> None:
    recent = watched()
    recent.add(decided(1, granted=True))
    recent.add(decided(9, granted=True, past=True))
    assert (recent.granted, recent.denied) == (5, 3)
    assert len(recent.rows) == 3
