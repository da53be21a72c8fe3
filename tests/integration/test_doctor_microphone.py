"""The doctor at the microphone: silent, faint, loud, gone, and held by the service."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from edge.doctor import Finding
from edge.doctor.microphone import NOTHING
from tests.integration.broker import Broker, Subscriber
from tests.integration.doctor import codes, examined, program, the
from tests.integration.house import REPOSITORY, House, is_listening, stop
from tests.integration.virtual_microphone import VirtualMicrophone
from tests.integration.waiting import PATIENCE, settled


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration without a broker, and with models that are not there, which saves time."""
    file = tmp_path / "config.yaml"
    settings = {
        "mqtt": {"enabled": False},
        "state_directory": str(tmp_path / "state"),
        "models_directory": str(tmp_path / "none"),
    }
    file.write_text(yaml.safe_dump(settings))
    return file


@contextmanager
def sound(microphone: VirtualMicrophone, samples: np.ndarray, folder: Path) -> Iterator[None]:
    """Play something all the while."""
    file = folder / "sound.wav"
    soundfile.write(file, samples, 16_000, subtype="PCM_16")
    player = microphone.play_in_background(file)
    assert settled(lambda: microphone.sounds)
    try:
        yield
    finally:
        player.kill()
        player.wait()


def noise(dbfs: float) -> np.ndarray:
    return np.random.default_rng(0).normal(scale=10 ** (dbfs / 20), size=16_000 * 30)


def look(microphone: VirtualMicrophone, config: Path) -> list[Finding]:
    _, found, _ = examined(config, microphone.environment)
    return [each for each in found if each.name in ("microphone", "sound")]


def test_nothing_but_zeros_is_red(microphone: VirtualMicrophone, config: Path) -> None:
    found = look(microphone, config)
    assert codes(found) == ["microphone.opened", "sound.silent"]
    assert "exact zeros" in found[1].found
    assert "alsamixer" in found[1].remedy
    assert "at 16000 Hz" in found[0].found


def test_sound_that_arrives(microphone: VirtualMicrophone, config: Path, tmp_path: Path) -> None:
    with sound(microphone, noise(-55.0), tmp_path):
        found = look(microphone, config)
    assert codes(found) == ["microphone.opened", "sound.arrives"]
    assert "dBFS" in found[1].found


def test_no_such_microphone(microphone: VirtualMicrophone, config: Path) -> None:
    settings = {**yaml.safe_load(config.read_text()), "audio": {"device": "garden"}}
    config.write_text(yaml.safe_dump(settings))
    found = look(microphone, config)
    assert codes(found) == ["microphone.closed", "sound.not_heard"]
    assert "no microphone is called 'garden'" in found[0].found
    assert "set audio.device to one of these: 0 'default'" in found[0].remedy


def test_a_sound_system_that_stands_still_is_not_waited_for(
    microphone: VirtualMicrophone, config: Path
) -> None:
    microphone.freeze()
    try:
        found = look(microphone, config)
    finally:
        microphone.thaw()
    assert codes(found) == ["microphone.closed", "sound.not_heard"]
    assert "has not answered" in found[0].found
    assert "check PulseAudio, PipeWire or ALSA" in found[0].remedy


def test_sound_that_stops_arriving(microphone: VirtualMicrophone, config: Path) -> None:
    """Opened, and frozen as soon as that is on the screen."""
    process = subprocess.Popen(
        [sys.executable, "-m", "edge.cli", "doctor", "--config", str(config)],
        env={**microphone.environment, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    shown = []
    try:
        for line in process.stdout:
            shown.append(" ".join(line.split()))
            if "opens at 16000" in line:
                microphone.freeze()
    finally:
        microphone.thaw()
        assert process.wait(PATIENCE) == 3
    row = next(number for number, line in enumerate(shown) if " sound: " in line)
    assert "red sound: no sound: microphone 'default' has delivered nothing" in shown[row]
    assert "unplug the microphone and plug it in again" in shown[row + 1]
    assert (NOTHING.code, NOTHING.remedy[:20]) == ("sound.nothing", "unplug the microphon")
    # The others went on: what comes after it is there too.
    assert any(" disk: " in line for line in shown[row:])


def without_sound(microphone: VirtualMicrophone) -> dict[str, str]:
    """An environment in which no device can be opened, as where somebody else holds it."""
    return {**microphone.environment, "PULSE_SERVER": "unix:/nowhere"}


def test_held_by_the_running_service(
    microphone: VirtualMicrophone, tmp_path: Path, config: Path
) -> None:
    with Broker(tmp_path / "broker") as broker, Subscriber(broker) as home:
        house = House(tmp_path, broker, microphone.environment)
        service = house.start()
        try:
            home.wait_for("/status", is_listening)
            _, found, _ = examined(house.config, without_sound(microphone))
            held = the("microphone.held", found)
            assert "microphone: listening" in the("service_says.online", found).found
            assert "reports that it is listening" in held.found
            assert the("sound.not_heard", found)
            microphone.unplug()
            home.wait_for("/status", lambda status: status.get("microphone") == "lost")
            _, found, _ = examined(house.config, without_sound(microphone))
            lost = the("microphone.lost", found)
            assert "lost by the running service: " in lost.found
            assert "check its plug" in lost.remedy
        finally:
            stop(service)


def test_the_service_runs_and_says_nothing(
    microphone: VirtualMicrophone, config: Path, tmp_path: Path
) -> None:
    script = "echo LoadState=loaded; echo ActiveState=active; echo NRestarts=0"
    folder = program(tmp_path / "bin", "systemctl", script)
    environment = without_sound(microphone)
    environment["PATH"] = f"{folder}:{environment['PATH']}"
    _, found, _ = examined(config, environment)
    busy = the("microphone.busy", found)
    assert "the running service may be using it" in busy.found
    assert "sudo systemctl stop edge-voice" in busy.remedy
