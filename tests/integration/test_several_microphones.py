"""One service with several microphones: each decides under its own name, by its own rules."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
import soundfile
import yaml

from edge.monitor.client import Stream, connect
from tests.integration.broker import Broker, Subscriber, free_port
from tests.integration.house import DEMO, House, is_listening, stop
from tests.integration.test_metrics import Figures, fetch, figures
from tests.integration.test_service import as_wave
from tests.integration.test_signed_service import SignedHouse
from tests.integration.virtual_microphone import VirtualMicrophone, skip_or_fail_without_parts
from tests.integration.waiting import PATIENCE, settled

_RATE = 16_000
_PIECE = 1600


class Room:
    """What a program in a microphone's place hears: a quiet room, and what is said in it."""

    def __init__(self, path: Path) -> None:
        self.command = f"cat {path}"
        self._path = path
        self._said: queue.Queue[np.ndarray[Any, Any]] = queue.Queue()
        self._thread: threading.Thread | None = None
        self._over = threading.Event()
        os.mkfifo(path)

    def begin(self) -> None:
        """Be there, at the pace of real time."""
        self._over.clear()
        self._thread = threading.Thread(target=self._sound, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Be gone; the program ends."""
        self._over.set()
        if self._thread is not None:
            self._thread.join(PATIENCE)

    def say(self, name: str) -> None:
        samples, _ = soundfile.read(DEMO / f"{name}.flac")
        self._said.put(samples)

    def _sound(self) -> None:
        while not self._over.is_set():
            try:  # there may be no reader, as while the service reloads
                line = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:
                self._over.wait(0.05)
                continue
            os.set_blocking(line, True)
            with contextlib.suppress(BrokenPipeError), os.fdopen(line, "wb", buffering=0) as pipe:
                self._write(pipe)

    def _write(self, pipe: IO[bytes]) -> None:
        noise = np.random.default_rng(0)
        due = time.monotonic()
        while not self._over.is_set():
            samples = 1e-3 * noise.normal(size=_PIECE)
            with contextlib.suppress(queue.Empty):
                samples = np.concatenate((self._said.get_nowait(), samples))
            for first in range(0, len(samples), _PIECE):
                piece = samples[first : first + _PIECE]
                pipe.write((np.clip(piece, -1, 1) * 32767).astype("<i2").tobytes())
                due = max(due + len(piece) / _RATE, time.monotonic() - 1.0)
                self._over.wait(max(0.0, due - time.monotonic()))


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Room]:
    room = Room(tmp_path / "front")
    room.begin()
    yield room
    room.end()


@pytest.fixture
def back(tmp_path: Path) -> Iterator[Room]:
    room = Room(tmp_path / "back")
    room.begin()
    yield room
    room.end()


def of_two_doors(front: Room, back: Room, **sections: Any) -> dict[str, Any]:
    return {
        "device": {"id": "front", "name": "Front door"},
        "audio": {"source": front.command},
        "microphones": {"back": {"name": "Back door", "source": back.command}},
        **sections,
    }


def house_of(folder: Path, broker: Broker, front: Room, back: Room, **sections: Any) -> House:
    return House(folder, broker, dict(os.environ), **of_two_doors(front, back, **sections))


def is_lost(status: Any) -> bool:
    return bool(status.get("microphone") == "lost")


def is_offline(status: Any) -> bool:
    return bool(status["state"] == "offline")


def is_locked_out(status: Any) -> bool:
    return bool(status.get("locked_out"))


def is_not_locked_out(status: Any) -> bool:
    return status.get("locked_out") is False


def both_listen(home: Subscriber) -> None:
    for door in ("front", "back"):
        home.wait_for(f"/{door}/status", is_listening)


def both_hear(front: Room, back: Room, name: str) -> None:
    for room in (front, back):
        room.say(name)


def answer(home: Subscriber, room: Room, door: str, name: str) -> Any:
    """What one door decides on a recording that is said there, and nowhere else."""
    home.messages.clear()
    room.say(name)
    decision = home.wait_for(f"/{door}/decision").json
    assert {message.topic.split("/")[1] for message in home.on("/decision")} == {door}
    assert decision["device"] == door
    return decision


def test_what_one_door_heard_is_a_recording_at_the_other(
    broker: Broker, tmp_path: Path, front: Room, back: Room
) -> None:
    house = house_of(tmp_path, broker, front, back, replay={"enabled": True})
    house.enroll_ada()
    with Subscriber(broker) as home:
        service = house.start("--json")
        try:
            both_listen(home)
            names = {
                door: home.wait_for(f"/{door}/status").json["name"] for door in ("front", "back")
            }
            assert names == {"front": "Front door", "back": "Back door"}
            granted = answer(home, front, "front", "ada_right_phrase")
            assert (granted["decision"], granted["name"]) == ("granted", "Ada")
            denied = answer(home, back, "back", "ada_right_phrase")
            assert (denied["decision"], denied["reason"]) == ("denied", "replay_suspected")
        finally:
            stop(service)
    entries = json.loads(house.run("audit", "show", "--json").stdout)["entries"]
    decided = [each["detail"] for each in entries if each["kind"] == "decision"]
    assert [each.get("door") for each in decided] == [None, "back"]
    assert "back: denied (replay_suspected" in house.log.read_text()


def at_each(found: Figures, name: str, **labels: str) -> dict[str, float]:
    """A figure at each door."""
    return {
        dict(given)["device"]: value
        for (figure, given), value in found.items()
        if figure == f"edge_voice_{name}" and labels.items() <= dict(given).items()
    }


def named(home: Subscriber, door: str) -> set[str]:
    """Who was told at one door to be speaking."""
    told = [message.json for message in home.on(f"edge-voice/{door}/speaker")]
    assert all(each["microphone"] == door for each in told)
    return {each["name"] for each in told if each.get("name")}


@pytest.mark.slow
def test_commands_names_and_figures_are_of_one_door(
    broker: Broker, tmp_path: Path, front: Room, back: Room
) -> None:
    port = free_port()
    more = {"identification": {"enabled": True}, "metrics": {"enabled": True, "port": port}}
    house = SignedHouse(tmp_path, broker, **of_two_doors(front, back, **more))
    house.enroll_ada()
    with Subscriber(broker) as home:
        service = house.start()
        try:
            both_listen(home)
            assert house.tell("disarm", "--to", "back").returncode == 0
            home.wait_for("/back/status", lambda status: status.get("listening") is False)
            both_hear(front, back, "ada_right_phrase")
            assert home.wait_for("/front/decision").json["decision"] == "granted"
            summary = home.wait_for("/front/utterance").json
            assert summary["microphone"] == "front"
            assert [each["name"] for each in summary["speakers"]] == ["Ada"]
            assert (named(home, "front"), named(home, "back")) == ({"Ada"}, set())
            assert at_each(figures(fetch(port)), "listening") == {"front": 1.0, "back": 0.0}
            with closing(Stream(connect([tmp_path / "state" / "monitor.sock"]))) as monitor:
                hello, *_ = monitor.wait(PATIENCE)
                assert (hello["device"], hello["further"]) == ("front", ["back"])

            assert house.tell("arm", "--to", "back").returncode == 0
            home.messages.clear()
            assert house.tell("identify_stop", "--to", "front").returncode == 0
            home.wait_for("/front/status", lambda status: status.get("identifying") is False)
            both_hear(front, back, "ada_right_phrase")
            for door in ("front", "back"):
                assert home.wait_for(f"/{door}/decision").json["decision"] == "granted"
            assert home.wait_for("/back/utterance").json["microphone"] == "back"
            assert (named(home, "front"), named(home, "back")) == (set(), {"Ada"})
            assert not any(
                each.json.get("identifying") is False for each in home.on("/back/status")
            )
            counted = {"front": 2.0, "back": 1.0}
            assert settled(
                lambda: (
                    at_each(figures(fetch(port)), "decisions_total", outcome="granted") == counted
                )
            )
        finally:
            stop(service)


@pytest.mark.slow
def test_each_door_has_its_own_rules_troubles_and_lock_out(
    broker: Broker, tmp_path: Path, front: Room, back: Room
) -> None:
    house = house_of(
        tmp_path, broker, front, back, lockout={"rejections": 1}, homeassistant={"discovery": True}
    )
    house.enroll_ada()
    assert house.run("access", "set", "Ada", "--doors", "back").returncode == 0
    with Subscriber(broker) as home:
        service = house.start()
        try:
            both_listen(home)
            decision = answer(home, front, "front", "ada_right_phrase")
            assert decision["reason"] == "not_here"
            assert answer(home, back, "back", "ada_right_phrase")["decision"] == "granted"

            home.messages.clear()
            front.end()
            lost = home.wait_for("/front/status", is_lost)
            assert "'cat' has ended" in lost.json["reason"]
            assert answer(home, back, "back", "ada_right_phrase")["decision"] == "granted"
            home.messages.clear()
            front.begin()
            home.wait_for("/front/status", is_listening)
            assert not home.on("/back/status")

            answer(home, front, "front", "stranger_adas_phrase")
            home.wait_for("/front/status", is_locked_out)
            shown = json.loads(house.run("lockout", "show", "--json").stdout)
            assert shown["locked_out"]
            assert not shown["doors"]["back"]["locked_out"]
            assert answer(home, back, "back", "ada_right_phrase")["decision"] == "granted"
            answer(home, back, "back", "stranger_adas_phrase")
            home.wait_for("/back/status", is_locked_out)
            home.messages.clear()
            assert house.run("lockout", "lift").returncode == 0
            for door in ("front", "back"):
                home.wait_for(f"/{door}/status", is_not_locked_out)
        finally:
            stop(service)
        offline = [message.topic for message in home.on("/status") if is_offline(message.json)]
        assert sorted(offline) == ["edge-voice/back/status", "edge-voice/front/status"]


@pytest.mark.slow
@pytest.mark.long
def test_a_reload_adds_and_removes_a_microphone(
    broker: Broker, tmp_path: Path, front: Room, back: Room
) -> None:
    house = house_of(tmp_path, broker, front, back, homeassistant={"discovery": True})
    house.enroll_ada()
    settings = yaml.safe_load(house.config.read_text())

    def reload() -> None:
        home.messages.clear()
        house.config.write_text(yaml.safe_dump(settings))
        service.send_signal(signal.SIGHUP)

    def announced(door: str) -> set[bool]:
        ending = f"/edge_voice_{door}/last_person/config"
        return {bool(message.text) for message in home.on(ending)}

    with Subscriber(broker) as home:
        service = house.start()
        try:
            both_listen(home)
            home.wait_for("/edge_voice_back/last_person/config")
            microphone = settings["microphones"].pop("back")
            reload()
            home.wait_for("/back/status", is_offline)
            home.wait_for("/front/status", is_listening)
            assert settled(lambda: announced("back") == {False})
            assert False not in announced("front")
            assert answer(home, front, "front", "ada_right_phrase")["decision"] == "granted"

            settings["microphones"]["kitchen"] = microphone
            reload()
            home.wait_for("/kitchen/status", is_listening)
            assert answer(home, back, "kitchen", "ada_right_phrase")["decision"] == "granted"
            assert answer(home, front, "front", "ada_right_phrase")["decision"] == "granted"
        finally:
            stop(service)


@pytest.mark.slow
@pytest.mark.long
def test_two_sound_cards_of_which_one_falls_silent_and_both_come_back(
    broker: Broker, tmp_path: Path
) -> None:
    skip_or_fail_without_parts()
    with VirtualMicrophone(two=True) as room, Subscriber(broker) as home:
        house = House(
            tmp_path,
            broker,
            room.environment,
            device={"id": "front"},
            audio={"device": "desk"},
            microphones={"back": {"device": "shelf"}},
        )
        house.enroll_ada()
        said = as_wave("ada_right_phrase", tmp_path)
        service = house.start()
        try:
            both_listen(home)
            for suspended, is_so in (("1", is_lost), ("0", is_listening)):
                home.messages.clear()
                assert room._control("suspend-sink", "shelf", suspended) == 0
                home.wait_for("/back/status", is_so)
                assert not [each for each in home.on("/front/status") if is_lost(each.json)]
                home.messages.clear()
                room.play(said)
                assert home.wait_for("/front/decision").json["decision"] == "granted"
            home.messages.clear()
            room.unplug()
            for door in ("front", "back"):
                home.wait_for(f"/{door}/status", is_lost)
            home.messages.clear()
            room.plug_in()
            both_listen(home)
            room.play(said)
            assert home.wait_for("/front/decision").json["decision"] == "granted"
            assert not home.on("/back/decision")
        finally:
            stop(service)
