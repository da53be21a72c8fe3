"""A house with a door: a configuration, and a service to start, speak to and stop."""

from __future__ import annotations

import array
import atexit
import contextlib
import fcntl
import functools
import hashlib
import io
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import soundfile
import yaml

from edge.cli.main import main
from edge.resources import demo_directory
from tests.integration.broker import Broker
from tests.integration.waiting import PATIENCE, settled

REPOSITORY = Path(__file__).resolve().parents[2]
DEMO = demo_directory()
_QUICK = """
import edge.service.service
from edge.cli.main import entry_point
edge.service.service._TICK_S = 0.05
entry_point()
"""
_QUIET = 16_000 + 63 * 512
"""Samples of a quiet room after a recording: longer than the answer takes during a lock-out."""
_DECISIVE = ("enrollment", "recognition", "replay", "store")
"""Settings that an enrollment depends on."""


class House:
    """A state directory with Ada enrolled, a configuration, and a service to start and stop."""

    def __init__(
        self,
        folder: Path,
        broker: Broker | None,
        environment: dict[str, str],
        **sections: Any,
    ) -> None:
        self.config = folder / "config.yaml"
        inherited = os.environ.get("PYTHONPATH", "")
        path = os.pathsep.join(part for part in (str(REPOSITORY), inherited) if part)
        self.environment = {**environment, "PYTHONPATH": path}
        settings = {
            "device": {"id": "test-door"},
            "mqtt": {"host": "127.0.0.1", "port": broker.port} if broker else {"enabled": False},
            "state_directory": str(folder / "state"),
            # Tests play one recording again and again, which is what replay detection is for.
            "replay": {"enabled": False},
            # What is decided too late is dropped, and a busy machine takes its time.
            "access": {"decision_lifetime_s": 60.0},
            **sections,
        }
        self.config.write_text(yaml.safe_dump(settings))
        self.log = folder / "service.log"

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "edge.cli", *arguments, "--config", str(self.config)]

    def run(self, *arguments: str, config: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command, in this process, which saves the start of another."""
        command = [*arguments, "--config", str(config or self.config)]
        said, complained = io.StringIO(), io.StringIO()
        root = logging.getLogger()
        handlers, level = root.handlers, root.level
        root.handlers = []  # else the command would close them
        try:
            with (
                mock.patch.dict(os.environ, self.environment, clear=True),
                contextlib.redirect_stdout(said),
                contextlib.redirect_stderr(complained),
            ):
                code = main(command)
        finally:
            root.handlers = handlers
            root.setLevel(level)
        return subprocess.CompletedProcess(command, code, said.getvalue(), complained.getvalue())

    def spawn(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command in a process of its own."""
        return subprocess.run(
            self.command(*arguments),
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def enroll_ada(self) -> None:
        """Enroll Ada: by the command the first time, after that in a copy of what it made."""
        settings = yaml.safe_load(self.config.read_text())
        state = Path(settings["state_directory"])
        made = _made([settings.get(name) for name in _DECISIVE])
        if made.exists() and not state.exists():
            shutil.copytree(made, state)
            return
        new = not state.exists()
        files = [str(DEMO / f"ada_enroll_{number}.flac") for number in (1, 2, 3)]
        done = self.run("enroll", "Ada", "--phrase", "what Ada says", *files)
        assert done.returncode == 0, done.stderr
        if new and not made.exists():
            shutil.copytree(state, made)

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start the service, which looks after everything more often than it does at a door."""
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-c", _QUICK, *self.command("run", *arguments)[3:]],
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )


@functools.cache
def _scratch() -> Path:
    """A folder for as long as this process lives."""
    folder = tempfile.TemporaryDirectory(prefix="houses-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


def _made(settings: object) -> Path:
    """Where a state directory is kept that was made with these settings."""
    return _scratch() / hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:16]


def stop(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, after which it ends cleanly."""
    process.send_signal(signal.SIGTERM)
    try:
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()


def is_listening(status: Any) -> bool:
    return bool(status.get("microphone") == "listening")


def speak(service: subprocess.Popen[bytes], name: str) -> None:
    samples, _ = soundfile.read(DEMO / f"{name}.flac")
    quiet = 1e-3 * np.random.default_rng(0).normal(size=_QUIET)
    feed(service, np.concatenate((samples, quiet)))


def feed(service: subprocess.Popen[bytes], samples: np.ndarray[Any, Any]) -> None:
    assert service.stdin is not None
    service.stdin.write((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    service.stdin.flush()


def heard(service: subprocess.Popen[bytes]) -> None:
    """Wait until a service has taken in all that it was fed."""
    assert service.stdin is not None
    pipe, left = service.stdin, array.array("i", [0])
    assert settled(lambda: fcntl.ioctl(pipe, termios.FIONREAD, left) == 0 and left[0] == 0)
