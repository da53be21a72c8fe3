"""The service, as far as the command line goes: started again, and paused for its microphone."""

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

from edge.errors import EnvironmentFault

UNIT = "edge-voice.service"
_LIMIT_S = 120


def can_start() -> bool:
    """Whether systemd runs this machine, knows the service, and does what this user says."""
    if os.geteuid() != 0 or not Path("/run/systemd/system").is_dir():
        return False
    return _systemctl("cat", UNIT).returncode == 0


def start() -> None:
    """Start the service, now and at every start of the machine.

    Raises:
        EnvironmentFault: it does not start.
    """
    for action in ("enable", "restart"):
        done = _systemctl(action, UNIT)
        if done.returncode:
            raise EnvironmentFault(
                "everything is set up, but the service did not start; journalctl -u edge-voice"
                " says why"
            )


@contextlib.contextmanager
def paused(tell: Callable[[str], None]) -> Iterator[None]:
    """Keep the running service from its microphone, which has one reader at a time.

    Whatever ends what is done meanwhile, a hung-up line too, the service is started again. Where it
    does not run, or nobody here may stop it, nothing happens.

    Args:
        tell: told what becomes of the service, each time a sentence.
    """
    if shutil.which("systemctl") is None or _systemctl("is-active", UNIT).returncode:
        yield
        return
    if os.geteuid() != 0:
        tell("The service listens here too, and may hold the microphone; with sudo it is paused.")
        yield
        return
    ends = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
    former = {number: signal.signal(number, _exit) for number in ends}
    # Ctrl-Z would leave the door shut until somebody thinks of it.
    former[signal.SIGTSTP] = signal.signal(signal.SIGTSTP, signal.SIG_IGN)
    # Until it is known that it did not stop: whoever interrupts the asking does not take back what
    # systemd was asked for.
    stopped = True
    keeper = _keeper()
    try:
        stopped = _systemctl("stop", UNIT).returncode == 0
        tell(
            "The service is paused: nobody can open until this is over."
            if stopped
            else "The service does not stop, and may hold the microphone."
        )
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
            tell("The service listens again.")


def _keeper() -> subprocess.Popen[bytes]:
    """A process that starts the service should this one be killed, which nothing here can catch.

    It reads a line from this process, and gets the end of the file where that came to its own.
    """
    return subprocess.Popen(  # noqa: S603 (every word is written here)
        ["/bin/sh", "-c", f"read -r _ || exec systemctl --quiet start {UNIT}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # what is typed at the terminal is not for it
    )


def _exit(number: int, _: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def _systemctl(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 (every argument is written above)
        ["systemctl", "--quiet", *arguments],  # noqa: S607 (found where systemd put it)
        capture_output=True,
        text=True,
        check=False,
        timeout=_LIMIT_S,
    )
