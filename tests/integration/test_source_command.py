"""A camera's stream through ffmpeg as the microphone: heard, cut, frozen, and back."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.integration.broker import Broker, Subscriber, require
from tests.integration.house import DEMO, House, is_listening, stop
from tests.integration.waiting import PATIENCE

_RATE = 16_000


class Camera:
    """Gives the sound of one place to whoever connects, as bare samples over TCP."""

    def __init__(self) -> None:
        self._door = socket.create_server(("127.0.0.1", 0))
        self._door.settimeout(PATIENCE)
        self.address = f"tcp://127.0.0.1:{self._door.getsockname()[1]}"
        self._line: socket.socket | None = None

    def accept(self) -> None:
        """Wait for somebody to connect, once more."""
        self._line, _ = self._door.accept()

    def send(self, samples: np.ndarray) -> None:
        assert self._line is not None
        self._line.sendall((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())

    def say(self, name: str) -> None:
        samples, _ = soundfile.read(DEMO / f"{name}.flac")
        self.send(np.concatenate((samples, _quiet(2.0))))

    def cut(self) -> None:
        assert self._line is not None
        self._line.close()


def _quiet(seconds: float) -> np.ndarray:
    return 1e-3 * np.random.default_rng(0).normal(size=round(seconds * _RATE))


@pytest.mark.slow
def test_a_stream_is_heard_cut_frozen_and_back(broker: Broker, tmp_path: Path) -> None:
    require("ffmpeg")
    camera = Camera()
    command = (
        f"ffmpeg -nostdin -loglevel error -f s16le -ar {_RATE} -ac 1 -probesize 32"
        f" -i {camera.address} -f wav -flush_packets 1 -"
    )
    house = House(tmp_path, broker, dict(os.environ), audio={"source": command})
    house.enroll_ada()
    with Subscriber(broker) as home:
        service = house.start()
        try:
            camera.accept()
            camera.send(_quiet(2.0))
            home.wait_for("/status", is_listening)
            camera.say("ada_right_phrase")
            assert home.wait_for("/decision").json["decision"] == "granted"

            camera.cut()
            lost = home.wait_for("/status", lambda status: status.get("microphone") == "lost")
            assert "'ffmpeg' has ended (exit code 0)" in lost.json["reason"]
            home.messages.clear()
            camera.accept()
            camera.send(_quiet(2.0))
            home.wait_for("/status", is_listening)

            # It sends nothing more, and keeps the line open.
            lost = home.wait_for("/status", lambda status: status.get("microphone") == "lost")
            assert "'ffmpeg' has delivered nothing for" in lost.json["reason"]
            home.messages.clear()
            camera.accept()
            camera.send(_quiet(2.0))
            home.wait_for("/status", is_listening)
            camera.say("ada_right_phrase")
            assert home.wait_for("/decision").json["decision"] == "granted"
        finally:
            stop(service)
