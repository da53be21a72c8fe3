"""The entities of Home Assistant, and what the page about them says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from edge.cli.main import main
from edge.config import (
    CommandsConfig,
    Config,
    DeviceConfig,
    HomeAssistantConfig,
    IdentificationConfig,
    UnsignedConfig,
    load_config,
)
from edge.mqtt import discovery
from edge.mqtt.commands import read_unsigned
from edge.mqtt.link import Incoming
from edge.mqtt.topics import Topics

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "docs" / "home-assistant.md").read_text(encoding="utf-8")
COMMANDS = tuple(item.name for item in fields(UnsignedConfig))
ALL = Config(
    identification=IdentificationConfig(enabled=True),
    commands=CommandsConfig(unsigned=UnsignedConfig(*[True] * len(COMMANDS))),
)
ADA = ("8bcf84cc-405d-47a6-9747-388267218030", "Ada")
ENTITY = re.compile(r"\b(?:event|sensor|binary_sensor|switch|button|text|lock)\.[a-z0-9_]+")
# What its MQTT integration takes in a device and in an origin since 2023.8; more is an error there.
DEVICE = {"identifiers", "name", "manufacturer", "model", "sw_version"}


def payloads(config: Config = ALL) -> dict[str, dict[str, Any]]:
    return {
        discovery.entity_id(config.device.id, entity): discovery.payload(config, entity)
        for entity in discovery.entities(config)
    }


def test_every_entity_is_whole_and_one_of_its_kind() -> None:
    found = payloads()
    assert len(found) == len(discovery.entities(ALL)) == 19
    assert len({content["unique_id"] for content in found.values()}) == 19
    topics = Topics("edge-voice", "front-door")
    for name, content in found.items():
        assert content["default_entity_id"] == name
        assert name.split(".")[1:] == [content["object_id"]]
        assert content["availability_topic"] == topics.status
        assert set(content["device"]) == DEVICE
        assert set(content["origin"]) == {"name", "sw_version"}
        assert not content["name"].startswith(ALL.device.name)  # it warns of that
        assert json.loads(json.dumps(content)) == content


DECISION = {"state_topic": "edge-voice/front-door/decision", "qos": 1}
SHOWN = {"state_topic": "edge-voice/front-door/status", "qos": 1}
ATTRIBUTES = {"json_attributes_topic": "edge-voice/front-door/status"}
DIAGNOSTIC = {"entity_category": "diagnostic"}
SETTING = {"entity_category": "config"}


def pressed(name: str) -> dict[str, Any]:
    topic = f"edge-voice/front-door/set/{name}"
    return {"command_topic": topic, "payload_press": "PRESS", "qos": 1}


def test_what_each_entity_is() -> None:
    config = replace(ALL, homeassistant=HomeAssistantConfig(sound_interval_s=2.5))
    found = {
        f"{entity.component} {entity.object_id}": (
            entity.name,
            {key: value for key, value in entity.content.items() if "template" not in key},
        )
        for entity in discovery.entities(config)
    }
    assert found == {
        "event access": ("Access", {
            **DECISION, "event_types": ["granted", "denied", "challenge", "lockout"],
            "icon": "mdi:account-voice",
        }),
        "sensor last_person": ("Last person", {**DECISION, "icon": "mdi:account-check"}),
        "sensor confidence": ("Confidence", {**DECISION, "icon": "mdi:check-decagram-outline"}),
        "sensor speaker": ("Speaker", {
            "state_topic": "edge-voice/front-door/speaker",
            "json_attributes_topic": "edge-voice/front-door/speaker",
            "icon": "mdi:account-tie-voice",
        }),
        "event utterance": ("Utterance", {
            "state_topic": "edge-voice/front-door/utterance", "event_types": ["known", "unknown"],
            "icon": "mdi:account-tie-voice-outline",
        }),
        "switch identification": ("Identification", {
            **SHOWN, "command_topic": "edge-voice/front-door/set/identification",
            "icon": "mdi:account-search",
        }),
        "sensor enrolled": ("People enrolled", {
            **SHOWN, "state_class": "measurement", "icon": "mdi:account-group",
        }),
        "sensor sound_level": ("Sound level", {
            "state_topic": "edge-voice/front-door/sound", "unit_of_measurement": "dBFS",
            "state_class": "measurement", "suggested_display_precision": 0, "expire_after": 27,
            "icon": "mdi:volume-medium", **DIAGNOSTIC,
        }),
        "sensor microphone": ("Microphone", {
            **SHOWN, **ATTRIBUTES, "icon": "mdi:microphone", **DIAGNOSTIC,
        }),
        "sensor enrollment": ("Enrollment", {**SHOWN, **ATTRIBUTES, "icon": "mdi:account-plus"}),
        "binary_sensor problem": ("Problem", {
            **SHOWN, **ATTRIBUTES, "device_class": "problem", **DIAGNOSTIC,
        }),
        "binary_sensor lockout": ("Locked out", {
            **SHOWN, **ATTRIBUTES, "icon": "mdi:account-cancel",
        }),
        "switch listening": ("Listening", {
            **SHOWN, "command_topic": "edge-voice/front-door/set/listening",
            "icon": "mdi:ear-hearing",
        }),
        "text enroll_person": ("Person to enroll", {
            **SHOWN, "command_topic": "edge-voice/front-door/set/enroll_person", "max": 64,
            "icon": "mdi:account-edit", **SETTING,
        }),
        "button enroll": ("Start enrollment", {
            **pressed("enroll"), "icon": "mdi:account-plus", **SETTING,
        }),
        "button enroll_cancel": ("Cancel enrollment", {
            **pressed("enroll_cancel"), "icon": "mdi:account-off", **SETTING,
        }),
        "button enroll_confirm": ("Confirm enrollment", {
            **pressed("enroll_confirm"), "icon": "mdi:account-check", **SETTING,
        }),
        "button lift_lockout": ("End lock-out", {
            **pressed("lift_lockout"), "icon": "mdi:lock-open-alert",
        }),
        "button lock_out": ("Lock everybody out", {
            **pressed("lock_out"), "icon": "mdi:lock-alert",
        }),
    }  # fmt: skip


GRANTED = {"decision": "granted", "reason": "recognized", "name": "Ada", "confidence": "high"}
WHO = {"profile_id": ADA[0], "confidence": "normal", "turn": 3, "length_s": 1.5}
SPEAKING = {"time": "2026-03-01T12:00:00.000Z", "state": "speaking", "name": "Ada", **WHO}
SPOKEN = {"started_at": "2026-03-01T12:00:00.000Z", "length_s": 2.0, "unknown_s": 0.0,
          "speakers": [{"name": "Ada"}]}  # fmt: skip
ONLINE = {"state": "online"}
STARTED = {"enrollment": {"state": "started"}}
WAITS = {"unconfirmed": [{"person": "Ada", "done": 3}]}
NOTHING = {"listening": None, "reason": None, "lost_samples": None, "discarded_utterances": None,
           "late_decisions": None}  # fmt: skip
NO_PROBLEM = {"problem": None, "audit_problem": None, "challenge_problem": None,
              "clock_problem": None, "state_problem": None,
              "microphone": None, "reason": None}  # fmt: skip
LATER = {"locked_out_until": "12:00", "lock_out_round": 2}


@pytest.mark.parametrize(
    ("object_id", "template", "message", "shown"),
    [
        ("access", "value", GRANTED, {**GRANTED, "event_type": "granted"}),
        ("access", "value", {**GRANTED, "reason": "x"}, ""),
        ("access", "value", {"decision": "denied", "reason": "x"},
         {"decision": "denied", "reason": "x", "event_type": "denied"}),
        ("access", "value", {"decision": "denied", "reason": "locked_out"},
         {"decision": "denied", "reason": "locked_out", "event_type": "lockout"}),
        ("access", "value", {"decision": "denied", "reason": "challenge_asked"},
         {"decision": "denied", "reason": "challenge_asked", "event_type": "challenge"}),
        ("access", "value", [GRANTED], ""),
        ("last_person", "value", {**GRANTED, "name": "x" * 129}, "x" * 128),
        ("last_person", "value", {"decision": "granted", "reason": "recognized"}, "unknown"),
        ("last_person", "value", {**GRANTED, "decision": "denied"}, "before"),
        ("last_person", "value", {**GRANTED, "reason": "x"}, "before"),
        ("last_person", "value", "granted", "before"),
        ("confidence", "value", GRANTED, "high"),
        ("speaker", "value", SPEAKING, "Ada"),
        ("speaker", "value", {**SPEAKING, "name": "x" * 129}, "x" * 128),
        ("speaker", "value", {**SPEAKING, "name": None}, "unknown voice"),
        ("speaker", "value", {"state": "silent"}, "nobody"),
        ("speaker", "value", {"state": "x", "name": "Ada"}, ""),
        ("speaker", "value", ["silent"], ""),
        ("speaker", "json_attributes", SPEAKING, WHO),
        ("speaker", "json_attributes", {"state": "silent"}, dict.fromkeys(WHO)),
        ("speaker", "json_attributes", [1], {}),
        ("utterance", "value", SPOKEN, {**SPOKEN, "event_type": "known"}),
        ("utterance", "value", {**SPOKEN, "speakers": []},
         {**SPOKEN, "speakers": [], "event_type": "unknown"}),
        ("utterance", "value", {"length_s": 1}, {"length_s": 1, "event_type": "unknown"}),
        ("utterance", "value", [SPOKEN], ""),
        ("identification", "value", {**ONLINE, "identifying": True}, "ON"),
        ("identification", "value", ONLINE, "OFF"),
        ("enrolled", "value", {**ONLINE, "enrolled": 3}, "3"),
        ("enrolled", "value", {**ONLINE, "enrolled": True}, "None"),
        ("enrolled", "value", {**ONLINE, "enrolled": "3"}, "None"),
        ("enrolled", "value", {"state": "offline", "enrolled": 3}, "None"),
        ("enrolled", "value", [3], "None"),
        ("sound_level", "value", {"level_dbfs": -40.5}, "-40.5"),
        ("microphone", "value", {**ONLINE, "microphone": "lost"}, "lost"),
        ("microphone", "value", {**ONLINE, "microphone": "listening"}, "listening"),
        ("microphone", "value", {**ONLINE, "microphone": "x"}, "unknown"),
        ("microphone", "json_attributes", {**ONLINE, "late_decisions": 1},
         {**NOTHING, "late_decisions": 1}),
        ("microphone", "json_attributes", {"state": "offline"}, {}),
        ("enrollment", "value", {**ONLINE, **STARTED}, "started"),
        ("enrollment", "value", {**ONLINE, "enrollment": {"state": "x" * 33}}, "x" * 32),
        ("enrollment", "value", {**ONLINE, "enrollment": {}}, "idle"),
        ("enrollment", "value", {**ONLINE, "enrollment": 1}, "idle"),
        ("enrollment", "value", {**ONLINE, **WAITS}, "unconfirmed"),
        ("enrollment", "value", {**ONLINE, **STARTED, **WAITS}, "started"),
        ("enrollment", "json_attributes", {**ONLINE, **STARTED},
         {"state": "started", "unconfirmed": []}),
        ("enrollment", "json_attributes", ONLINE, {"unconfirmed": []}),
        ("enrollment", "json_attributes", {**ONLINE, **WAITS}, WAITS),
        *(("problem", "value", {**ONLINE, name: "x"}, "ON") for name in discovery.PROBLEMS),
        ("problem", "value", {**ONLINE, "microphone": "lost"}, "ON"),
        ("problem", "value", {**ONLINE, "microphone": "listening"}, "OFF"),
        ("problem", "value", {"state": "offline", "problem": "x"}, "None"),
        ("problem", "json_attributes", {**ONLINE, "audit_problem": "x"},
         {**NO_PROBLEM, "audit_problem": "x"}),
        ("lockout", "value", {**ONLINE, "locked_out": True}, "ON"),
        ("lockout", "value", {**ONLINE, "locked_out": "yes"}, "OFF"),
        ("lockout", "json_attributes", {**ONLINE, **LATER}, LATER),
        ("listening", "value", {**ONLINE, "listening": True}, "ON"),
        ("listening", "value", ONLINE, "OFF"),
        ("enroll_person", "value", {**ONLINE, "enroll_person": "x" * 65}, "x" * 64),
        ("enroll_person", "value", {**ONLINE, "enroll_person": 1}, ""),
        ("enroll_person", "value", {"state": "offline", "enroll_person": "Ada"}, ""),
        *(("enroll", "availability", *each) for each in (
            (ONLINE, "online"), ({"state": "offline"}, "offline"), ({}, "offline"),
            (["online"], "offline"),
        )),
    ],
)  # fmt: skip
def test_what_the_templates_show(object_id: str, template: str, message: Any, shown: Any) -> None:
    sandbox = pytest.importorskip("jinja2.sandbox")
    place = sandbox.ImmutableSandboxedEnvironment()
    place.filters["to_json"] = json.dumps  # as in Home Assistant
    content = next(each for name, each in payloads().items() if name.endswith(f"door_{object_id}"))
    text = place.from_string(content[f"{template}_template"]).render(
        value_json=message, this={"state": "before"}
    )
    assert (json.loads(text) if isinstance(shown, dict) else text) == shown


def test_what_an_entity_of_a_person_is() -> None:
    config = replace(ALL, identification=IdentificationConfig(enabled=True, presence_s=60.4))
    ((topic, text),) = discovery.announcement_of_people(config, [ADA]).items()
    assert topic == f"homeassistant/binary_sensor/edge_voice_front-door/present_{ADA[0]}/config"
    assert discovery.is_of(topic, "homeassistant", "front-door")
    content = json.loads(text)
    assert content["name"] == "Ada"
    assert content["unique_id"] == f"edge_voice_front-door_present_{ADA[0]}"
    assert content["default_entity_id"] == "binary_sensor.edge_voice_front_door_present_ada"
    assert content["state_topic"] == "edge-voice/front-door/speaker"
    assert (content["device_class"], content["off_delay"]) == ("occupancy", 60)
    sandbox = pytest.importorskip("jinja2.sandbox")
    template = sandbox.ImmutableSandboxedEnvironment().from_string(content["value_template"])
    # What renders to nothing, Home Assistant ignores: it does not end the presence.
    for message, shown in (
        (SPEAKING, "ON"), ({**SPEAKING, "profile_id": "x"}, ""), ({"state": "silent"}, ""),
        ({**SPEAKING, "state": "x"}, ""), ([1], ""),
    ):  # fmt: skip
        assert template.render(value_json=message) == shown


def test_names_of_people_that_no_entity_id_can_hold() -> None:
    people = [("8bcf84cc-x", "Zoë O'Neil"), ("0f8fad5b-y", "山田")]
    found = discovery.announcement_of_people(ALL, people)
    assert [json.loads(text)["default_entity_id"].rpartition("present_")[2] for text in
            found.values()] == ["zo_o_neil", "0f8fad5b"]  # fmt: skip
    assert [json.loads(text)["name"] for text in found.values()] == ["Zoë O'Neil", "山田"]
    many = [(f"id-{number}", "Ada") for number in range(60)]
    assert len(discovery.announcement_of_people(ALL, many)) == discovery.MOST_PEOPLE


def test_nothing_about_speakers_is_announced_where_it_is_off() -> None:
    texts = discovery.announcement(replace(ALL, identification=IdentificationConfig()))
    empty = {topic.split("/")[-2] for topic, text in texts.items() if not text}
    assert empty == {"speaker", "utterance", "identification"}
    assert all(discovery.announcement(ALL).values())


def test_no_event_opens_but_the_decision_and_nothing_tells_of_duress() -> None:
    found = payloads()
    event = found["event.edge_voice_front_door_access"]
    assert event["state_topic"] == "edge-voice/front-door/decision"
    assert event["event_types"] == ["granted", "denied", "challenge", "lockout"]
    assert "duress" not in json.dumps(found)
    assert not any(content.get("retain") for content in found.values())


@pytest.mark.parametrize("name", COMMANDS)
def test_what_is_not_allowed_is_not_announced(name: str) -> None:
    needs = {entity.needs for entity in discovery.entities(Config())}
    assert name in needs
    only = Config(commands=CommandsConfig(unsigned=replace(UnsignedConfig(), **{name: True})))
    texts = discovery.announcement(only)
    for entity in discovery.entities(only):
        text = texts[discovery.config_topic("homeassistant", "front-door", entity)]
        assert bool(text) == (entity.needs in (None, name) and not entity.identifies)
        missing = discovery.missing(entity, only)
        assert (missing is None) == bool(text)
        assert missing in (None, "identification.enabled", f"commands.unsigned.{entity.needs}")


def test_what_the_entities_send_is_taken() -> None:
    sent = 0
    for content in payloads().values():
        if "command_topic" not in content:
            continue
        suffix = Topics("edge-voice", "front-door").suffix(content["command_topic"])
        words = ["PRESS"] if "payload_press" in content else ["ON", "OFF"]
        if "max" in content:
            words = ["Ada", "", "Zoë " * (content["max"] // 4)]
        for word in words:
            read_unsigned(Incoming(suffix, word.encode(), retained=False), ALL.commands.unsigned)
            sent += 1
    assert sent == 2 * 2 + 5 + 3


def test_names_of_every_device_fit() -> None:
    for device_id in ("A-b_C", "--", "x" * 64, "0"):
        config = replace(ALL, device=DeviceConfig(id=device_id, name='Tür "1"\\'))
        for entity_id in payloads(config):
            assert re.fullmatch(r"[a-z_]+\.[a-z0-9]+(_[a-z0-9]+)*", entity_id)
        for topic, text in discovery.announcement(config).items():
            # As Home Assistant reads them.
            match = re.fullmatch(r"homeassistant/\w+/([a-zA-Z0-9_-]+)/[a-zA-Z0-9_-]+/config", topic)
            assert match
            assert discovery.is_of(topic, "homeassistant", device_id)
            assert json.loads(text)["device"]["name"] == 'Tür "1"\\'
            assert "Tür" in text
            assert ", " not in text.partition("template")[0]


def test_what_belongs_to_a_device() -> None:
    for topic in (
        "ha/sensor/edge_voice_hall/a/config",
        "ha/lawn_mower/edge_voice_hall/what-ever/config",
    ):
        assert discovery.is_of(topic, "ha", "hall")
    for topic in (
        "ha/sensor/edge_voice_hall2/a/config", "ha/sensor/xedge_voice_hall/a/config",
        "hb/sensor/edge_voice_hall/a/config", "ha/sensor/edge_voice_hall/a/config/x",
        "ha/sensor/edge_voice_hall/config", "ha/sensor/edge_voice_hall/a/b/config",
        "edge-voice/hall/status", "ha/sensor/edge_voice_hall/a/config\n",
    ):  # fmt: skip
        assert not discovery.is_of(topic, "ha", "hall")
    assert set(discovery.removal("ha", "hall").values()) == {""}
    assert all(discovery.is_of(topic, "ha", "hall") for topic in discovery.removal("ha", "hall"))


def test_the_command_shows_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("commands: {unsigned: {listening: true}}\n")
    assert main(["discovery", "show", "--config", str(file)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Nothing is announced: homeassistant.discovery is off.")
    assert len(lines) == 21
    assert "  switch.edge_voice_front_door_listening       Listening" in lines
    assert lines[11] == "Not announced until a setting allows them:"
    assert lines[-1].split()[-1] == "commands.unsigned.lock_out"
    assert any(line.split()[-2:] == ["Speaker", "identification.enabled"] for line in lines)
    assert max(map(len, lines)) <= 100
    file.write_text("homeassistant: {discovery: true, prefix: ha}\n")
    assert main(["discovery", "show", "--json", "--config", str(file)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["discovery"] is True
    announced = {row["topic"]: row["config"] for row in found["entities"] if row["announced"]}
    settings = Config(homeassistant=HomeAssistantConfig(discovery=True, prefix="ha"))
    assert announced == {
        topic: json.loads(text) for topic, text in discovery.announcement(settings).items() if text
    }
    assert main(["discovery", "show", "-v", "--config", str(file)]) == 0
    assert '"state_topic": "edge-voice/front-door/decision"' in capsys.readouterr().out


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def words(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield str(key)
            yield from words(each)
    elif isinstance(value, list):
        for each in value:
            yield from words(each)
    elif isinstance(value, str):
        yield value


LOCK = "binary_sensor.edge_voice_lock_front_door"
PRESENT = "binary_sensor.edge_voice_living_room_present_ada"


def in_the_living_room() -> set[str]:
    """The entities of the configuration for a home, where Ada is enrolled."""
    config = load_config(REPOSITORY / "config" / "home.yaml")
    texts = [*discovery.announcement(config).values()]
    texts += discovery.announcement_of_people(config, [ADA]).values()
    return {json.loads(text)["default_entity_id"] for text in texts if text}


def test_the_page_lists_what_there_is() -> None:
    rows = re.findall(r"^\| `([a-z_.0-9]+)` \|.*\|(.*)\|$", PAGE, re.MULTILINE)
    needs = {
        discovery.entity_id("front-door", entity): f"`{entity.needs}`" if entity.needs else ""
        for entity in discovery.entities(Config())
    }
    assert {name: needed.strip() for name, needed in rows} == needs
    # And it means no entity that there is not.
    named = set(ENTITY.findall(PAGE)) - {LOCK, "lock.unlock", "lock.garden_gate"}
    assert named == set(needs) | {"sensor.edge_voice_living_room_speaker", PRESENT}
    assert PRESENT in in_the_living_room()


def test_what_the_page_refers_to_is_there() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)", PAGE) if "://" not in link]
    assert any(link.endswith(".png") for link in links)
    for link in links:
        assert (REPOSITORY / "docs" / link).is_file(), link


def test_what_is_to_be_pasted_is_right() -> None:
    documents = [yaml.safe_load(text) for text in blocks("yaml")]
    settings, *rest = documents
    assert settings["homeassistant"] == {"discovery": True}
    automations = [each[0] for each in rest if "alias" in each[0]]
    (views,) = (each for each in rest if "cards" in each[0])
    assert len(automations) == 7
    known = {*payloads(), *in_the_living_room(), LOCK, "lock.garden_gate", "lock.unlock"}
    for text in words([automations, views]):
        assert set(ENTITY.findall(text)) <= known
    for automation in automations:
        assert {"alias", "triggers", "actions"} <= set(automation)
        for trigger in automation["triggers"]:
            if trigger["trigger"] == "mqtt":
                assert trigger["topic"] == Topics("edge-voice", "front-door").decision
    # The one that unlocks: not for what was shown before, nor for what came late.
    (unlocking,) = (each for each in automations if "lock.unlock" in words(each))
    assert unlocking["triggers"][0]["not_from"] == "unavailable"
    assert any("expires_at" in text for text in words(unlocking["conditions"]))


def test_the_lock_is_called_as_the_page_says() -> None:
    import argparse

    from tools.example_lock import Shown, arguments

    (shell,) = blocks("sh")
    line = next(part for part in shell.replace("\\\n", " ").splitlines() if "example_lock" in part)
    import shlex

    args = arguments(shlex.split(line)[2:])

    class Client:
        def will_set(self, *_: Any, **__: Any) -> None:
            pass

    shown = Shown(Client(), args)  # type: ignore[arg-type]
    assert isinstance(args, argparse.Namespace)
    assert shown.config["default_entity_id"] == LOCK
    assert shown.config["off_delay"] == 3
    assert shown.config_topic.startswith("homeassistant/binary_sensor/")
