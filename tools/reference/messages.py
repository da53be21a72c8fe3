"""The page of every topic, from the schemas."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from edge.mqtt.commands import COMMANDS
from tools.reference.words import MADE, anchor, table
from tools.topics import ENDING, TOPICS, Topic, read_schema

_INTRODUCTION = """\
# Every topic

All topics that the device publishes on or subscribes to, with a JSON Schema for each in
[schemas](../../schemas/decision.schema.json) and one
[AsyncAPI document](../asyncapi.yaml). BASE is `mqtt.base_topic` (`edge-voice`), DEVICE is
`device.id` (`front-door`). Everything is sent with QoS 1.

Numbers in a message are for information. Only `decision` and `reason` say whether a door may open,
and only while the message is fresh and its signature is valid:
[messages that a door can trust](../trusted-messages.md).
"""
_TYPES = {
    "string": "text",
    "array": "list",
    "integer": "whole number",
    "boolean": "true or false",
    "null": "null",
}


def page() -> str:
    """The whole page."""
    rows = [
        (
            f"[`{_title(topic)}`](#{anchor(_title(topic))})",
            _sender(topic),
            "yes" if topic.retained else "no",
            str(read_schema(topic.schema)["title"]),
        )
        for topic in TOPICS
    ]
    parts = [
        MADE.format(what="schemas"),
        _INTRODUCTION,
        "\n" + table(("topic", "published by", "retained", "message"), rows),
    ]
    parts += [_section(topic) for topic in TOPICS]
    return "".join(parts)


def _title(topic: Topic) -> str:
    return topic.suffix or "PREFIX/…/config"


def _sender(topic: Topic) -> str:
    return "the device" if topic.from_device else "a client"


def _section(topic: Topic) -> str:
    content = read_schema(topic.schema)
    file = f"{topic.schema}{ENDING}"
    parts = [f"\n## `{_title(topic)}`\n\n{content['description']}\n\n"]
    rows = list(_members(content, topic.schema))
    if rows:
        parts.append(table(("member", "type", "meaning"), rows) + "\n")
    if topic.schema == "command":
        parts.append(_commands() + "\n")
    for names, detail in _details(content):
        parts.append(f"`detail` of {names}:\n\n")
        members = list(_members(detail, topic.schema))
        parts.append(table(("member", "type", "meaning"), members) + "\n")
    for example in content["examples"]:
        text = example if topic.plain else json.dumps(example, indent=2, ensure_ascii=False)
        parts.append(f"```{'text' if topic.plain else 'json'}\n{text}\n```\n\n")
    parts.append(f"Schema: [{file}](../../schemas/{file})\n")
    return "".join(parts)


def _members(schema: dict[str, Any], name: str, above: str = "") -> Iterator[tuple[str, str, str]]:
    schema = _object_in(_resolved(schema, name))
    needed = schema.get("required", [])
    for member, given in schema.get("properties", {}).items():
        each = _resolved(given, name)
        always = "" if member in needed or above else " (optional)"
        yield f"`{above}{member}`", _type(each) + always, each["description"]
        yield from _members(each.get("items", each), name, f"{above}{member}.")


def _commands() -> str:
    rows = []
    for name, spec in COMMANDS.items():
        needed = [f"`{argument}`" for argument in spec.arguments]
        needed += [f"`{argument}` (optional)" for argument in spec.optional]
        rows.append((f"`{name}`", ", ".join(needed), spec.role.value, spec.help))
    return table(("command", "arguments", "least role", "what it does"), rows)


def _details(content: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The details of a command's result, by command."""
    for rule in content.get("allOf", []):
        chosen = rule["if"]["properties"].get("command")
        found = rule["then"].get("properties", {}).get("detail")
        if chosen and found:
            names = chosen.get("enum") or [chosen["const"]]
            yield ", ".join(f"`{name}`" for name in names), found


def _object_in(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema itself, or its alternative with the most members."""
    choices = schema.get("oneOf", [])
    return max(choices, key=lambda each: len(each.get("properties", {})), default=schema)


def _resolved(schema: dict[str, Any], name: str) -> dict[str, Any]:
    reference = schema.get("$ref")
    if reference is None:
        return schema
    file, _, part = reference.partition("#/$defs/")
    found: dict[str, Any] = read_schema(file[: -len(ENDING)] or name)["$defs"][part]
    return found


def _type(schema: dict[str, Any]) -> str:
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "oneOf" in schema:
        return " or ".join(_type(each) for each in schema["oneOf"])
    kinds = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
    return " or ".join(_TYPES.get(kind, str(kind)) for kind in kinds)
