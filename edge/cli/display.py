"""What a terminal shows while the microphone listens: a level meter, progress, and instructions.

Everything goes to standard error: standard output is for the result.
"""

from __future__ import annotations

import collections
import contextlib
import io
import math
import os
import select
import sys
import termios
import time
import tty
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TextIO

from edge.cli.output import console

if TYPE_CHECKING:
    from rich.text import Text

FLOOR_DBFS = -60.0
"""Level at the left end of the meter, dB relative to full scale; the right end is 0."""
_HOT_DBFS = -12.0
_CLIPPING_DBFS = -3.0
_METER_CELLS = 30
_REFRESH_S = 0.08
_FALL_DB_PER_S = 40.0
_FORGET_DB_PER_S = 8.0
_WORDS_CELLS = 40
"""Space beside the meter without the progress: level, marks, and the longest state."""
_MOST_KEPT = 1000
LISTENING = "listening"
HEARING = "hearing you"
WORKING = "thinking"
MEASURING = "measuring the room"


class Keys:
    """Keys pressed in this context, none without a terminal; a key makes `files` readable."""

    def __init__(self) -> None:
        self.files: list[int] = []
        self._before: list[Any] | None = None

    def __enter__(self) -> Keys:
        with contextlib.suppress(OSError, ValueError, AttributeError, termios.error):
            number = sys.stdin.fileno()
            if sys.stdin.isatty() and os.tcgetpgrp(number) == os.getpgrp():
                self._before = termios.tcgetattr(number)
                tty.setcbreak(number)
                changed = termios.tcgetattr(number)
                # Ctrl-Z in mid-picture would leave a terminal that does not echo.
                changed[6][termios.VSUSP] = b"\0"
                termios.tcsetattr(number, termios.TCSADRAIN, changed)
                self.files = [number]
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            with contextlib.suppress(OSError, termios.error):
                termios.tcsetattr(self.files[0], termios.TCSADRAIN, self._before)
        self._before, self.files = None, []

    def pressed(self) -> str:
        """What was typed since the last call."""
        if not self.files or not select.select(self.files, [], [], 0.0)[0]:
            return ""
        typed = os.read(self.files[0], 64)
        if not typed:  # the terminal has gone
            self.__exit__(None, None, None)
        return typed.decode(errors="replace")


class _Later(io.TextIOBase):
    """Keeps the latest texts."""

    def __init__(self) -> None:
        self.texts: collections.deque[str] = collections.deque(maxlen=_MOST_KEPT)

    def write(self, text: str) -> int:
        self.texts.append(text)
        return len(text)


@contextlib.contextmanager
def log_afterwards() -> Iterator[None]:
    """Hold the log back while the whole screen is drawn on, which would hide and tear it."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield
        return
    later = _Later()
    try:
        with contextlib.redirect_stderr(later):
            yield
    finally:
        sys.stderr.write("".join(later.texts))


class Display:
    """A level meter with progress, or plain lines without a terminal; use it with `with`."""

    def __init__(self, stream: TextIO | None = None) -> None:
        from rich.live import Live

        self._console = console(stream or sys.stderr)
        self.moving = self._console.is_terminal and not self._console.is_dumb_terminal
        self._live = (
            Live(console=self._console, transient=True, auto_refresh=False) if self.moving else None
        )
        self._progress = ""
        self._state = ""
        self._shown_dbfs = FLOOR_DBFS
        self._held_dbfs = FLOOR_DBFS
        self._heard_at = -math.inf
        self._target: tuple[float, float] | None = None
        self._drawn_at = -math.inf

    def __enter__(self) -> Display:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def say(self, text: str, style: str = "") -> None:
        """Print a line that stays; `style` is one of rich's."""
        self._console.print(text, style=style, soft_wrap=not self._console.is_terminal)

    def progress(self, done: float, required: float, unit: str) -> None:
        """Set the progress: 2 of 3 `repetitions`, 12.4 of 30 `seconds`, 7 of 30 `digits`."""
        text = f"{done:.0f} of {required:.0f}"
        if unit == "digits":
            text += " digits"
        elif unit != "repetitions":
            text = f"{done:.1f} of {required:g} {unit}"
        if text != self._progress and not self.moving:
            self.say(text)
        self._progress = text
        self._draw(always=True)

    def target(self, low_dbfs: float, high_dbfs: float) -> None:
        """Mark the range, dBFS, in which the loud moments of speech should be."""
        self._target = (low_dbfs, high_dbfs)

    def level(self, dbfs: float, state: str) -> None:
        """Move the meter to a level, dBFS (-inf and NaN are silence), with a word beside it."""
        level = dbfs if math.isfinite(dbfs) else FLOOR_DBFS
        now = time.monotonic()
        # Falls slowly, as a needle does, so that it can be read between two words.
        fallen = self._shown_dbfs - _FALL_DB_PER_S * min(max(now - self._drawn_at, 0.0), 1.0)
        self._shown_dbfs = min(0.0, max(FLOOR_DBFS, level, fallen))
        # Words stay longer: nobody can read one that changes with every syllable.
        held = self._held_dbfs - _FORGET_DB_PER_S * min(max(now - self._heard_at, 0.0), 5.0)
        self._held_dbfs, self._heard_at = max(FLOOR_DBFS, level, held), now
        changed, self._state = state != self._state, state
        self._draw(always=changed)

    def _draw(self, *, always: bool = False) -> None:
        if self._live is None:
            return
        now = time.monotonic()
        if not always and now - self._drawn_at < _REFRESH_S:
            return
        self._drawn_at = now
        self._live.update(self._line(), refresh=True)

    def _line(self) -> Text:
        from rich.text import Text

        bar = meter(
            self._shown_dbfs,
            min(_METER_CELLS, max(8, self._console.width - len(self._progress) - _WORDS_CELLS)),
            self._target,
            ascii_only=self._console.options.ascii_only,
        )
        line = Text("  ", no_wrap=True, overflow="ellipsis")
        if self._progress:
            line.append(f"{self._progress}   ", style="bold")
        line.append_text(bar)
        line.append(f" {self._shown_dbfs:4.0f} dB   ")
        words, style = self._words()
        line.append(words, style=style)
        return line

    def _words(self) -> tuple[str, str]:
        """The words beside the meter, and their style."""
        if self._state != HEARING:
            return self._state, ""
        if self._target is None:
            return HEARING, "bold green"
        low, high = self._target
        if self._held_dbfs < low:
            return f"{HEARING}: too quiet", "bold yellow"
        if self._held_dbfs > high:
            return f"{HEARING}: too loud", "bold red"
        return f"{HEARING}: good", "bold green"


def meter(
    dbfs: float, cells: int, target: tuple[float, float] | None = None, *, ascii_only: bool = False
) -> Text:
    """A level in dBFS as a bar from `FLOOR_DBFS` to 0, with strokes at the `target` range."""
    from rich.text import Text

    full, empty, stroke = ("#", "-", "|") if ascii_only else ("█", "░", "│")
    lit = round((1.0 - max(dbfs, FLOOR_DBFS) / FLOOR_DBFS) * cells)
    marks = [round((1.0 - at / FLOOR_DBFS) * cells) for at in target or ()]
    line = Text()
    for cell in range(cells):
        if cell in marks:
            line.append(stroke, style="bold")
        at_dbfs = FLOOR_DBFS * (1.0 - (cell + 0.5) / cells)
        line.append(full if cell < lit else empty, style=_color(at_dbfs, cell < lit, target))
    return line


def _color(at_dbfs: float, lit: bool, target: tuple[float, float] | None) -> str:
    if not lit:
        return "dim"
    if at_dbfs >= (_CLIPPING_DBFS if target is None else target[1]):
        return "red"
    if at_dbfs >= _HOT_DBFS or (target is not None and at_dbfs < target[0]):
        return "yellow"
    return "green"
