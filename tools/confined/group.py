"""A control group for a process and its children, removed afterwards."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def control_group() -> Iterator[Path]:
    """A new group below this process's, in the unified hierarchy; removed at the end.

    Raises:
        OSError: there is no such hierarchy, or it is not writable.
    """
    group = _own() / f"edge-voice-{os.getpid()}"
    group.mkdir()
    try:
        yield group
    finally:
        for folder in sorted(group.rglob("*/"), key=lambda path: -len(path.parts)):
            with contextlib.suppress(OSError):
                folder.rmdir()
        with contextlib.suppress(OSError):
            group.rmdir()


def _own() -> Path:
    path = next(
        line.split(":", 2)[2]
        for line in Path("/proc/self/cgroup").read_text().splitlines()
        if line.startswith("0::")
    )
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        if after.split()[0] == "cgroup2":
            top, place = before.split()[3:5]
            return Path(place) / os.path.relpath(path, top)
    raise FileNotFoundError("there is no unified hierarchy of control groups")
