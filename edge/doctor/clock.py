"""The clock: decisions end by it, and hours are judged by it."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path

from edge.access.clock import SLACK_S, latest_of
from edge.doctor.context import Context
from edge.doctor.finding import Finding, green, red, skipped, yellow
from edge.errors import StoreError
from edge.store.device_state import FILE_NAME, DeviceState

_SOFTWARE_S = datetime(2026, 1, 1, tzinfo=timezone.utc).timestamp()
_FAR_S = datetime(2100, 1, 1, tzinfo=timezone.utc).timestamp()
_ANSWER_S = 5.0
_SYNCHRONISED = Path("/run/systemd/timesync/synchronized")

PLAUSIBLE = green("clock.plausible", "it shows {shown}")
IMPOSSIBLE = red(
    "clock.impossible",
    "it shows {shown}, which cannot be: a lock takes no decision of such a time",
    "give the machine a time server or a clock with a battery: sudo timedatectl set-ntp true",
)
BEHIND = red(
    "clock.behind",
    "it shows {shown}, but it has been {latest} here: who has hours or dates is not let in",
    "run: sudo timedatectl set-ntp true; if the later time was wrong:"
    " edge-voice access clock --accept",
)
SYNCHRONISED = green("clock_sync.yes", "set by a time server")
ALONE = yellow(
    "clock_sync.no",
    "no time server has set it since the start: it may be wrong by minutes, and then locks take"
    " decisions for too old",
    "run: sudo timedatectl set-ntp true, and let the machine reach a time server",
)
UNKNOWN = skipped("clock_sync.unknown", "nothing here tells whether a time server sets it")


def check(context: Context, now_s: float | None = None) -> Iterator[Finding]:
    """Whether the time can be, and whether anybody sets it right.

    Args:
        context: where the latest time that was seen is kept.
        now_s: the time to judge, Unix time; None for the clock's.
    """
    now_s = time.time() if now_s is None else now_s
    shown = datetime.fromtimestamp(now_s).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
    latest_s = _latest_s(context)
    if not _SOFTWARE_S <= now_s < _FAR_S:
        yield IMPOSSIBLE(shown=shown)
    elif latest_s is not None and now_s < latest_s - SLACK_S:
        latest = datetime.fromtimestamp(latest_s).astimezone().strftime("%Y-%m-%d %H:%M")
        yield BEHIND(shown=shown, latest=latest)
    else:
        yield PLAUSIBLE(shown=shown)
    synchronized = _is_synchronized()
    if synchronized is None:
        yield UNKNOWN()
    else:
        yield SYNCHRONISED() if synchronized else ALONE()


def _latest_s(context: Context) -> float | None:
    folder = context.config.state_path
    try:
        if not (folder / FILE_NAME).is_file():  # opening it would make it
            return None
        with closing(DeviceState(folder, busy_s=1.0)) as state:
            return latest_of(state)
    except (StoreError, OSError):
        return None  # the state has a row of its own


def _is_synchronized() -> bool | None:
    """As systemd says; None where it does not say."""
    if shutil.which("timedatectl") is not None:
        try:
            done = subprocess.run(
                ["timedatectl", "show", "--property=NTPSynchronized", "--value"],  # noqa: S607
                capture_output=True,
                text=True,
                timeout=_ANSWER_S,
                check=False,
                stdin=subprocess.DEVNULL,
            )
            if done.stdout.strip() in ("yes", "no"):
                return done.stdout.strip() == "yes"
        except (OSError, subprocess.TimeoutExpired):
            pass
    return True if _SYNCHRONISED.exists() else None
