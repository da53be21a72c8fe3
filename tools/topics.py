"""The topics of a device and their schemas: one list for documents and tests."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
SCHEMAS = REPOSITORY / "schemas"
ENDING = ".schema.json"


@dataclass(frozen=True)
class Topic:
    """A topic.

    Attributes:
        address: the topic, with names in braces for levels that vary.
        schema: the file in `schemas`, without its suffix.
        from_device: whether the device publishes on it; otherwise it subscribes.
        retained: whether the broker retains the latest message.
        plain: whether the payload is text, not JSON.
        qos: of what the device publishes.
    """

    address: str
    schema: str
    from_device: bool = True
    retained: bool = False
    plain: bool = False
    qos: int = 1

    @property
    def suffix(self) -> str:
        """The part below the device; empty for a topic elsewhere."""
        start = "{base}/{device}/"
        return self.address[len(start) :] if self.address.startswith(start) else ""


def _below(suffix: str, **more: Any) -> Topic:
    return Topic("{base}/{device}/" + suffix, suffix.replace("/", "-"), **more)


UNSIGNED = (
    "listening",
    "identification",
    "enroll_person",
    "enroll",
    "enroll_cancel",
    "enroll_confirm",
    "lift_lockout",
    "lock_out",
)
"""Plain commands, without a signature, if the configuration allows them."""
TOPICS = (
    _below("decision"),
    Topic("{base}/{device}/details/{user}", "details"),
    _below("status", retained=True),
    _below("challenge"),
    _below("duress"),
    _below("enrollment"),
    _below("sound"),
    _below("speaker", qos=0),
    _below("utterance", qos=0),
    _below("doctor"),
    _below("command", from_device=False),
    _below("command/result"),
    *(_below(f"set/{name}", from_device=False, plain=True) for name in UNSIGNED),
    Topic("{prefix}/{component}/{node}/{object}/config", "discovery", retained=True),
)


def schema_names() -> list[str]:
    """The names of all schemas, without suffix."""
    return sorted(file.name[: -len(ENDING)] for file in SCHEMAS.glob(f"*{ENDING}"))


def read_schema(name: str) -> dict[str, Any]:
    """A schema, parsed."""
    content: dict[str, Any] = json.loads((SCHEMAS / f"{name}{ENDING}").read_text("utf-8"))
    return content
