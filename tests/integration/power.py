"""Power cuts: a child that writes is killed, at a moment that does not depend on its pace."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from tests.integration.waiting import settled


def lines_of(child: subprocess.Popen[bytes], count: int) -> bytes:
    """The next lines that it says."""
    assert child.stdout is not None
    return b"".join(child.stdout.readline() for _ in range(count))


def cut(child: subprocess.Popen[bytes], journal: Path) -> None:
    """Kill it in the midst of a transaction."""

    def caught() -> bool:
        if not journal.exists():
            return False
        os.kill(child.pid, signal.SIGSTOP)
        os.waitpid(child.pid, os.WUNTRACED)
        # It may have been over before it stood still.
        there = journal.exists()
        os.kill(child.pid, signal.SIGKILL if there else signal.SIGCONT)
        return there

    assert settled(caught)
