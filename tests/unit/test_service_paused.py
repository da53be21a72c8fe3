"""The service makes room at the microphone, and is there again whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge.installation.service import paused
from tests.conftest import REPOSITORY

PAUSED = "The service is paused: nobody can open until this ends."
AGAIN = "The service is listening again."
BROKEN = "The service did not start again: run sudo systemctl start edge-voice."
HELD = "The service is running and may hold the microphone; use sudo to pause it."
STUCK = "The service did not stop and may hold the microphone."


class Systemd:
    """A `systemctl` that knows one unit, and writes down what it was told."""

    def __init__(self, folder: Path) -> None:
        self._calls = folder / "calls"
        self.folder = folder
        self.fails = ""

    def install(self, *, active: bool = True, fails: str = "", slow: str = "") -> None:
        program = self.folder / "systemctl"
        program.write_text(
            "#!/bin/sh\n"
            f'echo "$2" >>{self._calls}\n'
            f'[ "$2" != is-active ] || exit {0 if active else 3}\n'
            f"[ \"$2\" != '{slow}' ] || exec sleep 20\n"
            f"[ \"$2\" != '{fails}' ]\n"
        )
        program.chmod(0o755)

    def asked(self, for_what: str) -> bool:
        """Whether it was told that by now."""
        return self._calls.exists() and for_what in self._calls.read_text().split()

    @property
    def told(self) -> list[str]:
        calls = self._calls.read_text().split()
        assert calls[0] == "is-active"
        return calls[1:]


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Systemd:
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    return Systemd(tmp_path)


def test_it_is_stopped_and_started(systemd: Systemd) -> None:
    systemd.install()
    said: list[str] = []
    with paused(said.append, systemd.folder):
        assert systemd.told == ["stop"]
        assert said == [PAUSED]
    assert systemd.told == ["stop", "start"]
    assert said == [PAUSED, AGAIN]


def test_one_that_does_not_run_is_left_alone(systemd: Systemd) -> None:
    systemd.install(active=False)
    with paused(lambda _: pytest.fail("nothing to say"), systemd.folder):
        pass
    assert systemd.told == []


def test_without_systemd_nothing_happens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with paused(lambda _: pytest.fail("nothing to say"), tmp_path):
        pass


def test_who_may_not_stop_it_is_told(systemd: Systemd, monkeypatch: pytest.MonkeyPatch) -> None:
    systemd.install()
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    said: list[str] = []
    with paused(said.append, systemd.folder):
        pass
    assert (systemd.told, said) == ([], [HELD])


def test_one_that_does_not_stop_is_not_started(systemd: Systemd) -> None:
    systemd.install(fails="stop")
    said: list[str] = []
    with paused(said.append, systemd.folder):
        pass
    assert (systemd.told, said) == (["stop"], [STUCK])


def test_one_that_does_not_start_again_is_told_of(systemd: Systemd) -> None:
    systemd.install(fails="start")
    said: list[str] = []
    with paused(said.append, systemd.folder):
        pass
    assert said == [PAUSED, BROKEN]


def test_an_interruption_starts_it_again(systemd: Systemd) -> None:
    systemd.install()
    before = signal.getsignal(signal.SIGTERM)
    said: list[str] = []
    with pytest.raises(KeyboardInterrupt), paused(said.append, systemd.folder):
        raise KeyboardInterrupt
    assert systemd.told == ["stop", "start"]
    assert signal.getsignal(signal.SIGTERM) is before


def pausing(state: Path) -> subprocess.Popen[str]:
    script = (
        "import os, sys, time\n"
        "os.geteuid = lambda: 0\n"
        "from edge.installation.service import paused\n"
        "from pathlib import Path\n"
        "with paused(lambda text: print(text, flush=True), Path(sys.argv[1])):\n"
        "    time.sleep(60)\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", script, str(state)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_line_that_hangs_up_starts_it_again(systemd: Systemd, number: signal.Signals) -> None:
    systemd.install()
    child = pausing(systemd.folder)
    assert child.stdout is not None
    with child:
        assert child.stdout.readline().strip() == PAUSED
        child.send_signal(number)
        assert child.stdout.readline().strip() == AGAIN
        assert child.wait(30) == 128 + number
    assert systemd.told == ["stop", "start"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGQUIT])
def test_an_interruption_while_it_stops_starts_it_again(
    systemd: Systemd, number: signal.Signals
) -> None:
    """What systemd was asked for goes on, though nobody waits for it any more."""
    systemd.install(slow="stop")
    child = pausing(systemd.folder)
    with child:
        deadline = time.monotonic() + 30.0
        while not systemd.asked("stop") and time.monotonic() < deadline:
            time.sleep(0.02)
        child.send_signal(number)
        child.communicate(timeout=30)
    assert systemd.told == ["stop", "start"]


def test_one_that_is_killed_leaves_somebody_behind_who_starts_it(systemd: Systemd) -> None:
    systemd.install()
    child = pausing(systemd.folder)
    assert child.stdout is not None
    with child:
        assert child.stdout.readline().strip() == PAUSED
        child.kill()
    deadline = time.monotonic() + 30.0
    while not systemd.asked("start") and time.monotonic() < deadline:
        time.sleep(0.02)
    assert systemd.told == ["stop", "start"]


def test_it_is_not_put_aside(systemd: Systemd) -> None:
    """Ctrl-Z would leave the door without its service for as long as nobody thinks of it."""
    systemd.install()
    child = pausing(systemd.folder)
    assert child.stdout is not None
    with child:
        assert child.stdout.readline().strip() == PAUSED
        child.send_signal(signal.SIGTSTP)
        child.send_signal(signal.SIGTERM)
        assert child.stdout.readline().strip() == AGAIN
