"""Fixtures of the integration tests."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge.crypto.signing import signed
from tests.contract import complaint
from tests.integration.broker import Broker
from tests.integration.virtual_microphone import VirtualMicrophone, skip_or_fail_without_parts


@pytest.fixture(autouse=True)
def commands_keep_to_their_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hold every genuine command that a test makes against the schema."""

    def held_against_schema(*arguments: Any) -> dict[str, Any]:
        message = signed(*arguments)
        wrong = complaint("command", message)
        assert wrong is None, wrong
        return message

    monkeypatch.setattr("edge.mqtt.commands.signed", held_against_schema)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """A broker of the test's own, which takes a moment only."""
    with Broker(tmp_path / "broker") as running:
        yield running


@pytest.fixture
def let_pass(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Has seconds pass by the clock of what is sent over MQTT, as when the machine slept."""
    passed = 0.0

    def clock(which: int) -> float:
        return time.clock_gettime(which) + passed

    def pass_by(seconds: float) -> None:
        nonlocal passed
        passed += seconds

    monkeypatch.setattr("edge.uptime.time", SimpleNamespace(clock_gettime=clock))
    return pass_by


@pytest.fixture
def soon_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lost broker is looked for again at once."""
    monkeypatch.setattr("edge.mqtt.publisher._FIRST_WAIT_S", 0.05)


@pytest.fixture(scope="module")
def room() -> Iterator[VirtualMicrophone]:
    """A sound server to play into and to record from."""
    skip_or_fail_without_parts()
    with VirtualMicrophone() as opened:
        yield opened


@pytest.fixture
def microphone(room: VirtualMicrophone) -> VirtualMicrophone:
    """The same, plugged in."""
    if not room.plugged_in:
        room.plug_in()
    return room


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip("a small disk needs root, and leave to mount one")
    try:
        yield folder
    finally:
        # Lazily: a test beside this one may have a copy of this machine's mounts.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
