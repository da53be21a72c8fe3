"""The service as it runs at a door: virtual microphone in, decisions at an MQTT subscriber out."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge.access.clock import LATEST_KEY
from edge.access.decider import Judgment
from edge.audio.sources import FileSource
from edge.config import AccessConfig, Config, MqttConfig
from edge.service import build_service
from edge.service.observers import Observer
from edge.store.device_state import DeviceState
from edge.types import AccessDecision, AudioBlock
from tests.integration.broker import Broker, Subscriber
from tests.integration.house import DEMO, House, feed, is_listening, speak, stop
from tests.integration.virtual_microphone import VirtualMicrophone
from tests.integration.waiting import PATIENCE, settled


def as_wave(name: str, folder: Path) -> Path:
    """A demo recording as a WAV file, which the player of the sound server reads everywhere."""
    samples, rate = soundfile.read(DEMO / f"{name}.flac")
    path = folder / f"{name}.wav"
    soundfile.write(path, samples, rate, subtype="PCM_16")
    return path


def test_a_voice_opens_the_door_and_others_do_not(
    microphone: VirtualMicrophone, broker: Broker, tmp_path: Path
) -> None:
    house = House(tmp_path, broker, microphone.environment)
    house.enroll_ada()
    expected = [
        ("ada_right_phrase", "granted", "recognized", "Ada"),
        ("stranger_other_phrase", "denied", "no_match", None),
    ]
    with Subscriber(broker) as home:
        service = house.start()
        try:
            status = home.wait_for("/status", is_listening)
            assert status.json["state"] == "online"
            assert status.json["enrolled"] == 1
            for number, (name, *_) in enumerate(expected, start=1):
                microphone.play(as_wave(name, tmp_path))
                assert settled(lambda count=number: len(home.on("/decision")) >= count)
            decisions = [message.json for message in home.on("/decision")]
            assert [(d["decision"], d["reason"], d["name"]) for d in decisions] == [
                tuple(rest) for _, *rest in expected
            ]
            assert all(not message.retain for message in home.on("/decision"))
            assert {d["device"] for d in decisions} == {"test-door"}
            # Neither the phrase nor how near it was.
            assert {(d["phrase"], str(d["scores"])) for d in decisions} == {(None, "{}")}
            assert not home.on("/details")
            assert set(decisions[0]["timings_ms"]) == {
                "endpoint", "speaker", "phrase", "match", "decide",
            }  # fmt: skip
        finally:
            stop(service)
        home.wait_for("/status", lambda status: status["state"] == "offline")


def test_a_microphone_is_lost_stands_still_and_comes_back(
    microphone: VirtualMicrophone, broker: Broker, tmp_path: Path
) -> None:
    house = House(tmp_path, broker, microphone.environment)
    house.enroll_ada()
    with Subscriber(broker) as home:
        service = house.start()
        home.wait_for("/status", is_listening)
        microphone.unplug()
        lost = home.wait_for("/status", lambda s: s.get("microphone") == "lost")
        assert lost.json["reason"]
        home.messages.clear()
        microphone.plug_in()
        home.wait_for("/status", is_listening)
        microphone.play(as_wave("ada_right_phrase", tmp_path))
        assert home.wait_for("/decision").json["decision"] == "granted"
        home.messages.clear()
        microphone.freeze()
        lost = home.wait_for("/status", lambda s: s.get("microphone") == "lost")
        assert "delivered nothing" in lost.json["reason"]
        home.messages.clear()
        microphone.thaw()
        home.wait_for("/status", is_listening)
        # It ends also while nothing answers.
        microphone.freeze()
        broker.freeze()
        try:
            stop(service)
        finally:
            microphone.thaw()
            broker.thaw()


def test_starts_without_a_microphone_and_says_so(broker: Broker, tmp_path: Path) -> None:
    # No sound server and no device: ALSA's default leads nowhere.
    configuration = tmp_path / "alsa.conf"
    configuration.write_text("pcm.!default { type null_and_void }\n")
    environment = {**os.environ, "ALSA_CONFIG_PATH": str(configuration)}
    house = House(tmp_path, broker, environment)
    with Subscriber(broker) as home:
        service = house.start()
        try:
            status = home.wait_for("/status", lambda s: s.get("microphone") == "lost")
            assert status.json["state"] == "online"
            assert status.json["reason"]
        finally:
            stop(service)


def test_hears_of_an_enrollment_while_it_runs(broker: Broker, tmp_path: Path) -> None:
    house = House(tmp_path, broker, dict(os.environ))
    with Subscriber(broker) as home:
        service = house.start("--input", "-")
        try:
            assert service.stdin is not None
            feed(service, np.zeros(16_000))
            home.wait_for("/status", lambda s: s.get("enrolled") == 0)
            speak(service, "ada_right_phrase")
            assert home.wait_for("/decision").json["reason"] == "nobody_enrolled"
            house.enroll_ada()
            home.wait_for("/status", lambda s: s.get("enrolled") == 1)
            speak(service, "ada_right_phrase")
            granted = home.wait_for("/decision", lambda d: d["decision"] == "granted").json
            assert granted["name"] == "Ada"
            home.messages.clear()
            assert house.run("profiles", "delete", "Ada", "--yes").returncode == 0
            home.wait_for("/status", lambda s: s.get("enrolled") == 0)
            speak(service, "ada_right_phrase")
            assert home.wait_for("/decision").json["reason"] == "nobody_enrolled"
        finally:
            stop(service)


def test_nobody_opens_while_the_store_cannot_be_read(broker: Broker, tmp_path: Path) -> None:
    house = House(tmp_path, broker, dict(os.environ))
    house.enroll_ada()
    store = tmp_path / "state" / "signatures.sqlite"
    good = store.read_bytes()
    with Subscriber(broker) as home:
        service = house.start("--input", "-")
        try:
            feed(service, np.zeros(16_000))
            home.wait_for("/status", lambda s: s.get("enrolled") == 1)
            store.write_bytes(b"not a store at all" * 1000)
            broken = home.wait_for("/status", lambda s: "problem" in s)
            assert "signatures.sqlite" in broken.json["problem"]
            speak(service, "ada_right_phrase")
            assert home.wait_for("/decision").json["reason"] == "nobody_enrolled"
            home.messages.clear()
            replacement = tmp_path / "state" / "backup"
            replacement.write_bytes(good)
            replacement.replace(store)
            home.wait_for("/status", lambda s: s.get("enrolled") == 1 and "problem" not in s)
            speak(service, "ada_right_phrase")
            assert home.wait_for("/decision").json["decision"] == "granted"
        finally:
            stop(service)


@pytest.mark.parametrize("fault", ["the disk is full", "read-only"])
def test_a_disk_that_cannot_be_written_at_the_start_keeps_nobody_out(
    broker: Broker, tmp_path: Path, small_disk: Path, fault: str
) -> None:
    house = House(tmp_path, broker, dict(os.environ), state_directory=str(small_disk / "state"))
    house.enroll_ada()
    if fault == "read-only":
        subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    else:
        with contextlib.suppress(OSError), (small_disk / "fill").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1024))
    with Subscriber(broker) as home:
        service = house.start("--input", "-")
        try:
            feed(service, np.zeros(16_000))
            status = home.wait_for("/status", lambda s: "audit_problem" in s)
            assert fault in status.json["state_problem"]
            assert "device.sqlite" in status.json["state_problem"]
            speak(service, "ada_right_phrase")
            granted = home.wait_for("/decision").json
            assert (granted["decision"], granted["name"]) == ("granted", "Ada")
            assert granted["counter"] > 1_700_000_000_000
            if fault == "the disk is full":
                (small_disk / "fill").unlink()
                home.wait_for("/status", lambda s: not {"audit_problem", "state_problem"} & set(s))
        finally:
            stop(service)


def test_a_lost_file_and_an_unknown_time_are_told_and_recorded(
    broker: Broker, tmp_path: Path
) -> None:
    house = House(tmp_path, broker, dict(os.environ))
    house.enroll_ada()
    recording = str(DEMO / "ada_right_phrase.flac")
    for _ in range(2):
        assert house.run("run", "--input", recording).returncode == 0
    (tmp_path / "state" / "device.sqlite").unlink()
    with closing(DeviceState(tmp_path / "state")) as state:
        state.put(LATEST_KEY, "4102444800.0")  # 2100: the clock is behind
    with Subscriber(broker) as home:
        service = house.start("--input", "-")
        try:
            feed(service, np.zeros(16_000))
            status = home.wait_for("/status", lambda s: "audit_head" in s or "state_problem" in s)
            assert status.json["state_problem"].startswith("device.sqlite was removed")
            assert "but it was 2100-01-01" in status.json["clock_problem"]
            assert house.run("access", "clock", "--accept").returncode == 0
            home.wait_for("/status", lambda s: "clock_problem" not in s and "state_problem" in s)
        finally:
            stop(service)
    shown = json.loads(house.run("audit", "show", "--json").stdout)["entries"]
    told = [(row["kind"], row["detail"]) for row in shown if row["kind"] in ("clock", "rollback")]
    assert told[1:] == [
        ("rollback", {"file": "device.sqlite"}),
        ("clock", {"known": True, "problem": None}),
    ]
    kind, detail = told[0]
    assert (kind, detail["known"]) == ("clock", False)


@pytest.mark.runtime
def test_a_file_goes_in_and_decisions_come_out_without_a_broker(tmp_path: Path) -> None:
    with Broker(tmp_path / "broker") as broker:
        house = House(tmp_path, broker, dict(os.environ))
        house.enroll_ada()
    # The broker is gone: decisions are still made, and the service still ends by itself.
    done = house.spawn("run", "--json", "--input", str(DEMO / "ada_right_phrase.flac"))
    assert done.returncode == 0, done.stderr
    decisions = [json.loads(line) for line in done.stdout.splitlines()]
    assert [decision["reason"] for decision in decisions] == ["recognized"]
    assert "cannot use the broker" in done.stderr


def test_ends_while_another_process_holds_the_store(broker: Broker, tmp_path: Path) -> None:
    house = House(tmp_path, broker, dict(os.environ))
    house.enroll_ada()
    with Subscriber(broker) as home:
        service = house.start("--input", "-")
        feed(service, np.zeros(16_000))
        home.wait_for("/status", lambda s: s.get("enrolled") == 1)
        with closing(sqlite3.connect(tmp_path / "state" / "signatures.sqlite")) as other:
            other.execute("BEGIN EXCLUSIVE")
            home.wait_for("/status", lambda s: "problem" in s)
            stop(service)


def test_a_decision_that_comes_late_is_dropped(tmp_path: Path) -> None:
    class Backlog(FileSource):
        """A recording that was heard half a minute ago, when nobody had time for it."""

        def blocks(self) -> Iterator[AudioBlock]:
            for block in super().blocks():
                yield replace(block, captured_at=block.captured_at - 30.0)

    config = Config(
        access=AccessConfig(decision_lifetime_s=25.0),
        mqtt=MqttConfig(enabled=False),
        state_directory=tmp_path,
    )
    decisions: list[AccessDecision] = []
    recording = DEMO / "ada_right_phrase.flac"
    for source in (FileSource(recording), Backlog(recording)):
        build_service(config, source=source, on_decision=decisions.append).run()
    assert len(decisions) == 1


def test_observers_see_a_decision_before_the_next_tick(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decided = threading.Event()
    seen: list[bool] = []

    class Watching(Observer):
        def decided(self, judgment: Judgment) -> None:
            decided.set()

    class Open(FileSource):
        """A recording after which the stream goes on until the decision was seen."""

        def blocks(self) -> Iterator[AudioBlock]:
            yield from super().blocks()
            seen.append(decided.wait(PATIENCE))

    monkeypatch.setattr("edge.service.service._TICK_S", 3600.0)
    monkeypatch.setattr("edge.service.build._observers", lambda *_: [Watching()])
    samples, rate = soundfile.read(DEMO / "ada_right_phrase.flac")
    soundfile.write(tmp_path / "said.wav", np.concatenate((samples, np.zeros(2 * rate))), rate)
    config = Config(mqtt=MqttConfig(enabled=False), state_directory=tmp_path / "state")
    build_service(config, source=Open(tmp_path / "said.wav")).run()
    assert seen == [True]
