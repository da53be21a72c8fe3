"""People with keys, their commands, and a queue that receives them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge.config import CommandsConfig
from edge.crypto.canonical import wire
from edge.crypto.command_keys import CommandKey, Role
from edge.crypto.signing import HmacKey, PrivateKey, signed
from edge.mqtt import CommandQueue
from edge.mqtt.commands import CHOOSE, COMMANDS, command_message
from edge.mqtt.link import Incoming
from edge.store.device_state import DeviceState
from edge.types import Event

OWNER = PrivateKey(bytes(range(32)), "owner-phone")
OPERATOR = HmacKey(b"o" * 32, "panel")
OBSERVER = HmacKey(b"v" * 32, "display")
STRANGER = PrivateKey(b"s" * 32, "owner-phone")
KEYS: dict[str, CommandKey] = {
    "owner-phone": CommandKey(OWNER.public, Role.OWNER),
    "panel": CommandKey(OPERATOR, Role.OPERATOR),
    "display": CommandKey(OBSERVER, Role.OBSERVER),
}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "enroll_start": {"person": "Ada", "phrase": "what Ada says"},
    "enroll_confirm": {"person": "Ada"},
    "disable": {"person": "Ada"},
    "enable": {"person": "Ada"},
    "delete": {"person": "Ada"},
    "reset": {"person": "Ada"},
}
RESULTS: dict[str, dict[str, Any]] = {"lock_out": {"note": 1}, "delete": {"profile_id": "p1"}}


def keys_file(folder: Path) -> Path:
    file = folder / "command-keys.yaml"
    rows = [
        f"  - {{id: owner-phone, algorithm: ed25519, key: {OWNER.public.text}, role: owner}}",
        f"  - {{id: panel, algorithm: hmac-sha256, key: '{(b'o' * 32).hex()}', role: operator}}",
        f"  - {{id: display, algorithm: hmac-sha256, key: '{(b'v' * 32).hex()}', role: observer}}",
    ]
    file.write_text("keys:\n" + "\n".join(rows) + "\n")
    file.chmod(0o600)
    return file


def arrived(content: Any, suffix: str = "command", *, retained: bool = False) -> Incoming:
    payload = content if isinstance(content, bytes) else wire(content).encode()
    return Incoming(suffix, payload, retained)


def ordered(name: str = "ping", key: Any = OWNER, **changes: Any) -> dict[str, Any]:
    message = command_message(name, ARGUMENTS.get(name, {}), "hall", key)
    return signed({**message, **changes}, "command", key)


class Home:
    """A command queue, and its results."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.done: list[tuple[str, Mapping[str, Any]]] = []
        self.events: list[Event] = []
        self.answers: list[Mapping[str, Any]] = []
        self.state = DeviceState(folder / "state")
        refusals, now = settings.pop("refusals", None), settings.pop("now", None)
        self.queue = CommandQueue(
            CommandsConfig(keys_file=keys_file(folder), **settings),
            "hall",
            self.state,
            {
                name: self._handler(name)
                for name in (*COMMANDS, CHOOSE)
                if name not in ("ping", "status")
            },
            record=self.events.append,
            answer=self.answers.append,
            refusals=refusals,
            now=now,
        )

    def _handler(self, name: str) -> Any:
        def handle(arguments: Mapping[str, Any]) -> Mapping[str, Any] | None:
            self.done.append((name, arguments))
            return RESULTS.get(name)

        return handle

    @property
    def reasons(self) -> list[Any]:
        return [event.detail["reason"] for event in self.events]
