"""Generates docs/asyncapi.yaml from the schemas: every topic, message and answer in one document.

    python -m tools.make_asyncapi            # write it
    python -m tools.make_asyncapi --check    # check that it is current

AsyncAPI 3.0 reads a payload as JSON Schema draft 7. The parts of draft 2020-12 that the schemas use
mean the same there once `$defs` are components of the document.
"""

from __future__ import annotations

import argparse
import re
import sys
from typing import Any

import yaml

import edge
from tools.topics import ENDING, REPOSITORY, TOPICS, Topic, read_schema, schema_names

FILE = REPOSITORY / "docs" / "asyncapi.yaml"
_HEAD = "# Generated from schemas/ by: python -m tools.make_asyncapi\n"
_REFERENCE = re.compile(rf"(?:([a-z_-]+){re.escape(ENDING)})?#/\$defs/([a-z_]+)")
_DROPPED = ("$schema", "$id", "$defs", "examples")
_PARAMETERS = {
    "base": "First part of every topic, `mqtt.base_topic`.",
    "device": "The device, `device.id`.",
    "user": "The user of the broker that `mqtt.details_for` names.",
    "prefix": "Home Assistant's discovery prefix, `homeassistant.prefix`.",
    "component": "Home Assistant's type of entity.",
    "node": "The device, as part of Home Assistant's ids.",
    "object": "The entity.",
}
_DEFAULTS = {"base": "edge-voice", "device": "front-door", "prefix": "homeassistant"}
_INFO = (
    "What a device publishes over MQTT, and the commands it takes. A lock must verify the"
    " signature, expiry and counter of a decision before it opens: see docs/trusted-messages.md."
)


def document() -> dict[str, Any]:
    """The AsyncAPI document."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Edge Voice",
            "version": edge.__version__,
            "description": _INFO,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "home": {
                "host": "localhost:1883",
                "protocol": "mqtt",
                "description": "The broker, `mqtt.host` and `mqtt.port`; TLS with"
                " `mqtt.tls.enabled`.",
            }
        },
        "channels": {_key(topic): _channel(topic) for topic in TOPICS},
        "operations": {_operation_key(topic): _operation(topic) for topic in TOPICS},
        "components": {
            "messages": {_key(topic): _message(topic) for topic in TOPICS},
            "schemas": _schemas(),
        },
    }


def text() -> str:
    """The document as YAML."""
    body = yaml.safe_dump(document(), sort_keys=False, allow_unicode=True, width=100)
    return _HEAD + str(body)


def main() -> int:
    """Write the document, or check that it is current."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit code 1 if it is out of date"
    )
    if parser.parse_args().check:
        current = FILE.is_file() and FILE.read_text("utf-8") == text()
        print("current" if current else "out of date; run python -m tools.make_asyncapi")
        return 0 if current else 1
    FILE.write_text(text(), "utf-8")
    return 0


def _key(topic: Topic) -> str:
    """The name in the document: commandResult, setListening."""
    first, *others = re.split(r"[-_]", topic.schema)
    return first + "".join(other.capitalize() for other in others)


def _operation_key(topic: Topic) -> str:
    name = _key(topic)
    return ("send" if topic.from_device else "receive") + name[0].upper() + name[1:]


def _channel(topic: Topic) -> dict[str, Any]:
    content = read_schema(topic.schema)
    parameters = {}
    for name in re.findall(r"\{([a-z]+)\}", topic.address):
        parameters[name] = {"description": _PARAMETERS[name]}
        if name in _DEFAULTS:
            parameters[name]["default"] = _DEFAULTS[name]
    return {
        "address": topic.address,
        "title": content["title"],
        "description": content["description"],
        "parameters": parameters,
        "messages": {_key(topic): {"$ref": f"#/components/messages/{_key(topic)}"}},
    }


def _operation(topic: Topic) -> dict[str, Any]:
    channel = f"#/channels/{_key(topic)}"
    operation: dict[str, Any] = {
        "action": "send" if topic.from_device else "receive",
        "channel": {"$ref": channel},
        "summary": read_schema(topic.schema)["title"],
        "messages": [{"$ref": f"{channel}/messages/{_key(topic)}"}],
        "bindings": {
            "mqtt": {"qos": topic.qos, "retain": topic.retained, "bindingVersion": "0.2.0"}
        },
    }
    if topic.schema == "command":
        answer = "#/channels/commandResult"
        operation["reply"] = {
            "channel": {"$ref": answer},
            "messages": [{"$ref": f"{answer}/messages/commandResult"}],
        }
    return operation


def _message(topic: Topic) -> dict[str, Any]:
    content = read_schema(topic.schema)
    message = {
        "name": topic.schema,
        "title": content["title"],
        "contentType": "text/plain" if topic.plain else "application/json",
        "payload": {"$ref": f"#/components/schemas/{topic.schema}"},
        "examples": [{"payload": example} for example in content["examples"]],
    }
    if topic.schema in ("command", "command-result"):
        message["correlationId"] = {
            "description": "An answer has the id of its command.",
            "location": "$message.payload#/id",
        }
    return message


def _schemas() -> dict[str, Any]:
    schemas: dict[str, Any] = {}
    for name in schema_names():
        content = read_schema(name)
        for part, inner in content.get("$defs", {}).items():
            schemas[f"{name}-{part}"] = _moved(inner, name)
        if name != "common":
            own = {key: value for key, value in content.items() if key not in _DROPPED}
            schemas[name] = _moved(own, name)
    return schemas


def _moved(value: Any, name: str) -> Any:
    """The same schema with its references changed to the document's components."""
    if isinstance(value, dict):
        return {
            key: _target(each, name) if key == "$ref" else _moved(each, name)
            for key, each in value.items()
        }
    if isinstance(value, list):
        return [_moved(each, name) for each in value]
    return value


def _target(reference: str, name: str) -> str:
    found = _REFERENCE.fullmatch(reference)
    if found is None:
        raise ValueError(f"{name}: {reference!r} leads nowhere")
    return f"#/components/schemas/{found.group(1) or name}-{found.group(2)}"


if __name__ == "__main__":
    sys.exit(main())
