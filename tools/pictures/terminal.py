"""A terminal in which a command runs, with a screen that can be read at any moment.

The command has a real pseudo-terminal, so it draws as for people, live views included. Its output
is interpreted by pyte, a terminal emulator.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from types import TracebackType

import pyte
from rich.style import Style
from rich.text import Text

_COLORS = {"brown": "yellow", "brightbrown": "bright_yellow", "default": None}


class Terminal:
    """A command in a terminal of its own, while used as a context manager.

    Args:
        command: the command to run.
        columns: width of the terminal.
        lines: its height.
        environment: variables of the command; `TERM` and so on are set here.
    """

    def __init__(
        self, command: Sequence[str], columns: int, lines: int, environment: Mapping[str, str]
    ) -> None:
        self._command = list(command)
        self._size = lines, columns
        unwanted = {"NO_COLOR", "COLUMNS", "LINES", "FORCE_COLOR", "CI"}
        self._environment = {k: v for k, v in environment.items() if k not in unwanted}
        self._environment.update(TERM="xterm-256color", COLORTERM="truecolor", LANG="C.UTF-8")
        self._screen = _Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        self._process: subprocess.Popen[bytes] | None = None
        self._master = -1

    def __enter__(self) -> Terminal:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", *self._size, 0, 0))
        self._process = subprocess.Popen(
            self._command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=self._environment,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509
        )
        os.close(slave)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        process = self._process
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGINT)
            self.run_for(1.0)
            process.kill()
            process.wait()
        os.close(self._master)

    @property
    def text(self) -> str:
        """The text on the screen."""
        return "\n".join(line.rstrip() for line in self._screen.display)

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._master, keys.encode())

    def run_for(self, seconds: float) -> bool:
        """Read output for a while; False if the command ended before."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0.0:
            if not select.select([self._master], [], [], left)[0]:
                break
            try:
                data = os.read(self._master, 65536)
            except OSError:  # the other side is closed
                return False
            self._stream.feed(data)
        return True

    def run_until(self, words: str, timeout_s: float = 60.0) -> None:
        """Read output until the screen shows the words.

        Raises:
            TimeoutError: it does not in time, or the command ended without.
        """
        until = time.monotonic() + timeout_s
        while words not in self.text:
            if time.monotonic() > until or not self.run_for(0.1):
                if words in self.text:
                    return
                raise TimeoutError(f"the screen never showed {words!r}; it shows:\n{self.text}")

    def run_to_end(self, timeout_s: float = 60.0) -> None:
        """Read output until the command ends.

        Raises:
            TimeoutError: the command does not end.
        """
        until = time.monotonic() + timeout_s
        while self.run_for(0.2):
            if time.monotonic() > until:
                raise TimeoutError(f"{self._command} does not end; the screen shows:\n{self.text}")

    def snapshot(self) -> list[Text]:
        """The screen, without trailing empty lines."""
        lines = [self._line(number) for number in range(self._size[0])]
        while lines and not lines[-1].plain.strip():
            lines.pop()
        return lines

    def _line(self, number: int) -> Text:
        row = self._screen.buffer[number]
        line = Text(no_wrap=True)
        cells = (row[column] for column in range(self._size[1]))
        for style, run in itertools.groupby(cells, _style):
            line.append("".join(cell.data for cell in run), style=style)
        line.rstrip()
        return line


class _Screen(pyte.Screen):
    """Tracks faint text, which pyte does not, as blinking text, which is never used."""

    def select_graphic_rendition(self, *attrs: int) -> None:
        super().select_graphic_rendition(*_blinking(attrs))


def _blinking(attrs: Sequence[int]) -> list[int]:
    """Rendition codes with 2 (faint) replaced by 5 (blink), except as part of a color."""
    found = list(attrs)
    at = 0
    while at < len(found):
        if found[at] in {38, 48}:
            at += 5 if found[at + 1 : at + 2] == [2] else 3
            continue
        if found[at] == 2:
            found[at] = 5
        at += 1
    return found


def _style(cell: pyte.screens.Char) -> Style:
    return Style(
        color=_color(cell.fg),
        bgcolor=_color(cell.bg),
        bold=cell.bold or None,
        dim=cell.blink or None,
        italic=cell.italics or None,
        underline=cell.underscore or None,
        reverse=cell.reverse or None,
    )


def _color(name: str) -> str | None:
    if name in _COLORS:
        return _COLORS[name]
    if len(name) == 6 and all(each in "0123456789abcdef" for each in name):
        return f"#{name}"
    return name.replace("bright", "bright_")
