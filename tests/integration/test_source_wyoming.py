"""A Wyoming satellite as the microphone of the service: heard, cut, frozen, and back."""

from __future__ import annotations

import os
import subprocess
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("wyoming")

from edge.store import open_store
from tests.integration.broker import Broker, Subscriber, free_port
from tests.integration.house import DEMO, House, is_listening, stop
from tests.integration.satellite import Satellite, quiet
from tests.integration.waiting import PATIENCE, settled


def test_a_satellite_is_heard_cut_frozen_and_back(broker: Broker, tmp_path: Path) -> None:
    with Satellite() as satellite, Subscriber(broker) as home:
        house = House(tmp_path, broker, dict(os.environ), audio={"source": satellite.address})
        house.enroll_ada()
        _at_a_browser(tmp_path / "state")
        service = house.start()
        try:
            satellite.accept()
            satellite.send(quiet(2.0))
            home.wait_for("/status", is_listening)
            satellite.say("ada_right_phrase")
            assert home.wait_for("/decision").json["decision"] == "granted"

            satellite.cut()
            lost = home.wait_for("/status", _is_lost)
            assert lost.json["reason"].startswith(f"{satellite.address} has closed the connection;")
            home.messages.clear()
            satellite.accept()
            satellite.send(quiet(2.0))
            home.wait_for("/status", is_listening)

            # It sends nothing more, and keeps the connection.
            lost = home.wait_for("/status", _is_lost)
            assert f"{satellite.address} has delivered nothing for" in lost.json["reason"]
            assert satellite.told().type == "pause-satellite"
            home.messages.clear()
            satellite.accept()
            satellite.send(quiet(2.0))
            home.wait_for("/status", is_listening)
            satellite.say("ada_right_phrase")
            assert home.wait_for("/decision").json["decision"] == "granted"
        finally:
            stop(service)
        assert satellite.told().type == "pause-satellite"
    (warning,) = (line for line in house.log.read_text().splitlines() if "(browser)" in line)
    assert "Ada was enrolled with another microphone (browser) than this one (Wyoming" in warning


def _at_a_browser(state: Path) -> None:
    """Have Ada's signature be one that was enrolled in a browser."""
    with open_store(state) as store:
        ada = store.get("Ada")
        store.replace_samples(
            "Ada", ada.samples, ada.speaker_model, ada.phrase_model, microphones=["browser"]
        )


def _is_lost(status: dict[str, object]) -> bool:
    return status.get("microphone") == "lost"


class RealSatellite:
    """`wyoming-satellite` as PyPI has it; its microphone is a pipe that a test writes to."""

    def __init__(self, python: Path, folder: Path) -> None:
        self._python = python
        self._pipe = folder / "microphone"
        os.mkfifo(self._pipe)
        self._port = free_port()
        self.address = f"wyoming://127.0.0.1:{self._port}"

    @contextmanager
    def running(self) -> Iterator[None]:
        command = [str(self._python), "-m", "wyoming_satellite", "--name", "hall"]
        command += ["--uri", f"tcp://127.0.0.1:{self._port}", "--no-zeroconf"]
        process = subprocess.Popen([*command, "--mic-command", f"cat {self._pipe}"])
        try:
            # Opened once its own program reads it.
            with self._pipe.open("wb", buffering=0) as self._microphone:
                yield
        finally:
            process.kill()
            process.wait()

    def send(self, samples: np.ndarray) -> None:
        self._microphone.write((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())

    def say(self, name: str) -> None:
        samples, _ = soundfile.read(DEMO / f"{name}.flac")
        self.send(np.concatenate((samples, quiet(2.0))))

    def is_quiet_until(self, home: Subscriber) -> None:
        """A quiet room, until the service says that it listens."""

        def heard() -> bool:
            self.send(quiet(0.1))
            return any(is_listening(message.json) for message in home.on("/status"))

        assert settled(heard)


@pytest.fixture(scope="module")
def satellites_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with the satellite, which asks for an older library than ours."""
    folder = tmp_path_factory.mktemp("satellite")
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", "wyoming-satellite==1.0.0"]
    done = subprocess.run(install, capture_output=True, text=True, timeout=PATIENCE, check=False)
    if done.returncode != 0:
        if os.environ.get("CI") == "true":
            pytest.fail(done.stderr)
        pytest.skip("wyoming-satellite cannot be installed here")
    return python


@pytest.mark.slow
@pytest.mark.long
def test_the_satellite_of_wyoming_itself(
    broker: Broker, tmp_path: Path, satellites_python: Path
) -> None:
    satellite = RealSatellite(satellites_python, tmp_path)
    house = House(tmp_path, broker, dict(os.environ), audio={"source": satellite.address})
    house.enroll_ada()
    with Subscriber(broker) as home:
        service = house.start()
        try:
            refused = home.wait_for("/status", _is_lost).json["reason"]
            assert refused.startswith(f"{satellite.address} refuses the connection;")
            with satellite.running():
                satellite.is_quiet_until(home)
                satellite.say("ada_right_phrase")
                assert home.wait_for("/decision").json["decision"] == "granted"
                # Its microphone is silent, and then heard again over a new connection.
                home.messages.clear()
                lost = home.wait_for("/status", _is_lost).json["reason"]
                assert "has delivered nothing for" in lost
                satellite.is_quiet_until(home)
                home.messages.clear()
            lost = home.wait_for("/status", _is_lost).json["reason"]
            assert satellite.address in lost
            home.messages.clear()
            with satellite.running():
                satellite.is_quiet_until(home)
                satellite.say("ada_right_phrase")
                assert home.wait_for("/decision").json["decision"] == "granted"
                stop(service)
        finally:
            if service.poll() is None:
                stop(service)
    assert service.returncode == 0
