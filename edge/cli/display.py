"""What is seen while the microphone listens: a level meter, progress, and what to do next.

On a terminal one line at the bottom moves, and what is said stays above it. Where there is no
terminal, only the lines are printed, and progress only where it changes. All of it goes to
standard error: standard output is for the result.
"""

from __future__ import annotations

import math
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Optional, TextIO

from edge.cli.output import console

if TYPE_CHECKING:
    from rich.text import Text

FLOOR_DBFS = -60.0
"""Level at the meter's left end, dB relative to full scale; its right end is full scale."""

_HOT_DBFS = -12.0
_CLIPPING_DBFS = -3.0
_METER_CELLS = 30
_REFRESH_S = 0.08
_FALL_DB_PER_S = 40.0


class Display:
    """A level meter with progress beside it, or plain lines where nobody watches.

    Use it as a context manager; the moving line is gone afterwards, the others stay.

    Args:
        stream: where to draw; standard error by default.
    """

    def __init__(self, stream: Optional[TextIO] = None) -> None:
        from rich.live import Live

        self._console = console(stream or sys.stderr)
        self.moving = self._console.is_terminal and not self._console.is_dumb_terminal
        self._live = (
            Live(console=self._console, transient=True, auto_refresh=False) if self.moving else None
        )
        self._progress = ""
        self._state = ""
        self._shown_dbfs = FLOOR_DBFS
        self._drawn_at = -math.inf

    def __enter__(self) -> Display:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        if self._live:
            self._live.stop()

    def say(self, text: str, style: str = "") -> None:
        """Print a line that stays; `style` is one of rich's and never carries the meaning."""
        self._console.print(text, style=style, soft_wrap=not self.moving)

    def progress(self, done: float, required: float, unit: str) -> None:
        """Set how far it is: 2 of 3 `repetitions`, 12.4 of 30 `seconds`, 7 of 30 `digits`.

        Args:
            done: how far, in `unit`.
            required: how far it has to go.
            unit: "repetitions" and "digits" are counted in whole numbers, anything else with one
                decimal; "repetitions" goes without saying.
        """
        text = f"{done:.0f} of {required:.0f}"
        if unit == "digits":
            text += " digits"
        elif unit != "repetitions":
            text = f"{done:.1f} of {required:g} {unit}"
        if text != self._progress and not self.moving:
            self.say(text)
        self._progress = text
        self._draw(always=True)

    def level(self, dbfs: float, state: str) -> None:
        """Move the meter.

        Args:
            dbfs: level now, dB relative to full scale; -inf and NaN count as silence.
            state: a word beside it, such as "listening" or "hearing you".
        """
        level = dbfs if math.isfinite(dbfs) else FLOOR_DBFS
        now = time.monotonic()
        # Falls slowly, as a needle does: speech between two words is still a level to read.
        fallen = self._shown_dbfs - _FALL_DB_PER_S * min(max(now - self._drawn_at, 0.0), 1.0)
        self._shown_dbfs = min(0.0, max(FLOOR_DBFS, level, fallen))
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

        ascii_only = self._console.options.ascii_only
        full, empty = ("#", "-") if ascii_only else ("█", "░")
        cells = min(_METER_CELLS, max(8, self._console.width - 48))
        lit = round((1.0 - self._shown_dbfs / FLOOR_DBFS) * cells)
        line = Text("  ", no_wrap=True, overflow="ellipsis")
        if self._progress:
            line.append(f"{self._progress}   ", style="bold")
        for cell in range(cells):
            at_dbfs = FLOOR_DBFS * (1.0 - (cell + 0.5) / cells)
            line.append(full if cell < lit else empty, style=_colour(at_dbfs, cell < lit))
        line.append(f" {self._shown_dbfs:4.0f} dB   ")
        line.append(self._state, style="bold green" if self._state == HEARING else "dim")
        return line


LISTENING = "listening"
HEARING = "hearing you"
WORKING = "thinking"


def _colour(at_dbfs: float, lit: bool) -> str:
    if not lit:
        return "dim"
    if at_dbfs >= _CLIPPING_DBFS:
        return "red"
    return "yellow" if at_dbfs >= _HOT_DBFS else "green"
