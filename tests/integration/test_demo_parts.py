"""The demo's parts: its broker, its subscriber, its recordings and how they are played."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import paho.mqtt.client as paho
import pytest
import soundfile
from paho.mqtt.enums import CallbackAPIVersion

from edge.audio.blocks import blocks_of
from edge.audio.end_pointing import EndPointer, EndPointSettings
from edge.audio.utterance import utterance_of
from edge.cli.main import main
from edge.config import Config, DeviceConfig, MqttConfig
from edge.demo.parts import DecisionSubscriber, DemoBroker, Player, is_online
from edge.demo.show import DemoOutcome, Expectation, Result
from edge.demo.story import load_play
from edge.errors import EXIT_ENVIRONMENT, EnvironmentFault
from edge.mqtt.topics import OFFLINE, Topics
from edge.resources import demo_directory
from edge.types import SAMPLE_RATE
from tests.integration.waiting import PATIENCE, settled

REPOSITORY = Path(__file__).resolve().parents[2]
TOPICS = Topics("edge-voice", "demo-door")

needs_amqtt = pytest.mark.skipif(
    importlib.util.find_spec("amqtt") is None, reason="amqtt is not installed"
)


def client_of(name: str) -> paho.Client:
    return paho.Client(CallbackAPIVersion.VERSION2, client_id=name)


def config_of(broker: DemoBroker) -> Config:
    mqtt = MqttConfig(host=broker.host, port=broker.port)
    return Config(mqtt=mqtt, device=DeviceConfig(id="demo-door"))


@needs_amqtt
def test_broker_carries_status_will_and_decisions() -> None:
    with DemoBroker() as broker, DecisionSubscriber(config_of(broker)) as subscriber:
        device = client_of("device")
        device.will_set(TOPICS.status, OFFLINE, qos=1, retain=True)
        device.connect(broker.host, broker.port)
        device.loop_start()
        device.publish(TOPICS.status, '{"state":"online"}', qos=1, retain=True)
        assert subscriber.wait_for_status(is_online, PATIENCE, lambda: True)

        for junk in ("no JSON", "[]", ""):
            device.publish(TOPICS.decision, junk, qos=1)
        device.publish(TOPICS.decision, '{"decision":"denied"}', qos=1).wait_for_publish(PATIENCE)
        arrival = subscriber.next_decision(PATIENCE)
        assert arrival is not None
        assert arrival[1] == {"decision": "denied"}
        assert subscriber.skip_decisions() == 0

        line: Any = device.socket()
        line.shutdown(socket.SHUT_RDWR)  # no goodbye: the broker speaks the will
        device.loop_stop()
        assert subscriber.wait_for_status(
            lambda status: not is_online(status), PATIENCE, lambda: True
        )
        assert not subscriber.wait_for_status(is_online, 60.0, lambda: False)


@needs_amqtt
def test_broker_is_gone_afterwards() -> None:
    with DemoBroker() as broker:
        guest = client_of("guest")
        guest.connect(broker.host, broker.port)
        guest.loop_start()
    guest.loop_stop()
    assert "demo-broker" not in {thread.name for thread in threading.enumerate()}
    with pytest.raises(EnvironmentFault, match="nothing listens there"):
        DecisionSubscriber(config_of(broker)).__enter__()


def test_demo_without_its_broker_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "amqtt.broker", None)
    assert main(["demo"]) == EXIT_ENVIRONMENT
    out, error = capsys.readouterr()
    assert out == ""
    assert error.count("\n") == 1
    assert "MQTT broker is not installed" in error
    assert "pip install 'edge-voice[demo]'" in error


def test_recordings_are_small_and_tell_the_whole_story() -> None:
    files = list(demo_directory().iterdir())
    assert sum(file.stat().st_size for file in files) < 1_000_000
    named = json.loads((demo_directory() / "manifest.json").read_text("utf-8"))["recordings"]
    assert {file.name for file in files} == {one["file"] for one in named} | {"manifest.json"}
    for file in files:
        if file.suffix == ".flac":
            found = soundfile.info(file)
            assert (found.samplerate, found.channels) == (SAMPLE_RATE, 1)

    play = load_play()
    assert [len(person.repetitions) for person in play.people] == [3, 3]
    assert len({person.phrase for person in play.people}) == 2
    enrolled = {len(one) for person in play.people for one in person.repetitions}
    assert not enrolled & {len(scene.samples) for scene in play.scenes}
    reasons = {scene.reason for scene in play.scenes}
    assert reasons == {"recognized", "wrong_phrase", "unknown_speaker", "no_match"}
    assert {scene.name for scene in play.scenes if scene.decision == "granted"} == {
        person.name for person in play.people
    }


def test_every_recording_is_one_good_utterance() -> None:
    play = load_play()
    for person in play.people:
        for samples in person.repetitions:
            assert utterance_of(samples).quality.net_speech_s > 1.5
    for scene in play.scenes:
        pointer = EndPointer(EndPointSettings())
        quiet = np.full(SAMPLE_RATE // 2, 1e-4, np.float32)
        samples = np.concatenate([scene.samples, quiet])
        found = [cut for block in blocks_of(samples) for cut in pointer.feed(block)]
        assert len(found) == 1, scene.title
        # What the demo takes for the end of speech is what it measures the answer from.
        assert found[0].end_s == pytest.approx(scene.speech_end_s, abs=0.2)


def test_damaged_manifest_is_one_line(tmp_path: Path) -> None:
    for content in ("", "[]", '{"people": []}', '{"people": [{}], "recordings": [{}]}'):
        (tmp_path / "manifest.json").write_text(content)
        with pytest.raises(EnvironmentFault, match=r"manifest\.json: cannot be used"):
            load_play(tmp_path)
    with pytest.raises(EnvironmentFault, match=r"manifest\.json: cannot be used"):
        load_play(tmp_path / "nowhere")


@pytest.mark.skipif(shutil.which("flite") is None, reason="flite makes the recordings")
def test_recordings_are_what_the_tool_makes(tmp_path: Path) -> None:
    place = REPOSITORY / "tools" / "make_demo_audio.py"
    spec = importlib.util.spec_from_file_location("make_demo_audio", place)
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = tool
    spec.loader.exec_module(tool)
    assert tool.main(["--output", str(tmp_path)]) == 0
    shipped = {file.name: file for file in demo_directory().iterdir()}
    made = {file.name: file for file in tmp_path.iterdir()}
    assert made.keys() == shipped.keys()
    for name, file in made.items():
        if name == "manifest.json":
            assert file.read_text() == shipped[name].read_text()
            continue
        ours, _ = soundfile.read(file, dtype="int16")
        theirs, _ = soundfile.read(shipped[name], dtype="int16")
        # Another processor may round differently.
        np.testing.assert_allclose(ours.astype(int), theirs.astype(int), atol=2)


def test_player_keeps_the_pace_of_a_microphone() -> None:
    reading, writing = os.pipe()
    heard = bytearray()

    def listen() -> None:
        while chunk := os.read(reading, 4096):
            heard.extend(chunk)

    ear = threading.Thread(target=listen, daemon=True)
    ear.start()
    tone = np.full(SAMPLE_RATE // 2 + 7, 0.5, np.float32)
    with os.fdopen(writing, "wb") as sink, Player(sink) as player:
        assert settled(lambda: heard)
        before = time.monotonic()
        begun = player.play(tone)
        took = time.monotonic() - before
    ear.join(PATIENCE)
    os.close(reading)
    assert begun is not None
    # In time with the last sample heard, give or take a block; a busy machine may be late.
    assert took >= 0.45
    assert before - 0.1 < begun < before + took
    samples = np.frombuffer(bytes(heard), "<i2")
    loud = np.flatnonzero(samples == 16383)
    assert len(loud) == len(tone)
    assert loud[-1] - loud[0] == len(tone) - 1
    room = np.delete(samples, loud)
    assert 0 < np.abs(room).mean() < 100


def test_player_notices_that_nobody_listens() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    sink = os.fdopen(writing, "wb", buffering=0)
    with Player(sink) as player:
        assert player.play(np.zeros(SAMPLE_RATE, np.float32)) is None
        assert player.broken
    sink.close()


GRANTED = Expectation("Ada says her phrase", "words", "granted", "recognized", "Ada")


@pytest.mark.parametrize(
    ("decision", "right"),
    [
        ({"decision": "granted", "reason": "recognized", "name": "Ada"}, True),
        ({"decision": "granted", "reason": "recognized", "name": "Robin"}, False),
        ({"decision": "granted", "reason": "recognized"}, False),
        ({"decision": "denied", "reason": "recognized", "name": "Ada"}, False),
        ({"decision": "denied", "reason": "wrong_phrase", "name": "Ada"}, False),
        ({}, False),
        (None, False),
    ],
)
def test_only_the_expected_decision_counts(decision: Any, right: bool) -> None:
    result = Result(GRANTED, decision, 0.8)
    assert result.as_expected is right
    assert DemoOutcome((result,), 0, 0.6).as_expected is right
    assert not DemoOutcome((result,), 1, 0.6).as_expected
    assert json.loads(json.dumps(DemoOutcome((result,), 0, 0.6).as_dict()))["passed"] == int(right)
