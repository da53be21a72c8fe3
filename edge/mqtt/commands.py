"""Commands over MQTT: which there are, who may send them, and their signed messages.

On BASE/DEVICE/command, never retained, JSON of at most 4 KiB with exactly these members:

    {"id": "5f0c...",                       1 to 64 letters, digits, - or _; repeated in the answer
     "command": "enroll_start",
     "arguments": {"person": "Ada"},
     "device": "front-door",                the device it is for
     "counter": 1772366400123,              higher than in every earlier command of this key
     "issued_at": "2026-03-01T12:00:00.123Z",
     "expires_at": "2026-03-01T12:00:20.123Z",   300 s later at most
     "signature": {"algorithm": ..., "key_id": ..., "value": ...}}

signed as in edge/crypto/signing.py, in the domain `command`. Milliseconds since 1970 are a good
counter for a sender that keeps none. The answer on BASE/DEVICE/command/result has the id, whether
it was done (`ok`), why not (`reason`), and more where there is any (`detail`).

On BASE/DEVICE/set/NAME, unsigned, what Home Assistant's switches, buttons and texts send; each is
refused until the configuration allows it.
"""

from __future__ import annotations

import contextlib
import re
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from edge.config import UnsignedConfig
from edge.crypto.canonical import MessageProblem, read_message
from edge.crypto.command_keys import CommandKey, Role
from edge.crypto.signing import COMMAND, SigningKey, is_genuine, signature_of, signed
from edge.mqtt.link import Incoming
from edge.types.decision import utc

FILTERS = ("command", "set/+")
"""Topics to subscribe to, below BASE/DEVICE."""
MAX_BYTES = 4096
MAX_LIFETIME_S = 300.0
_LIFETIME_S = 20.0
_MEMBERS = frozenset(
    ("id", "command", "arguments", "device", "counter", "issued_at", "expires_at", "signature")
)
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z")
_LONGEST_NAME = 64
_LONGEST_PHRASE = 200
_MOST_TEXT_BYTES = 4 * _LONGEST_NAME
"""Four bytes a letter at most."""


def _is_text(value: Any, most: int) -> bool:
    if not (isinstance(value, str) and len(value) <= most):
        return False
    # Persian and several Indic scripts need these two inside a word.
    return value.replace("\u200c", "").replace("\u200d", "").isprintable()


def _is_person(value: Any) -> bool:
    return value != "" and _is_text(value, _LONGEST_NAME)


def _is_phrase(value: Any) -> bool:
    return _is_text(value, _LONGEST_PHRASE)


@dataclass(frozen=True)
class Spec:
    """The least role that may send a command, what it does, and a check of each argument."""

    role: Role
    help: str
    arguments: Mapping[str, Callable[[Any], bool]] = field(default_factory=dict)
    optional: Mapping[str, Callable[[Any], bool]] = field(default_factory=dict)

    def fits(self, arguments: Mapping[str, Any]) -> bool:
        """Whether these arguments are valid."""
        known = {**self.arguments, **self.optional}
        return set(self.arguments) <= set(arguments) <= set(known) and all(
            known[name](value) for name, value in arguments.items()
        )


_PERSON = {"person": _is_person}

COMMANDS: Mapping[str, Spec] = {
    "ping": Spec(Role.OBSERVER, "answer, and do nothing else"),
    "status": Spec(Role.OBSERVER, "show listening, lock-out and enrollment"),
    "list": Spec(Role.OBSERVER, "list people and their enrollment"),
    "arm": Spec(Role.OPERATOR, "start listening"),
    "disarm": Spec(Role.OPERATOR, "stop listening"),
    "identify_start": Spec(Role.OPERATOR, "tell who speaks again"),
    "identify_stop": Spec(Role.OPERATOR, "no longer tell who speaks"),
    "lift_lockout": Spec(Role.OPERATOR, "end the lock-out"),
    "lock_out": Spec(Role.OPERATOR, "lock everybody out for a while"),
    "challenge": Spec(Role.OPERATOR, "ask for digits after the next passphrase"),
    "enroll_start": Spec(
        Role.OWNER, "enroll somebody at the device's microphone", _PERSON, {"phrase": _is_phrase}
    ),
    "enroll_cancel": Spec(Role.OWNER, "cancel the enrollment; samples are kept"),
    "enroll_confirm": Spec(Role.OWNER, "confirm an enrollment, so that it opens", _PERSON),
    "delete": Spec(Role.OWNER, "delete a person", _PERSON),
    "reset": Spec(Role.OWNER, "delete a voice signature; name and id stay", _PERSON),
    "disable": Spec(Role.OWNER, "no longer let a person in", _PERSON),
    "enable": Spec(Role.OWNER, "let a person in again", _PERSON),
    "reload": Spec(Role.OWNER, "reload the configuration"),
}
"""Every command. An observer only looks; an operator also locks out, and switches the listening and
the identification; an owner also changes people and the configuration. A person is named by profile
id or by name.
"""

CHOOSE = "enroll_person"
"""Names the person of the next unsigned enrollment; signed commands name the person themselves."""

_UNSIGNED: Mapping[str, Mapping[bytes, str]] = {
    "listening": {b"ON": "arm", b"OFF": "disarm"},
    "identification": {b"ON": "identify_start", b"OFF": "identify_stop"},
    "lift_lockout": {b"PRESS": "lift_lockout"},
    "lock_out": {b"PRESS": "lock_out"},
    "enroll": {b"PRESS": "enroll_start"},
    "enroll_cancel": {b"PRESS": "enroll_cancel"},
    "enroll_confirm": {b"PRESS": "enroll_confirm"},
}


@dataclass(frozen=True)
class Command:
    """A valid command, one of `COMMANDS` or `CHOOSE`, whose counter has not been checked yet.

    An unsigned one may lack arguments, and has no `id`, `key_id`, `role` or `counter`.
    """

    name: str
    arguments: Mapping[str, Any]
    id: str = ""
    key_id: str | None = None
    role: Role | None = None
    counter: int = 0


class CommandRefused(Exception):
    """A message that is refused, with its valid id, verified key and known command, if any.

    The reason is one of `MessageProblem`'s, or `retained`, `bad_form`, `unsigned`, `unknown_key`,
    `bad_signature`, `other_device`, `not_yet`, `late`, `repeated`, `unknown_command`,
    `not_allowed`, `bad_arguments`, `switched_off`, `busy`, `too_many` or `not_stored`.
    """

    def __init__(
        self,
        reason: str,
        *,
        id: str = "",  # noqa: A002 (its name in the message)
        key_id: str | None = None,
        command: str | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.id = id
        self.key_id = key_id
        self.command = command


def command_message(
    name: str,
    arguments: Mapping[str, Any],
    device_id: str,
    key: SigningKey,
    *,
    lifetime_s: float = _LIFETIME_S,
) -> dict[str, Any]:
    """A signed command, issued now; its counter is in milliseconds. Raises `MessageProblem`."""
    now = time.time()
    message = {
        "id": str(uuid.uuid4()),
        "command": name,
        "arguments": dict(arguments),
        "device": device_id,
        "counter": int(now * 1000),
        "issued_at": utc(now),
        "expires_at": utc(now + lifetime_s),
    }
    return signed(message, COMMAND, key)


def read_command(
    message: Incoming,
    keys: Mapping[str, CommandKey],
    *,
    device_id: str,
    now: float,
    allowance_s: float,
) -> Command:
    """The command in a message on BASE/DEVICE/command; `now` is Unix time, seconds.

    `allowance_s` is how far the sender's clock may be off.

    Raises:
        CommandRefused: it is not genuine, fresh and allowed. No other exception, whatever it is.
    """
    if message.retained:
        raise CommandRefused("retained")
    try:
        content = read_message(message.payload, MAX_BYTES)
    except MessageProblem as problem:
        raise CommandRefused(problem.reason) from None
    identity, name = content.get("id"), content.get("command")
    valid_id = identity if isinstance(identity, str) and _ID.fullmatch(identity) else ""
    known = name if isinstance(name, str) and name in COMMANDS else None
    reason, key = _signed_by(content, keys)
    if key is None:
        raise CommandRefused(reason, id=valid_id, command=known)
    reason = (
        _bad_form(content)
        or _not_current(content, device_id, now, allowance_s)
        or _not_allowed(content, key.role)
    )
    if reason or known is None:
        raise CommandRefused(reason, id=valid_id, key_id=key.verifier.key_id, command=known)
    return Command(
        known, content["arguments"], valid_id, key.verifier.key_id, key.role, content["counter"]
    )


def _signed_by(
    content: Mapping[str, Any], keys: Mapping[str, CommandKey]
) -> tuple[str, CommandKey | None]:
    if "signature" not in content:
        return "unsigned", None
    signature = signature_of(content)
    if signature is None:
        return "bad_form", None
    key = keys.get(signature[1])
    if key is None:
        return "unknown_key", None
    if not is_genuine(content, COMMAND, key.verifier):
        return "bad_signature", None
    return "", key


def _bad_form(content: Mapping[str, Any]) -> str:
    counter, identity = content.get("counter"), content.get("id")
    issued, expires = unix(content.get("issued_at")), unix(content.get("expires_at"))
    good = (
        set(content) == _MEMBERS
        and isinstance(identity, str)
        and _ID.fullmatch(identity) is not None
        and isinstance(counter, int)
        and not isinstance(counter, bool)
        and counter >= 1
        and isinstance(content["arguments"], Mapping)
        and issued is not None
        and expires is not None
        and 0.0 <= expires - issued <= MAX_LIFETIME_S
    )
    return "" if good else "bad_form"


def _not_current(content: Mapping[str, Any], device_id: str, now: float, allowance_s: float) -> str:
    if content["device"] != device_id:
        return "other_device"
    issued, expires = unix(content["issued_at"]), unix(content["expires_at"])
    if issued is None or issued > now + allowance_s:
        return "not_yet"
    if expires is None or now > expires + allowance_s:
        return "late"
    return ""


def _not_allowed(content: Mapping[str, Any], role: Role) -> str:
    name, arguments = content["command"], content["arguments"]
    if not isinstance(name, str) or name not in COMMANDS:
        return "unknown_command"
    spec = COMMANDS[name]
    if not role.may(spec.role):
        return "not_allowed"
    return "" if spec.fits(arguments) else "bad_arguments"


def read_unsigned(message: Incoming, allowed: UnsignedConfig) -> Command:
    """The command in a message on BASE/DEVICE/set/NAME. Raises `CommandRefused`."""
    name = message.suffix[len("set/") :]
    choices = _UNSIGNED.get(name)
    if choices is None and name != CHOOSE:
        raise CommandRefused("unknown_command")
    some = CHOOSE if choices is None else next(iter(choices.values()))
    if message.retained:
        raise CommandRefused("retained", command=some)
    if not getattr(allowed, name):
        raise CommandRefused("switched_off", command=some)
    if choices is None:
        return Command(CHOOSE, {"person": _text(message.payload)})
    if message.payload not in choices:
        raise CommandRefused("bad_arguments", command=some)
    return Command(choices[message.payload], {})


def _text(payload: bytes) -> str:
    """A person's name, or an empty text. Raises `CommandRefused` where it is neither."""
    if len(payload) <= _MOST_TEXT_BYTES:
        with contextlib.suppress(UnicodeDecodeError):
            text = payload.decode("utf-8").strip()
            if _is_text(text, _LONGEST_NAME):
                return text
    raise CommandRefused("bad_arguments", command=CHOOSE)


def unix(text: Any) -> float | None:
    """The Unix time of a time in a message; None for anything else."""
    if not isinstance(text, str) or not _TIME.fullmatch(text):
        return None
    try:
        stamp = datetime.strptime(text[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
    except ValueError:
        return None
    fraction = text[19:-1]
    return stamp.timestamp() + (float(f"0{fraction}") if fraction else 0.0)
