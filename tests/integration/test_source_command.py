"""A camera's stream through ffmpeg as the microphone: heard, cut, frozen, and back."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.integration.broker import Broker, Subscriber, free_port, require
from tests.integration.house import DEMO, House, is_listening, stop
from tests.integration.waiting import PATIENCE, settled

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


class Doorbell:
    """A camera whose ffmpeg serves compressed sound in a transport stream, to one client."""

    def __init__(self) -> None:
        self.address = f"tcp://127.0.0.1:{free_port()}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.stop()
        heard = f"-f s16le -ar {_RATE} -ac 1 -i -".split()
        served = f"-c:a aac -ar 44100 -ac 2 -f mpegts {self.address}?listen=1".split()
        command = ["ffmpeg", "-loglevel", "error", *heard, "-flush_packets", "1", *served]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, bufsize=0)

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def freeze(self) -> None:
        """It sends nothing more, and keeps the connection."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def send(self, samples: np.ndarray) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())

    def is_quiet_until(self, home: Subscriber) -> None:
        """A quiet place, until the service says that it listens."""

        def heard() -> bool:
            self.send(_quiet(0.1))
            return any(is_listening(message.json) for message in home.on("/status"))

        assert settled(heard)


def _quiet(seconds: float) -> np.ndarray:
    return 1e-3 * np.random.default_rng(0).normal(size=round(seconds * _RATE))


def _is_lost(status: dict[str, object]) -> bool:
    return status.get("microphone") == "lost"


@pytest.mark.slow
def test_a_doorbell_whose_sound_is_compressed(broker: Broker, tmp_path: Path) -> None:
    require("ffmpeg")
    doorbell = Doorbell()
    command = (
        f"ffmpeg -nostdin -loglevel error -i {doorbell.address} -vn -ac 1 -ar {_RATE}"
        " -f wav -flush_packets 1 -"
    )
    house = House(tmp_path, broker, dict(os.environ), audio={"source": command})
    house.enroll_ada()
    samples, _ = soundfile.read(DEMO / "ada_right_phrase.flac")
    with Subscriber(broker) as home:
        service = house.start()
        try:
            for end, reason in (
                (doorbell.stop, "'ffmpeg' has ended"),
                (doorbell.freeze, "'ffmpeg' has delivered nothing for"),
                (None, ""),
            ):
                home.messages.clear()
                doorbell.start()
                doorbell.is_quiet_until(home)
                doorbell.send(np.concatenate((samples, _quiet(4.0))))
                assert home.wait_for("/decision").json["decision"] == "granted"
                home.messages.clear()
                if end is not None:
                    end()
                    assert reason in home.wait_for("/status", _is_lost).json["reason"]
        finally:
            stop(service)
            doorbell.stop()


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
