"""Single keys, without Enter, where somebody sits at a keyboard."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import termios
import tty
from types import TracebackType
from typing import Any


class Keys:
    """Keys pressed while used as a context manager; none where standard input is no terminal.

    Attributes:
        files: file descriptors that are ready to read when a key was pressed.
    """

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
                # Stopped in mid-picture, it would leave a terminal that shows nothing typed.
                changed[6][termios.VSUSP] = b"\0"
                termios.tcsetattr(number, termios.TCSADRAIN, changed)
                self.files = [number]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._before is not None:
            with contextlib.suppress(OSError, termios.error):
                termios.tcsetattr(self.files[0], termios.TCSADRAIN, self._before)
        self._before, self.files = None, []

    def pressed(self) -> str:
        """What was typed since it was last asked."""
        if not self.files or not select.select(self.files, [], [], 0.0)[0]:
            return ""
        typed = os.read(self.files[0], 64)
        if not typed:  # the terminal has gone
            self.__exit__(None, None, None)
        return typed.decode(errors="replace")
