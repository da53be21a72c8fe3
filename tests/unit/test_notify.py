"""What systemd hears, at a real socket."""

from __future__ import annotations

import socket
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.notify import Notifier


@pytest.fixture(params=["file", "abstract"])
def systemd(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    name = str(tmp_path / "notify") if request.param == "file" else f"@edge-test-{uuid.uuid4()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(name.replace("@", "\0", 1) if name.startswith("@") else name)
        server.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield server


def test_every_message(systemd: socket.socket) -> None:
    notifier = Notifier()
    notifier.ready("listening to\nthe microphone")
    assert systemd.recv(200) == b"READY=1\nSTATUS=listening to the microphone"
    notifier.watchdog()
    assert systemd.recv(200) == b"WATCHDOG=1"
    notifier.reloading()
    first, second = systemd.recv(200).decode().splitlines()
    assert first == "RELOADING=1"
    since = time.clock_gettime(time.CLOCK_MONOTONIC) - int(second.split("MONOTONIC_USEC=")[1]) / 1e6
    assert 0.0 <= since < 5.0
    notifier.stopping("2 enrolled: Zoë, Ada")
    assert systemd.recv(200) == "STOPPING=1\nSTATUS=2 enrolled: Zoë, Ada".encode()


def test_without_systemd_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notifier = Notifier()
    notifier.ready()
    notifier.watchdog()


def test_a_socket_that_is_gone_does_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    Notifier().watchdog()
