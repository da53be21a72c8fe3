"""What systemd hears, at a real socket."""

from __future__ import annotations

import os
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
    notifier.status("2 enrolled: Zoë, Ada")
    assert systemd.recv(200) == "STATUS=2 enrolled: Zoë, Ada".encode()
    notifier.watchdog()
    assert systemd.recv(200) == b"WATCHDOG=1"
    notifier.reloading()
    first, second = systemd.recv(200).decode().splitlines()
    assert first == "RELOADING=1"
    since = time.clock_gettime(time.CLOCK_MONOTONIC) - int(second.split("MONOTONIC_USEC=")[1]) / 1e6
    assert 0.0 <= since < 5.0
    notifier.stopping()
    assert systemd.recv(200) == b"STOPPING=1"


@pytest.mark.parametrize(
    ("usec", "pid", "expected"),
    [
        ("30000000", None, 30.0),
        ("30000000", "own", 30.0),
        ("30000000", "1", None),
        ("0", None, None),
        ("soon", None, None),
        (None, None, None),
    ],
)
def test_watchdog_interval(
    systemd: socket.socket,
    monkeypatch: pytest.MonkeyPatch,
    usec: str | None,
    pid: str | None,
    expected: float | None,
) -> None:
    for name, value in (("WATCHDOG_USEC", usec), ("WATCHDOG_PID", pid)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, str(os.getpid()) if value == "own" else value)
    assert Notifier().watchdog_s == expected


def test_without_systemd_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    monkeypatch.setenv("WATCHDOG_USEC", "1000000")
    notifier = Notifier()
    notifier.ready()
    notifier.watchdog()
    assert notifier.watchdog_s is None


def test_a_socket_that_is_gone_does_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    Notifier().watchdog()
