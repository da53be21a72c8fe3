"""Assist with `edge-voice wyoming` before a real speech-to-text: the text, the person, the gate.

What docs/assistants.md says to paste is pasted.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest

from tests.home_assistant.assist import Assist, Run
from tests.home_assistant.home_assistant import REPOSITORY, HomeAssistant
from tests.home_assistant.language_model import ANSWER, MODEL, LanguageModel
from tests.integration.assistants import Between
from tests.integration.broker import Broker, Subscriber, connected, free_port, send
from tests.integration.house import House
from tests.integration.pocketsphinx import PocketSphinx
from tests.integration.talkers import (
    ADA,
    GRACE,
    READ,
    ROBIN,
    STRANGER,
    enroll_talkers,
    sound_of,
)
from tests.integration.waiting import settled

PAGE = (REPOSITORY / "docs/assistants.md").read_text(encoding="utf-8")
SPEAKER = "sensor.edge_voice_{}_speaker"
UTTERANCE = "event.edge_voice_kitchen_utterance"
COMMAND = "turn on the kitchen light"


@dataclass
class Rooms:
    """Assistants by room, each of its own kind, and a pipeline for each."""

    home: HomeAssistant
    house: House
    program: PocketSphinx
    ports: dict[str, int]
    pipelines: dict[str, Assist] = field(default_factory=dict)

    def say(self, room: str, text: str, voice: str) -> Run:
        return self.pipelines[room].say(sound_of(text, voice))

    def speaker(self, room: str) -> str | None:
        """Who spoke there last, as Home Assistant has it now."""
        state = self.home.state(SPEAKER.format(room))
        return None if state is None else str(state["state"])


@pytest.fixture(scope="module")
def rooms(
    running: HomeAssistant, broker: Broker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Rooms]:
    folder = tmp_path_factory.mktemp("rooms")
    kinds: dict[str, dict[str, Any]] = {
        "kitchen": {"name": "Kitchen"},
        "hall": {"gate": "enrolled"},
        "study": {"prefix": True},
        "bedroom": {},
    }
    with ExitStack() as after:
        program = after.enter_context(PocketSphinx(folder / "speech-to-text"))
        assistants = {
            room: {"port": free_port(), "speech_to_text": program.place, **kind}
            for room, kind in kinds.items()
        }
        house = House(
            folder,
            broker,
            dict(os.environ),
            wyoming={"assistants": assistants},
            homeassistant={"discovery": True},
            commands={"unsigned": {"enroll_person": True, "enroll": True, "enroll_cancel": True}},
        )
        enroll_talkers(house)
        listener = after.enter_context(Subscriber(broker, "homeassistant/#"))
        after.callback(lambda: _forget(running, broker, listener))
        between = Between(house)
        after.callback(between.stop)
        made = Rooms(running, house, program, between.ports)
        for room in kinds:
            made.pipelines[room] = Assist(running, room, between.ports[room])
            after.callback(made.pipelines[room].remove)
            running.wait_for(SPEAKER.format(room), "unknown")
        yield made


def _forget(home: HomeAssistant, broker: Broker, listener: Subscriber) -> None:
    with connected(broker) as client:
        for message in listener.on("/config"):
            send(client, message.topic, b"", retain=True)
        assert settled(lambda: home.template("integration_entities('mqtt')") == [])


@pytest.fixture
def automated(home: HomeAssistant) -> Iterator[Callable[[str], None]]:
    """Pastes the automation of the page with an alias."""

    def paste(alias: str) -> None:
        blocks = re.findall(r"^```yaml\n(- alias:.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
        (block,) = (block for block in blocks if alias in block.splitlines()[0])
        home.automate(block)

    yield paste
    home.automate("[]")


def test_the_transcript_arrives_unchanged(home: HomeAssistant, rooms: Rooms) -> None:
    alone = Assist(home, "alone", rooms.program.port)
    try:
        for text in ("what time is it", COMMAND):
            for voice in (ADA, STRANGER):
                itself = alone.say(sound_of(text, voice))
                assert itself.text == text
                through = rooms.say("kitchen", text, voice)
                assert through.text == text
                assert through.order == itself.order
        assert re.fullmatch(
            r"\d+:\d\d [AP]M", rooms.say("kitchen", "what time is it", ROBIN).answer
        )
    finally:
        alone.remove()


def test_the_person_is_known_before_the_text_is_acted_on(home: HomeAssistant, rooms: Rooms) -> None:
    for voice, name in 3 * ((ADA, "Ada"), (STRANGER, "unknown voice"), (ROBIN, "Robin")):
        states = home.watch("state_changed")
        run = rooms.say("kitchen", COMMAND, voice)
        told = states.wait_for(entity_id=SPEAKER.format("kitchen"))["new_state"]
        assert told["state"] == name
        (intent,) = (event for event in run.events if event["type"] == "intent-start")
        assert _time(told["last_updated"]) < _time(intent["timestamp"])


def test_an_automation_by_person(
    home: HomeAssistant, rooms: Rooms, automated: Callable[[str], None]
) -> None:
    automated("Good night")
    home.call("light.turn_on", "light.robins_room")
    home.wait_for("light.robins_room", "on")
    assert (
        rooms.say("kitchen", "good night", ROBIN).answer == "Sleep well, Robin. Your light is off."
    )
    home.wait_for("light.robins_room", "off")
    home.call("light.turn_on", "light.robins_room")
    assert rooms.say("kitchen", "good night", STRANGER).answer.endswith("All lights are off.")
    home.wait_for("light.robins_room", "off")
    assert rooms.say("kitchen", COMMAND, ADA).text == COMMAND
    assert rooms.speaker("kitchen") == "Ada"


def test_somebody_unknown_is_reported(
    home: HomeAssistant, rooms: Rooms, automated: Callable[[str], None]
) -> None:
    automated("unknown voice")
    calls = home.watch("call_service")
    rooms.say("kitchen", COMMAND, ADA)
    rooms.say("kitchen", COMMAND, STRANGER)
    home.wait_for(UTTERANCE, lambda got: got["attributes"]["event_type"] == "unknown")
    told = calls.wait_for(domain="persistent_notification", service="create")
    assert told["service_data"]["message"] == "Somebody unknown speaks to the assistant."
    rooms.say("kitchen", COMMAND, ROBIN)
    home.wait_for(UTTERANCE, lambda got: got["attributes"]["event_type"] == "known")
    assert len(calls.of(domain="persistent_notification", service="create")) == 1


def test_the_gate_keeps_a_stranger_out(home: HomeAssistant, rooms: Rooms) -> None:
    kept_out = rooms.say("hall", COMMAND, STRANGER)
    assert kept_out.error == "stt-no-text-recognized"
    assert kept_out.text is None
    assert "intent-start" not in kept_out.order
    assert home.wait_for(SPEAKER.format("hall"), "unknown voice")
    assert rooms.say("hall", COMMAND, ROBIN).text == COMMAND
    assert home.wait_for(SPEAKER.format("hall"), "Robin")


def test_a_language_model_is_told_who_speaks(home: HomeAssistant, rooms: Rooms) -> None:
    plain, by_satellite = re.findall(r"^```jinja\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    with LanguageModel() as model:
        entry = home.add("ollama", url=model.address, model=MODEL)
        home.configure(entry, prompt=plain, llm_hass_api="none")
        agent = home.entity_of(entry, "conversation")
        kitchen = Assist(home, "with a model", rooms.ports["kitchen"], agent)
        study = Assist(home, "with prefixes", rooms.ports["study"], agent)
        try:
            for voice, name in ((ADA, "Ada"), (STRANGER, "unknown voice"), (ROBIN, "Robin")):
                assert kitchen.say(sound_of(COMMAND, voice)).answer == ANSWER
                assert model.question == COMMAND
                assert f"The person who speaks was recognized by voice: {name}." in (
                    model.instructions
                )
            assert study.say(sound_of(COMMAND, ADA)).text == f"Ada: {COMMAND}"
            assert model.question == f"Ada: {COMMAND}"
            assert study.say(sound_of(COMMAND, STRANGER)).text == COMMAND

            device = home.template(f"device_id('{SPEAKER.format('kitchen')}')")
            named = by_satellite.replace("DEVICE-ID-OF-THE-KITCHEN", device)
            home.configure(entry, prompt=named + "{{ speaker.state }}!", llm_hass_api="none")
            kitchen.say(sound_of(COMMAND, ADA), device)
            assert model.instructions.rstrip().endswith("Ada!")
        finally:
            kitchen.remove()
            study.remove()
            home.remove(entry)


def test_somebody_is_enrolled_through_a_satellite(home: HomeAssistant, rooms: Rooms) -> None:
    assert rooms.say("bedroom", COMMAND, GRACE).text == COMMAND
    home.wait_for(SPEAKER.format("bedroom"), "unknown voice")
    home.call("text.set_value", "text.edge_voice_bedroom_enroll_person", value="Grace")
    home.wait_for("text.edge_voice_bedroom_enroll_person", "Grace")
    home.call("button.press", "button.edge_voice_bedroom_enroll")
    progress = "sensor.edge_voice_bedroom_enrollment"
    home.wait_for(progress, "started")
    before = 0
    for text in READ:
        read = rooms.say("bedroom", text, GRACE)
        assert read.error == "stt-no-text-recognized", "it is learned and not obeyed"
        told = home.wait_for(
            progress, lambda got, before=before: got["attributes"]["done"] > before
        )
        before = told["attributes"]["done"]
        if told["state"] == "unconfirmed":
            break
    home.wait_for(progress, "unconfirmed")
    assert rooms.say("bedroom", COMMAND, GRACE).text == COMMAND
    home.wait_for(SPEAKER.format("bedroom"), "unknown voice")
    done = rooms.house.run("profiles", "confirm", "Grace")
    assert done.returncode == 0, done.stderr
    assert rooms.say("bedroom", COMMAND, GRACE).text == COMMAND
    home.wait_for(SPEAKER.format("bedroom"), "Grace")


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
