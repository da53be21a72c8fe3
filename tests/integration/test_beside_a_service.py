"""Commands beside a service that runs without systemd: at its microphone, and at its keys."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.config import load_config
from tests.integration.broker import Broker, Subscriber
from tests.integration.house import DEMO, House, is_listening, speak, stop
from tests.integration.waiting import PATIENCE, settled

_PLAYER = """
import sys, time, numpy, soundfile
samples, _ = soundfile.read(sys.argv[1])
sound = numpy.concatenate((samples, 1e-3 * numpy.random.default_rng(0).normal(size=32_000)))
sound = (sound * 32767).astype("<i2")
while True:
    for start in range(0, len(sound), 512):
        sys.stdout.buffer.write(sound[start : start + 512].tobytes())
        sys.stdout.buffer.flush()
        time.sleep(0.01)
"""
_HOLDER = """
import sys, time
from pathlib import Path
from edge.installation.service import paused
with paused(lambda text: print(text, flush=True), Path(sys.argv[1])):
    time.sleep(3600)
"""


@pytest.fixture
def house(broker: Broker, tmp_path: Path) -> House:
    """A house where Ada says her phrase again and again."""
    player = tmp_path / "player.py"
    player.write_text(_PLAYER)
    said = DEMO / "ada_right_phrase.flac"
    source = shlex.join([sys.executable, str(player), str(said)])
    house = House(tmp_path, broker, dict(os.environ), audio={"source": source})
    house.enroll_ada()
    return house


@pytest.fixture
def home(broker: Broker) -> Iterator[Subscriber]:
    with Subscriber(broker) as home:
        yield home


def lost_and_back(home: Subscriber) -> bool:
    """Whether the microphone was given away, taken back, and somebody let in after that."""
    story = [
        message.json.get("microphone") or message.json.get("decision")
        for message in list(home.messages)
        if message.topic.endswith(("/status", "/decision"))
    ]
    after = story[story.index("lost") :] if "lost" in story else []
    meanwhile = after[: after.index("listening")] if "listening" in after else after
    assert set(meanwhile) <= {"lost"}  # nothing is decided meanwhile
    return "granted" in after


def test_what_is_said_to_a_command_is_not_decided_on(house: House, home: Subscriber) -> None:
    service = house.start()
    try:
        assert home.wait_for("/decision").json["decision"] == "granted"
        done = house.run("verify", "Ada")
        assert done.returncode == 0, done.stderr
        assert "The service is paused: nobody can open until this ends." in done.stderr
        assert "The service is listening again." in done.stderr
        lost = home.wait_for("/status", lambda status: status.get("microphone") == "lost")
        assert lost.json["reason"] == "a command uses the microphone; the service goes on after it"
        assert settled(lambda: lost_and_back(home))
    finally:
        stop(service)


def test_a_command_that_dies_lets_the_service_go_on(house: House, home: Subscriber) -> None:
    service = house.start()
    try:
        home.wait_for("/status", is_listening)
        state = house.config.parent / "state"
        command = [sys.executable, "-c", _HOLDER, str(state)]
        with subprocess.Popen(
            command, env=house.environment, stdout=subprocess.PIPE, text=True
        ) as holder:
            assert holder.stdout is not None
            said = holder.stdout.readline()
            assert said == "The service is paused: nobody can open until this ends.\n"
            home.wait_for("/status", lambda status: status.get("microphone") == "lost")
            holder.kill()
            holder.wait(PATIENCE)
        assert settled(lambda: lost_and_back(home))
    finally:
        stop(service)


@pytest.mark.parametrize("configured", [False, True])
def test_another_key_for_the_store_keeps_nobody_out(
    house: House, home: Subscriber, tmp_path: Path, configured: bool
) -> None:
    if configured:
        done = house.run("keys", "rewrap", "--key-file", str(tmp_path / "first.key"))
        assert done.returncode == 0, done.stderr
    key = tmp_path / "other.key"
    service = house.start("--input", "-")
    try:
        speak(service, "ada_right_phrase")
        assert home.wait_for("/decision").json["decision"] == "granted"
        done = house.run("keys", "rewrap", "--rotate", "--key-file", str(key))
        assert done.returncode == 0, done.stderr
        assert load_config(house.config).store.key_file == key
        speak(service, "ada_right_phrase")
        assert settled(lambda: len(home.on("/decision")) == 2)
        # And once more, from and to where the running service was not started with.
        done = house.run("keys", "rewrap", "--rotate", "--key-file", str(tmp_path / "third.key"))
        assert done.returncode == 0, done.stderr
        speak(service, "ada_right_phrase")
        assert settled(lambda: len(home.on("/decision")) == 3)
    finally:
        stop(service)
    assert [each.json["decision"] for each in home.on("/decision")] == ["granted"] * 3
    assert not any("problem" in status.json for status in home.on("/status"))
