"""The server for assistants: whose an utterance is, what is shown of it, and what it asks for."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import cast

import pytest

from edge.assistants.events import MOST_HEADER_BYTES, BadEvent, Wire
from edge.assistants.publishing import nobody, of_assistant, spoken_in
from edge.cli.main import main
from edge.config import Config
from edge.config.settings import HomeAssistantConfig, MqttConfig
from edge.mqtt import discovery
from edge.recognition.turns import Turn
from edge.types import Confidence, SpeakerMatch


def turn(number: int, start_s: float, end_s: float, name: str | None = None) -> Turn:
    speaker = SpeakerMatch(name, name, 0.5, 20.0, 16.0) if name else None
    return Turn(number, start_s, end_s, speaker, Confidence.HIGH)


@pytest.mark.parametrize(
    ("turns", "name"),
    [
        ([], None),
        ([turn(1, 0.0, 2.0, "Ada")], "Ada"),
        ([turn(1, 0.0, 2.0)], None),
        ([turn(1, 0.0, 2.0, "Ada"), turn(2, 2.0, 3.0)], "Ada"),
        ([turn(1, 0.0, 2.0, "Ada"), turn(2, 2.0, 5.0, "Robin")], "Robin"),
        # A television that speaks longer than she does.
        ([turn(1, 0.0, 2.0, "Ada"), turn(2, 2.0, 3.5), turn(3, 8.0, 9.5)], None),
        ([turn(1, 0.0, 1.5), turn(2, 1.5, 3.0, "Ada"), turn(3, 9.0, 10.0, "Ada")], "Ada"),
    ],
)
def test_whose_an_utterance_is(turns: list[Turn], name: str | None) -> None:
    spoken = spoken_in(turns, 0.0)
    assert spoken.name == spoken.profile_id == name
    told = sum(each["length_s"] for each in spoken.summary["speakers"])
    assert told + spoken.summary["unknown_s"] == sum(turn.end_s - turn.start_s for turn in turns)


def test_an_utterance_that_is_learned_is_nobody_s() -> None:
    assert nobody(learned=True).learned
    assert nobody(0.0).summary == spoken_in([], 0.0).summary


def test_an_assistant_has_the_device_s_place() -> None:
    config = of_assistant(Config(mqtt=MqttConfig(client_id="door")), "kitchen", "Kitchen")
    assert (config.device.id, config.device.name) == ("kitchen", "Kitchen")
    assert config.mqtt.client_id == "door-kitchen"
    assert of_assistant(Config(), "kitchen", "Kitchen").mqtt.client_id is None


def test_its_entities() -> None:
    home = HomeAssistantConfig(discovery=True)
    config = of_assistant(Config(homeassistant=home), "kitchen", "Kitchen")
    texts = discovery.announcement_of_assistant(config)
    shown = {topic.split("/")[1] + "." + topic.split("/")[3] for topic in texts if texts[topic]}
    assert shown == {"sensor.speaker", "event.utterance", "sensor.enrollment"}
    hidden = {topic.split("/")[3] for topic in texts if not texts[topic]}
    assert hidden == {"enroll_person", "enroll", "enroll_cancel"}
    assert {topic.split("/")[2] for topic in texts} == {"edge_voice_kitchen"}


def test_what_has_to_be_installed(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "wyoming", None)
    assert main(["wyoming", "--config", str(config)]) == 3
    assert "pip install 'edge-voice[wyoming]'" in capsys.readouterr().err


def test_what_has_to_be_set(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["wyoming", "--config", str(config)]) == 2
    assert "there is no assistant: add one to wyoming.assistants" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--short", "--again", "--choose-microphone", "--device=1"])
def test_what_a_satellite_cannot_do(
    config: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    ways = [["--voice", option], []]
    for way, told in zip(ways, [option.partition("=")[0], "--assistant needs --voice"]):
        command = ["enroll", "Ada", "--assistant", "kitchen", *way, "--config", str(config)]
        assert main(command) == 2
        assert told in capsys.readouterr().err


class Silent:
    """The other half of a connection that nobody writes to."""


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (b"x" * (MOST_HEADER_BYTES + 2), "longer than"),
        (b'{"type": "x", "payload_length": 1048577}\n', "payload_length is not 0 to 1048576"),
        (b'{"type": "x", "data_length": 1048577}\n', "data_length is not 0 to 1048576"),
        (b'{"type": "x", "data_length": 1.0}\n1', "data_length is not 0 to"),
        (b'{"type": "x", "payload_length": 2}\n1', "ends in the middle"),
        (b'{"type": "x", "data_length": 1}\n1', "not a JSON object"),
        (b"{", "ends in the middle"),
        (b"\n", "not JSON"),
    ],
)
def test_what_is_no_event(sent: bytes, told: str) -> None:
    async def read() -> None:
        reader = asyncio.StreamReader(limit=MOST_HEADER_BYTES)
        reader.feed_data(sent)
        reader.feed_eof()
        await Wire(reader, cast("asyncio.StreamWriter", Silent())).read(None)

    with pytest.raises(BadEvent, match=told):
        asyncio.run(read())
