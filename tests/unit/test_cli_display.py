"""The level meter and progress, on a terminal and without one."""

from __future__ import annotations

import io
import math
import re

import pytest

from edge.cli.display import HEARING, LISTENING, Display


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_without_a_terminal_only_lines_are_printed() -> None:
    stream = io.StringIO()
    with Display(stream) as display:
        display.say("Ada, say your passphrase [3] times.")
        display.progress(0, 3, "repetitions")
        for _ in range(50):
            display.level(-30.0, LISTENING)
        display.progress(1, 3, "repetitions")
        display.progress(1, 3, "repetitions")
        display.progress(12.44, 30, "seconds")
    assert stream.getvalue().splitlines() == [
        "Ada, say your passphrase [3] times.",
        "0 of 3",
        "1 of 3",
        "12.4 of 30 seconds",
    ]


@pytest.mark.parametrize(
    ("dbfs", "lit"),
    [(-math.inf, 0), (math.nan, 0), (-60.0, 0), (-30.0, 15), (0.0, 30), (12.0, 30)],
)
def test_meter_shows_the_level(monkeypatch: pytest.MonkeyPatch, dbfs: float, lit: int) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    stream = Terminal()
    with Display(stream) as display:
        display.level(dbfs, HEARING)
        line = display._line().plain
    assert line.count("█") + line.count("#") == lit
    assert line.count("█") + line.count("#") + line.count("░") + line.count("-") >= 30
    assert HEARING in line
    assert len(line) <= 80
    assert HEARING in stream.getvalue()


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize(
    ("dbfs", "words"),
    [(-47.0, "hearing you: too quiet"), (-24.0, "hearing you: good"), (-4.0, "hearing you: too l")],
)
def test_meter_marks_where_speech_should_be(
    monkeypatch: pytest.MonkeyPatch, columns: int, dbfs: float, words: str
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(columns))
    with Display(Terminal()) as display:
        display.target(-39.0, -12.0)
        display.progress(12.4, 30, "seconds")
        display.level(dbfs, HEARING)
        line = display._line().plain
        display.level(dbfs, LISTENING)
        assert LISTENING in display._line().plain
    assert words in line
    assert len(line) <= columns
    assert len(re.split("[│|]", line)) == 3


def test_line_fits_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "40")
    stream = Terminal()
    with Display(stream) as display:
        display.progress(2, 3, "repetitions")
        display.level(-20.0, LISTENING)
        assert "2 of 3" in display._line().plain
    shown = stream.getvalue()
    assert "\n\n" not in shown


def test_moving_line_is_gone_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    with Display(stream) as display:
        display.level(-20.0, LISTENING)
    assert stream.getvalue().endswith("\x1b[2K")
