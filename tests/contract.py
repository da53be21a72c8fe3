"""What is said on each topic, held against the schemas of the repository."""

from __future__ import annotations

import functools
import json
import re
from typing import Any

import jsonschema
import referencing
from referencing.jsonschema import DRAFT202012

from tools.topics import ENDING, TOPICS, read_schema, schema_names

_LEVEL = re.compile(r"\\\{[a-z]+\\\}")
_SPOKEN = [
    (re.compile(_LEVEL.sub(lambda _: "[^/]+", re.escape(topic.address)) + "$"), topic.schema)
    for topic in TOPICS
    if topic.from_device
]


@functools.cache
def validator(name: str) -> jsonschema.Draft202012Validator:
    """Holds values against a schema."""
    resources = (
        (each + ENDING, DRAFT202012.create_resource(read_schema(each))) for each in schema_names()
    )
    registry: referencing.Registry[Any] = referencing.Registry().with_resources(resources)
    return jsonschema.Draft202012Validator(read_schema(name), registry=registry)


def complaint(name: str, value: Any) -> str | None:
    """What is wrong with a value, in a line; None where it keeps to the schema."""
    error = jsonschema.exceptions.best_match(validator(name).iter_errors(value))
    return None if error is None else f"{name}{error.json_path[1:]}: {error.message}"


def schema_of(topic: str) -> str | None:
    """The schema of what a device publishes on a topic; None for anybody else's topic.

    The first level, of several where the configuration says so, may be anything. What a lock
    announces to Home Assistant is not the device's.
    """
    if "/edge_voice_lock_" in topic:
        return None
    return next((name for form, name in _SPOKEN if form.search(topic)), None)


def complaint_about(topic: str, text: str) -> str | None:
    """What is wrong with a message; None for one that keeps to its schema, or has none."""
    name = schema_of(topic)
    if name is None or (name == "discovery" and not text):  # an empty one takes an entity away
        return None
    try:
        value = json.loads(text)
    except ValueError as error:
        return f"{name}: no JSON ({error})"
    return complaint(name, value)
