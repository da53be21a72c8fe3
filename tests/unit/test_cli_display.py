"""The level meter and progress, on a terminal and without one."""

from __future__ import annotations

import io
import logging
import math
import re
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from edge.cli import prompts
from edge.cli.display import HEARING, LISTENING, Display, log_afterwards
from edge.cli.main import _log_to_stderr
from edge.cli.output import show


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Terminal]]:
    """Makes standard error a terminal of 80 columns; the log goes there."""
    root = logging.getLogger()
    before = root.handlers[:], root.level

    def made() -> Terminal:
        # Not before the test runs: pytest has a standard error of its own for each phase.
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "80")
        stream = Terminal()
        monkeypatch.setattr(sys, "stderr", stream)
        _log_to_stderr(0)
        return stream

    yield made
    root.handlers[:] = before[0]
    root.setLevel(before[1])


def lines_of(shown: str) -> list[str]:
    """What stays on the lines of a terminal: what comes after the last time each was erased."""
    return [re.split(r"\x1b\[2K|\r", line)[-1].rstrip() for line in shown.split("\n")]


def test_a_log_line_is_whole_above_the_meter(terminal: Callable[[], Terminal]) -> None:
    stderr = terminal()
    with Display() as display:
        display.level(-20.0, LISTENING)
        logging.getLogger("edge.audio").warning("30 samples were lost: the machine is busy")
        display.level(-20.0, HEARING)
        *_, logged, meter = lines_of(stderr.getvalue())
    assert logged[9:] == "edge-voice: WARNING: 30 samples were lost: the machine is busy"
    assert HEARING in meter


def test_a_log_line_has_the_time_at_a_terminal_alone(
    terminal: Callable[[], Terminal], monkeypatch: pytest.MonkeyPatch
) -> None:
    stderr = terminal()
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    record = logging.LogRecord("edge", logging.WARNING, "", 0, "no broker", (), None)
    record.created = 1_700_000_000.0
    logging.getLogger().handle(record)
    file = io.StringIO()
    monkeypatch.setattr(sys, "stderr", file)
    _log_to_stderr(0)
    logging.getLogger().handle(record)
    assert stderr.getvalue() == "07:13:20 edge-voice: WARNING: no broker\n"
    assert file.getvalue() == "edge-voice: WARNING: no broker\n"
    monkeypatch.undo()
    time.tzset()


def test_the_log_waits_while_the_whole_screen_is_drawn_on(terminal: Callable[[], Terminal]) -> None:
    stderr = terminal()
    log = logging.getLogger("edge.service")
    with log_afterwards():
        for number in range(1001):
            log.warning("one of %d", number)
        assert stderr.getvalue() == ""
    logged = stderr.getvalue().splitlines()
    assert [line[9:] for line in (logged[0], logged[-1])] == [
        "edge-voice: WARNING: one of 1",
        "edge-voice: WARNING: one of 1000",
    ]
    log.warning("now")
    assert stderr.getvalue().endswith("edge-voice: WARNING: now\n")


SAID = "an ordinary sentence of many short words, and /a/path/that/is/whole for each of them,"


@pytest.mark.parametrize("columns", ["60", "80"])
@pytest.mark.parametrize(
    "printing",
    [
        lambda: prompts.say(SAID + SAID),
        lambda: prompts.say(f"  {SAID}"),
        lambda: prompts.ask(SAID, "the usual", str),
        lambda: prompts.ask_whether(SAID, default=True),
        lambda: prompts.confirmed(SAID, yes=False),
        lambda: show(SAID),
        lambda: show(f"  {SAID}"),
        lambda: Display().say(SAID),
    ],
)
def test_a_terminal_breaks_no_word(
    monkeypatch: pytest.MonkeyPatch,
    terminal: Callable[[], Terminal],
    columns: str,
    printing: Callable[[], object],
) -> None:
    stderr = terminal()
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setattr(sys, "stdout", stderr)
    keys = Terminal("y\n")
    monkeypatch.setattr(sys, "stdin", keys)
    printing()
    shown = stderr.getvalue()
    assert all(len(line.rstrip()) <= int(columns) for line in shown.splitlines())
    assert set(SAID.split()) <= set(shown.split())
    assert len(shown.rstrip().splitlines()) > 1


def test_what_is_not_at_a_terminal_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    file = io.StringIO()
    monkeypatch.setattr(sys, "stderr", file)
    prompts.say(SAID)
    assert file.getvalue() == f"{SAID}\n"


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
