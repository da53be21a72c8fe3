"""The device's entities in Home Assistant, by MQTT discovery.

One retained message an entity on PREFIX/COMPONENT/NODE/OBJECT/config, understood since 2023.8; an
empty one removes it. Templates read the device's own topics (edge/mqtt/topics.py), so the decision
stays the only message that opens, and ignore what is not a JSON object, as anyone on the broker
can write there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import edge
from edge.config import Config
from edge.mqtt.topics import Topics

EVENT_TYPES = ("granted", "denied", "challenge", "lockout")
UTTERANCE_TYPES = ("known", "unknown")
"""Whether anyone enrolled spoke in an utterance."""
MOST_PEOPLE = 50
"""People with an entity of their own."""
_LONGEST_NAME = 64
_OBJECT = r"[A-Za-z0-9_-]{1,64}"

_EVENT = """\
{%- if value_json is not mapping -%}
{%- elif value_json.decision == 'granted' and value_json.reason == 'recognized' -%}
{{ dict(value_json, event_type='granted') | to_json }}
{%- elif value_json.decision == 'denied' -%}
{%- set reason = value_json.reason -%}
{%- set asked = 'challenge' if reason == 'challenge_asked' else 'denied' -%}
{{ dict(value_json, event_type='lockout' if reason == 'locked_out' else asked) | to_json }}
{%- endif -%}"""

_SPEAKER = """\
{%- if value_json is not mapping -%}
{%- elif value_json.state == 'silent' -%}
nobody
{%- elif value_json.state == 'speaking' -%}
{{ (value_json.name if value_json.name is string else 'unknown voice')[:128] }}
{%- endif -%}"""
_SPEAKER_ATTRIBUTES = (
    "{{ (dict(profile_id=value_json.profile_id | default(none),"
    " confidence=value_json.confidence | default(none),"
    " turn=value_json.turn | default(none), length_s=value_json.length_s | default(none))"
    " if value_json is mapping else {}) | to_json }}"
)
_UTTERANCE = """\
{%- if value_json is mapping -%}
{%- set kind = 'known' if value_json.speakers | default([], true) else 'unknown' -%}
{{ dict(value_json, event_type=kind) | to_json }}
{%- endif -%}"""
_FIRST = "{%- set first = value_json.speakers | default([], true) | first | default({}, true) -%}"
_LAST_SPEAKER = (
    "{%- if value_json is mapping -%}"
    + _FIRST
    + """\
{%- set unknown_s = value_json.unknown_s | float(0) -%}
{%- if first.name is string and first.length_s | float(0) >= unknown_s -%}
{{ first.name[:128] }}
{%- else -%}
{{ 'unknown voice' if unknown_s else 'nobody' }}
{%- endif -%}
{%- endif -%}"""
)
_LAST_SPEAKER_ATTRIBUTES = (
    "{%- if value_json is mapping -%}"
    + _FIRST
    + """\
{{ dict(started_at=value_json.started_at | default(none),
 length_s=value_json.length_s | default(none), profile_id=first.profile_id | default(none),
 confidence=first.confidence | default(none)) | to_json }}
{%- endif -%}"""
)
_PRESENT = """\
{%%- if value_json is mapping and value_json.state == 'speaking'
 and value_json.profile_id == '%s' -%%}
ON
{%%- endif -%%}"""

_OF_ENROLLMENT = ("enroll_person", "enroll", "enroll_cancel")
PROBLEMS = ("problem", "audit_problem", "challenge_problem", "clock_problem", "state_problem")
"""Fields of the status that are there only while something is wrong."""


@dataclass(frozen=True)
class Entity:
    """An entity; `component` is Home Assistant's name for its kind, `content` its other fields.

    `needs` is the setting under `commands.unsigned` that it requires, None if it only shows;
    one that `identifies` also requires `identification.enabled`. `slug` is its part of the entity
    id, by default the object id.
    """

    component: str
    object_id: str
    name: str
    needs: str | None = None
    content: Mapping[str, Any] = field(default_factory=dict)
    identifies: bool = False
    slug: str = ""


def entities(config: Config) -> list[Entity]:
    """All entities, whether or not their commands are allowed."""
    topics = Topics(config.mqtt.base_topic, config.device.id)
    return [
        *_of_decisions(topics),
        *_of_identification(topics),
        *_of_the_device(topics, config),
        *_of_commands(topics),
    ]


def missing(entity: Entity, config: Config) -> str | None:
    """The setting that has to be on for an entity to be announced; None where it is."""
    if entity.identifies and not config.identification.enabled:
        return "identification.enabled"
    if entity.needs is not None and not getattr(config.commands.unsigned, entity.needs):
        return f"commands.unsigned.{entity.needs}"
    return None


def announcement(config: Config) -> dict[str, str]:
    """The retained messages by topic; empty for entities that are not allowed."""
    return {
        **_messages(config, entities(config)),
        **{
            topic_of(config, entity): ""
            for entity in entities(config)
            if missing(entity, config) is not None
        },
    }


def announcement_of_people(config: Config, people: Sequence[tuple[str, str]]) -> dict[str, str]:
    """The retained messages by topic for people by id and name, `MOST_PEOPLE` at most."""
    topics = Topics(config.mqtt.base_topic, config.device.id)
    return _messages(config, [_presence(topics, config, *each) for each in people[:MOST_PEOPLE]])


def announcement_of_assistant(config: Config) -> dict[str, str]:
    """The retained messages by topic of a voice assistant, which has the device's place."""
    topics = Topics(config.mqtt.base_topic, config.device.id)
    shown = _of_assistant(topics, config)
    return {
        **dict.fromkeys((topic_of(config, entity) for entity in shown), ""),
        **_messages(config, [each for each in shown if not _lacks_command(each, config)]),
    }


def _messages(config: Config, shown: Iterable[Entity]) -> dict[str, str]:
    return {
        topic_of(config, entity): json.dumps(
            payload(config, entity), ensure_ascii=False, separators=(",", ":")
        )
        for entity in shown
    }


def payload(config: Config, entity: Entity) -> dict[str, Any]:
    """The message of one entity."""
    topics = Topics(config.mqtt.base_topic, config.device.id)
    return {
        "name": entity.name,
        "unique_id": f"{node_of(config.device.id)}_{entity.object_id}",
        # The older name of `default_entity_id`; ignored from 2026.4 on.
        "object_id": entity_id(config.device.id, entity).partition(".")[2],
        "default_entity_id": entity_id(config.device.id, entity),
        **entity.content,
        "availability_topic": topics.status,
        "availability_template": (
            "{{ 'online' if value_json is mapping and value_json.state == 'online'"
            " else 'offline' }}"
        ),
        "device": {
            "identifiers": [node_of(config.device.id)],
            "name": config.device.name,
            "manufacturer": "Edge Voice",
            "model": "Voice access control",
            "sw_version": edge.__version__,
        },
        # Known since 2023.9; 2023.8 ignores it.
        "origin": {"name": "Edge Voice", "sw_version": edge.__version__},
    }


def node_of(device_id: str) -> str:
    """The topic level of a device among all those in Home Assistant."""
    return f"edge_voice_{device_id}"


def entity_id(device_id: str, entity: Entity) -> str:
    """The entity id in Home Assistant, unless somebody changes it there."""
    own = entity.slug or entity.object_id
    slug = re.sub(r"[^a-z0-9]+", "_", f"{node_of(device_id)}_{own}".lower())
    return f"{entity.component}.{slug}"


def topic_of(config: Config, entity: Entity) -> str:
    """The topic that an entity of this device is announced on."""
    return config_topic(config.homeassistant.prefix, config.device.id, entity)


def config_topic(prefix: str, device_id: str, entity: Entity) -> str:
    """The topic that an entity is announced on."""
    return f"{prefix}/{entity.component}/{node_of(device_id)}/{entity.object_id}/config"


def birth_topic(prefix: str) -> str:
    """Where Home Assistant publishes `online` when it has started."""
    return f"{prefix}/status"


def filter_of(prefix: str, device_id: str) -> str:
    """The filter that matches everything ever announced for a device."""
    return f"{prefix}/+/{node_of(device_id)}/+/config"


def is_of(topic: str, prefix: str, device_id: str) -> bool:
    """Whether an entity of the device is, or once was, announced on a topic."""
    node = re.escape(node_of(device_id))
    form = rf"{re.escape(prefix)}/[a-z_]{{1,32}}/{node}/{_OBJECT}/config"
    return re.fullmatch(form, topic) is not None


def removal(prefix: str, device_id: str) -> dict[str, str]:
    """The messages that remove every entity."""
    return {config_topic(prefix, device_id, entity): "" for entity in entities(Config())}


def _of_decisions(topics: Topics) -> list[Entity]:
    decided = {"state_topic": topics.decision, "qos": 1}

    def of_the_last_let_in(member: str) -> str:
        # A rejected speaker must not be shown as somebody who was let in.
        return (
            "{{ (value_json."
            + member
            + " | default('unknown') | string)[:128] if value_json is mapping"
            " and value_json.decision == 'granted' and value_json.reason == 'recognized'"
            " else this.state }}"
        )

    return [
        Entity("event", "access", "Access", None, {
            **decided, "event_types": list(EVENT_TYPES), "value_template": _EVENT,
            "icon": "mdi:account-voice",
        }),
        Entity("sensor", "last_person", "Last person", None, {
            **decided, "value_template": of_the_last_let_in("name"),
            "icon": "mdi:account-check",
        }),
        Entity("sensor", "confidence", "Confidence", None, {
            **decided, "value_template": of_the_last_let_in("confidence"),
            "icon": "mdi:check-decagram-outline",
        }),
    ]  # fmt: skip


def _of_identification(topics: Topics) -> list[Entity]:
    speaker = topics.below("speaker")
    return [
        Entity("sensor", "speaker", "Speaker", None, {
            "state_topic": speaker, "value_template": _SPEAKER,
            "json_attributes_topic": speaker, "json_attributes_template": _SPEAKER_ATTRIBUTES,
            "icon": "mdi:account-tie-voice",
        }, identifies=True),
        Entity("event", "utterance", "Utterance", None, {
            "state_topic": topics.below("utterance"), "event_types": list(UTTERANCE_TYPES),
            "value_template": _UTTERANCE, "icon": "mdi:account-tie-voice-outline",
        }, identifies=True),
        Entity("switch", "identification", "Identification", "identification", {
            "state_topic": topics.status, "command_topic": topics.below("set/identification"),
            "qos": 1,
            "value_template": _status("'ON' if value_json.identifying == true else 'OFF'", "None"),
            "icon": "mdi:account-search",
        }, identifies=True),
    ]  # fmt: skip


def _lacks_command(entity: Entity, config: Config) -> bool:
    return entity.needs is not None and not getattr(config.commands.unsigned, entity.needs)


def _of_assistant(topics: Topics, config: Config) -> list[Entity]:
    """Who spoke last stays, for whatever acts on the text that follows."""
    told = topics.below("utterance")
    _, utterance, _ = _of_identification(topics)
    return [
        Entity("sensor", "speaker", "Speaker", None, {
            "state_topic": told, "value_template": _LAST_SPEAKER, "qos": 1,
            "json_attributes_topic": told, "json_attributes_template": _LAST_SPEAKER_ATTRIBUTES,
            "icon": "mdi:account-tie-voice",
        }),
        utterance,
        *(each for each in _of_the_device(topics, config) if each.object_id == "enrollment"),
        *(each for each in _of_commands(topics) if each.needs in _OF_ENROLLMENT),
    ]  # fmt: skip


def _presence(topics: Topics, config: Config, profile_id: str, name: str) -> Entity:
    """Whether a person was heard of late."""
    word = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    return Entity("binary_sensor", f"present_{profile_id}", name, None, {
        "state_topic": topics.below("speaker"), "value_template": _PRESENT % profile_id,
        "off_delay": round(config.identification.presence_s),
        "device_class": "occupancy", "icon": "mdi:account-voice",
    }, identifies=True, slug=f"present_{word or profile_id[:8]}")  # fmt: skip


def _of_the_device(topics: Topics, config: Config) -> list[Entity]:
    status = {"state_topic": topics.status, "qos": 1}
    attributes = {"json_attributes_topic": topics.status}
    diagnostic = {"entity_category": "diagnostic"}
    problems = " or ".join(f"value_json.{name} is defined" for name in PROBLEMS)
    return [
        Entity("sensor", "enrolled", "People enrolled", None, {
            **status, "value_template": _number("enrolled"),
            "state_class": "measurement", "icon": "mdi:account-group",
        }),
        Entity("sensor", "sound_level", "Sound level", None, {
            "state_topic": topics.below("sound"),
            "value_template": _number("level_dbfs"),
            "unit_of_measurement": "dBFS", "state_class": "measurement",
            "suggested_display_precision": 0,
            "expire_after": int(3 * config.homeassistant.sound_interval_s) + 20,
            "icon": "mdi:volume-medium", **diagnostic,
        }),
        Entity("sensor", "microphone", "Microphone", None, {
            **status, **attributes,
            "value_template": _status(
                "value_json.microphone if value_json.microphone in ('listening', 'lost')"
                " else 'unknown'",
                "unknown",
            ),
            "json_attributes_template": _members(
                "listening", "reason", "lost_samples", "discarded_utterances", "late_decisions"
            ),
            "icon": "mdi:microphone", **diagnostic,
        }),
        Entity("sensor", "enrollment", "Enrollment", None, {
            **status, **attributes,
            "value_template": _status(
                "(value_json.enrollment.state | default('idle') | string)[:32]"
                " if value_json.enrollment is mapping"
                " else 'unconfirmed' if value_json.unconfirmed is defined else 'idle'",
                "unknown",
            ),
            "json_attributes_template": _status(
                "dict(value_json.enrollment if value_json.enrollment is mapping else {},"
                " unconfirmed=value_json.unconfirmed | default([])) | to_json",
                "{}",
            ),
            "icon": "mdi:account-plus",
        }),
        Entity("binary_sensor", "problem", "Problem", None, {
            **status, **attributes,
            "value_template": _status(
                f"'ON' if {problems} or value_json.microphone == 'lost' else 'OFF'", "None"
            ),
            "json_attributes_template": _members(*PROBLEMS, "microphone", "reason"),
            "device_class": "problem", **diagnostic,
        }),
        Entity("binary_sensor", "lockout", "Locked out", None, {
            **status, **attributes,
            "value_template": _status("'ON' if value_json.locked_out == true else 'OFF'", "None"),
            "json_attributes_template": _members("locked_out_until", "lock_out_round"),
            "icon": "mdi:account-cancel",
        }),
    ]  # fmt: skip


def _of_commands(topics: Topics) -> list[Entity]:
    def button(object_id: str, name: str, icon: str, setting: str, category: bool) -> Entity:
        content: dict[str, Any] = {
            "command_topic": topics.below(f"set/{setting}"), "payload_press": "PRESS", "qos": 1,
            "icon": icon, **({"entity_category": "config"} if category else {}),
        }  # fmt: skip
        return Entity("button", object_id, name, setting, content)

    return [
        Entity("switch", "listening", "Listening", "listening", {
            "state_topic": topics.status, "command_topic": topics.below("set/listening"), "qos": 1,
            "value_template": _status("'ON' if value_json.listening == true else 'OFF'", "None"),
            "icon": "mdi:ear-hearing",
        }),
        Entity("text", "enroll_person", "Person to enroll", "enroll_person", {
            "state_topic": topics.status, "command_topic": topics.below("set/enroll_person"),
            "qos": 1, "value_template": _status(
                f"value_json.enroll_person[:{_LONGEST_NAME}]"
                " if value_json.enroll_person is string else ''",
                "",
            ),
            "max": _LONGEST_NAME, "icon": "mdi:account-edit", "entity_category": "config",
        }),
        button("enroll", "Start enrollment", "mdi:account-plus", "enroll", True),
        button("enroll_cancel", "Cancel enrollment", "mdi:account-off", "enroll_cancel", True),
        button("enroll_confirm", "Confirm enrollment", "mdi:account-check", "enroll_confirm", True),
        button("lift_lockout", "End lock-out", "mdi:lock-open-alert", "lift_lockout", False),
        button("lock_out", "Lock everybody out", "mdi:lock-alert", "lock_out", False),
    ]  # fmt: skip


def _status(expression: str, otherwise: str) -> str:
    """A template that is `otherwise` where the device is offline or the status is not an object."""
    return (
        "{% if value_json is mapping and value_json.state | default('online') == 'online' %}"
        "{{ " + expression + " }}{% else %}" + otherwise + "{% endif %}"
    )


def _number(name: str) -> str:
    """A template for a number in a message, else unknown."""
    value = f"value_json.{name}"
    return _status(f"{value} if {value} is number and {value} is not boolean else 'None'", "None")


def _members(*names: str) -> str:
    """A template for members of the status as attributes; null for a missing one."""
    pairs = ", ".join(f"'{name}': value_json.{name} | default(none)" for name in names)
    return _status("{" + pairs + "} | to_json", "{}")
