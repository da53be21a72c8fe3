"""Messages that may be commands: which are read, and why the others are refused."""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edge.config import UnsignedConfig
from edge.crypto.canonical import wire
from edge.crypto.command_keys import Role
from edge.crypto.signing import HmacKey, is_genuine, signed
from edge.mqtt.commands import (
    COMMANDS,
    CommandRefused,
    command_message,
    read_command,
    read_unsigned,
    unix,
)
from edge.mqtt.link import Incoming
from edge.types.decision import utc
from tests.unit.ordering import (
    ARGUMENTS,
    KEYS,
    OBSERVER,
    OPERATOR,
    OWNER,
    STRANGER,
    arrived,
)
from tests.unit.ordering import ordered as ordered_now

NOW = 1772323200.0
"""When the messages of the parametrized tests are read: 2026-03-01, 00:00."""


def ordered(name: str = "ping", key: Any = OWNER, **changes: Any) -> dict[str, Any]:
    """A command that is good at `NOW`, with some changes."""
    current = {"issued_at": "2026-02-28T23:59:59Z", "expires_at": "2026-03-01T00:00:20Z"}
    return ordered_now(name, key, **{**current, **changes})


def dated(issued: str, expires: str) -> Incoming:
    return arrived(ordered(issued_at=f"2026-{issued}Z", expires_at=f"2026-{expires}Z"))


def read(message: Incoming) -> Any:
    return read_command(message, KEYS, device_id="hall", now=NOW, allowance_s=5.0)


@pytest.mark.parametrize("name", sorted(COMMANDS))
@pytest.mark.parametrize("key", [OWNER, OPERATOR, OBSERVER], ids=["owner", "operator", "observer"])
def test_roles(name: str, key: Any) -> None:
    looking = {"ping", "status", "list"}
    people = {*ARGUMENTS, "enroll_cancel", "reload"}
    may = {OWNER: set(COMMANDS), OPERATOR: set(COMMANDS) - people, OBSERVER: looking}[key]
    message = arrived(ordered(name, key))
    if name in may:
        command = read(message)
        assert (command.name, command.key_id) == (name, key.key_id)
        assert command.arguments == ARGUMENTS.get(name, {})
    else:
        with pytest.raises(CommandRefused, match="not_allowed") as caught:
            read(message)
        assert caught.value.key_id == key.key_id


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (arrived(ordered(), retained=True), "retained"),
        (arrived(wire(ordered()).encode().ljust(4097)), "too_large"),
        (arrived(b"\xff"), "not_json"),
        (arrived(b"[]"), "not_an_object"),
        (arrived(b"{}"), "unsigned"),
        (arrived({"signature": {}}), "bad_form"),
        (arrived(ordered(key=STRANGER)), "bad_signature"),
        (arrived(ordered(key=HmacKey(b"o" * 32, "nobody"))), "unknown_key"),
        # The operator's key under the owner's name.
        (arrived(ordered(key=HmacKey(b"o" * 32, "owner-phone"))), "bad_signature"),
        (arrived(signed(command_message("ping", {}, "hall", OWNER), "decision", OWNER)),
         "bad_signature"),
        (arrived({**ordered(), "command": "lock_out"}), "bad_signature"),
        (arrived(ordered(device="back-door")), "other_device"),
        (arrived(ordered(device=None)), "other_device"),
        (dated("03-01T00:00:05.001", "03-01T00:00:20"), "not_yet"),
        (dated("02-28T23:59:00", "02-28T23:59:54.999"), "late"),
        (dated("03-01T00:00:00", "03-01T00:05:00.001"), "bad_form"),
        (dated("03-01T00:00:00.001", "03-01T00:00:00"), "bad_form"),
        (arrived(ordered(issued_at="now")), "bad_form"),
        (arrived(ordered(expires_at="now")), "bad_form"),
        (arrived(ordered(counter=0)), "bad_form"),
        (arrived(ordered(counter=True)), "bad_form"),
        (arrived(ordered(counter="1")), "bad_form"),
        (arrived(ordered(id="")), "bad_form"),
        (arrived(ordered(id="x" * 65)), "bad_form"),
        (arrived(ordered(id="new\nline")), "bad_form"),
        (arrived(ordered(id=7)), "bad_form"),
        (arrived(ordered(more=1)), "bad_form"),
        (arrived(ordered(arguments=[])), "bad_form"),
        (arrived(ordered(command="open")), "unknown_command"),
        (arrived(ordered(command=7)), "unknown_command"),
        (arrived(ordered(arguments={"x": 1})), "bad_arguments"),
        (arrived(ordered("arm", arguments={"on": True})), "bad_arguments"),
        (arrived(ordered("enroll_start", arguments={})), "bad_arguments"),
        (arrived(ordered("enroll_start", arguments={"phrase": "x"})), "bad_arguments"),
        (arrived(ordered("enroll_start", arguments={"person": "Ada", "phrase": 1})),
         "bad_arguments"),
        (arrived(ordered("enroll_start", arguments={"person": "Ada", "phrase": "x" * 201})),
         "bad_arguments"),
        (arrived(ordered("enroll_start", arguments={"person": "Ada", "voice": True})),
         "bad_arguments"),
        (arrived(ordered("delete", arguments={"person": ""})), "bad_arguments"),
        (arrived(ordered("delete", arguments={"person": "x" * 65})), "bad_arguments"),
        (arrived(ordered("delete", arguments={"person": "A\u202eda"})), "bad_arguments"),
        (arrived(ordered("delete", arguments={"person": ["Ada"]})), "bad_arguments"),
        (arrived(ordered("enroll_person", arguments={"person": "Ada"})), "unknown_command"),
    ],
)  # fmt: skip
def test_what_is_refused(message: Incoming, reason: str) -> None:
    with pytest.raises(CommandRefused) as caught:
        read(message)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "message",
    [
        arrived(wire(ordered()).encode().ljust(4096)),
        dated("03-01T00:00:05", "03-01T00:00:20"),
        dated("02-28T23:59:00", "02-28T23:59:55"),
        dated("03-01T00:00:00", "03-01T00:05:00"),
        dated("03-01T00:00:00", "03-01T00:00:00"),
        arrived(ordered(id="x" * 64)),
        arrived(ordered(id="A-z_9")),
        arrived(ordered(counter=1)),
        arrived(ordered("delete", arguments={"person": "x" * 64})),
        arrived(ordered("delete", arguments={"person": "Zo\u200cë\u200d"})),
        arrived(ordered("enroll_start", arguments={"person": "A", "phrase": "x" * 200})),
        arrived(ordered("enroll_start", arguments={"person": "A", "phrase": ""})),
    ],
)
def test_what_is_just_within_the_limits(message: Incoming) -> None:
    command = read(message)
    sent = json.loads(message.payload)
    assert (command.name, command.arguments, command.id, command.counter) == (
        sent["command"], sent["arguments"], sent["id"], sent["counter"],
    )  # fmt: skip
    assert command.role is Role.OWNER


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (arrived(ordered(key=STRANGER, id="mine")), ("mine", None, "ping")),
        (arrived(ordered(id="mine", device="other")), ("mine", "owner-phone", "ping")),
        (arrived(ordered(id="not mine", command="open")), ("", "owner-phone", None)),
        (arrived({"id": "mine", "command": ["ping"]}), ("mine", None, None)),
        (arrived(ordered(id="mine"), retained=True), ("", None, None)),
        (arrived(b"[]"), ("", None, None)),
    ],
)
def test_what_is_known_of_a_refused_command(message: Incoming, expected: object) -> None:
    with pytest.raises(CommandRefused) as caught:
        read(message)
    assert (caught.value.id, caught.value.key_id, caught.value.command) == expected


def test_a_command_as_it_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1772366400.1239)
    message = command_message("delete", {"person": "Ada"}, "hall", OWNER)
    assert (
        str(uuid.UUID(message["id"]))
        == message["id"]
        != command_message("ping", {}, "hall", OWNER)["id"]
    )
    assert list(message) == [
        "id", "command", "arguments", "device", "counter", "issued_at", "expires_at", "signature",
    ]  # fmt: skip
    assert [message[name] for name in list(message)[1:7]] == [
        "delete", {"person": "Ada"}, "hall", 1772366400123, "2026-03-01T12:00:00.123Z",
        "2026-03-01T12:00:20.123Z",
    ]  # fmt: skip
    assert is_genuine(message, "command", OWNER)
    longer = command_message("ping", {}, "hall", OWNER, lifetime_s=300.0)
    assert longer["expires_at"] == "2026-03-01T12:05:00.123Z"


ALL = UnsignedConfig(*[True] * len(fields(UnsignedConfig)))


@pytest.mark.parametrize(
    ("suffix", "payload", "command"),
    [
        ("listening", b"ON", ("arm", {})), ("listening", b"OFF", ("disarm", {})),
        ("identification", b"ON", ("identify_start", {})),
        ("identification", b"OFF", ("identify_stop", {})),
        ("lift_lockout", b"PRESS", ("lift_lockout", {})), ("lock_out", b"PRESS", ("lock_out", {})),
        ("enroll", b"PRESS", ("enroll_start", {})),
        ("enroll_cancel", b"PRESS", ("enroll_cancel", {})),
        ("enroll_confirm", b"PRESS", ("enroll_confirm", {})),
        ("enroll_person", b" Ada\n", ("enroll_person", {"person": "Ada"})),
        ("enroll_person", b"", ("enroll_person", {"person": ""})),
        ("enroll_person", "😀".encode() * 64, ("enroll_person", {"person": "😀" * 64})),
        ("enroll_person", b"Ada".ljust(256), ("enroll_person", {"person": "Ada"})),
    ],
)  # fmt: skip
def test_unsigned_commands(suffix: str, payload: bytes, command: tuple[str, Any]) -> None:
    message = Incoming(f"set/{suffix}", payload, retained=False)
    read = read_unsigned(message, replace(UnsignedConfig(), **{suffix: True}))
    assert (read.name, read.arguments) == command
    assert (read.id, read.key_id, read.role, read.counter) == ("", None, None, 0)
    first = {"listening": "arm", "identification": "identify_start"}.get(suffix, command[0])
    with pytest.raises(CommandRefused, match="switched_off") as caught:
        read_unsigned(message, replace(ALL, **{suffix: False}))
    assert caught.value.command == first
    with pytest.raises(CommandRefused, match="retained") as caught:
        read_unsigned(replace(message, retained=True), UnsignedConfig())
    assert caught.value.command == first


@pytest.mark.parametrize(
    ("suffix", "payload", "reason", "command"),
    [
        ("listening", b"on", "bad_arguments", "arm"),
        ("lock_out", b"", "bad_arguments", "lock_out"),
        ("enroll_person", b"Ada".ljust(257), "bad_arguments", "enroll_person"),
        ("enroll_person", b"x" * 65, "bad_arguments", "enroll_person"),
        ("enroll_person", b"\xff", "bad_arguments", "enroll_person"),
        ("enroll_person", b"A\nB", "bad_arguments", "enroll_person"),
        ("delete", b"ON", "unknown_command", None), ("", b"", "unknown_command", None),
    ],
)  # fmt: skip
def test_unsigned_commands_that_are_refused(
    suffix: str, payload: bytes, reason: str, command: str | None
) -> None:
    with pytest.raises(CommandRefused, match=f"^{reason}$") as caught:
        read_unsigned(Incoming(f"set/{suffix}", payload, retained=False), ALL)
    assert (caught.value.command, caught.value.id, caught.value.key_id) == (command, "", None)


JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20),
        st.sampled_from([*COMMANDS, "hall", "owner-phone", "ed25519", utc(time.time())]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)  # fmt: skip


@given(st.binary(max_size=300), st.booleans())
def test_no_bytes_are_a_command(payload: bytes, retained: bool) -> None:
    with pytest.raises(CommandRefused):
        read(Incoming("command", payload, retained))
    with pytest.raises(CommandRefused):
        read_unsigned(Incoming("set/x", payload, retained), UnsignedConfig(True, True, True))


@given(st.sampled_from(list(ordered())), JSON)
def test_any_member_may_be_anything(name: str, value: Any) -> None:
    genuine = ordered()
    message = {**genuine, name: value}
    assume(message != genuine)
    with pytest.raises(CommandRefused):  # without a new signature nothing passes
        read(Incoming("command", json.dumps(message).encode(), retained=False))


@given(st.sampled_from(["id", "command", "arguments", "device", "counter", "issued_at"]), JSON)
def test_any_signed_member_may_be_anything(name: str, value: Any) -> None:
    try:
        message = ordered(**{name: value})
    except Exception:  # noqa: BLE001 (nothing that can be signed)
        return
    try:
        command = read(arrived(message))
    except CommandRefused:
        return
    assert command.name in COMMANDS


@given(st.one_of(st.text(max_size=30), st.none(), st.integers()))
def test_any_text_may_be_a_time(text: Any) -> None:
    assert unix(text) is None


def test_times() -> None:
    assert unix("1970-01-01T00:00:10.250Z") == 10.25
    assert unix("1970-01-01T00:00:10.000001Z") == 10.000001
    assert unix("1970-01-01T00:00:10.0000001Z") is None
    assert unix(10.0) is None
    assert unix("1970-01-01T00:00:10Z") == 10.0
    assert unix("1970-02-30T00:00:10Z") is None
    assert unix("1970-01-01T00:00:10+01:00") is None
    assert unix("١٩٧٠-01-01T00:00:10Z") is None
