"""The systemd service: started after setup, and paused while a command uses its microphone."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

from edge.audio.sharing import asked_for
from edge.errors import EnvironmentFault

UNIT = "edge-voice.service"
_LIMIT_S = 120
_PAUSED = "The service is paused: nobody can open until this ends."
_NOT_STOPPED = "The service did not stop and may hold the microphone."
_AGAIN = "The service is listening again."


def can_start() -> bool:
    """Whether systemd runs here, knows the service, and obeys this user."""
    if os.geteuid() != 0 or not Path("/run/systemd/system").is_dir():
        return False
    return _systemctl("cat", UNIT).returncode == 0


def start() -> None:
    """Start the service, now and at every boot. Raises `EnvironmentFault`."""
    for action in ("enable", "restart"):
        done = _systemctl(action, UNIT)
        if done.returncode:
            raise EnvironmentFault(
                "everything is set up, but the service did not start; see journalctl -u edge-voice"
            )


def restart_if_running() -> None:
    """Restart the service, if it runs and this user may."""
    if os.geteuid() == 0:
        systemctl("try-restart", UNIT)


@contextlib.contextmanager
def paused(tell: Callable[[str], None], state: Path) -> Iterator[None]:
    """Have no service use the microphone in this block: it has one reader.

    One that systemd runs is stopped, where this user may; another one with this state directory
    leaves the microphone alone. It goes on however the block ends, even by a lost connection.
    """
    turn: contextlib.AbstractContextManager[None]
    if not systemctl("is-active", UNIT):
        turn = _waiting(tell, state)
    elif os.geteuid() == 0:
        turn = _stopped(tell)
    else:
        tell("The service is running and may hold the microphone; use sudo to pause it.")
        turn = contextlib.nullcontext()
    with turn:
        yield


@contextlib.contextmanager
def _waiting(tell: Callable[[str], None], state: Path) -> Iterator[None]:
    """A service that was started by hand, or for a user, waits in this block."""
    with asked_for(state) as listened:
        if listened is None:
            tell(_NOT_STOPPED)
        if not listened:
            yield
            return
        # Ctrl-Z would leave the door shut until someone remembers.
        former = signal.signal(signal.SIGTSTP, signal.SIG_IGN)
        tell(_PAUSED)
        try:
            yield
        finally:
            signal.signal(signal.SIGTSTP, former)
    tell(_AGAIN)


@contextlib.contextmanager
def _stopped(tell: Callable[[str], None]) -> Iterator[None]:
    """The service that systemd runs is stopped in this block, and started again."""
    ends = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
    former = {number: signal.signal(number, _exit) for number in ends}
    # Ctrl-Z would leave the door shut until someone remembers.
    former[signal.SIGTSTP] = signal.signal(signal.SIGTSTP, signal.SIG_IGN)
    # Assumed until systemctl has failed: interrupting it does not cancel its request to systemd.
    stopped = True
    keeper = _keeper()
    try:
        stopped = _systemctl("stop", UNIT).returncode == 0
        tell(_PAUSED if stopped else _NOT_STOPPED)
        yield
    finally:
        # A second Ctrl-C must not leave the door without its service.
        former[signal.SIGINT] = signal.signal(signal.SIGINT, signal.SIG_IGN)
        for number in ends:
            signal.signal(number, signal.SIG_IGN)
        started = not stopped or _systemctl("start", UNIT).returncode == 0
        keeper.communicate(b"done\n")
        for number, handler in former.items():
            signal.signal(number, handler)
        if not started:
            tell("The service did not start again: run sudo systemctl start edge-voice.")
        elif stopped:
            tell(_AGAIN)


def _keeper() -> subprocess.Popen[bytes]:
    """A process that starts the service if its input ends without a line: this one was killed."""
    return subprocess.Popen(  # noqa: S603 (every word is written here)
        ["/bin/sh", "-c", f"read -r _ || exec systemctl --quiet start {UNIT}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # signals from the terminal are not for it
    )


def _exit(number: int, _: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def systemctl(*arguments: str) -> bool:
    """Whether systemd is there and does what it is told."""
    return shutil.which("systemctl") is not None and _systemctl(*arguments).returncode == 0


def _systemctl(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 (every argument is written above)
        ["systemctl", "--quiet", *arguments],  # noqa: S607 (found where systemd put it)
        capture_output=True,
        text=True,
        check=False,
        timeout=_LIMIT_S,
    )
