"""Messages that may be commands: which are read, and why the others are refused."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edge.config import UnsignedConfig
from edge.crypto.signing import HmacKey, signed
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
    ordered,
    read,
)

COLLECTED_AT = time.time()
"""When the messages of the parametrized tests were made; it may be long ago when they are read."""


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
        (arrived(b"x" * 5000), "too_large"),
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
        (arrived(ordered(issued_at=utc(time.time() + 100), expires_at=utc(time.time() + 110))),
         "not_yet"),
        (arrived(ordered(issued_at=utc(time.time() - 100), expires_at=utc(time.time() - 80))),
         "late"),
        (arrived(ordered(expires_at=utc(time.time() + 1000))), "bad_form"),
        (arrived(ordered(expires_at=utc(time.time() - 1000))), "bad_form"),
        (arrived(ordered(issued_at="now")), "bad_form"),
        (arrived(ordered(counter=0)), "bad_form"),
        (arrived(ordered(counter=True)), "bad_form"),
        (arrived(ordered(counter="1")), "bad_form"),
        (arrived(ordered(id="")), "bad_form"),
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
    with pytest.raises(CommandRefused, match=f"^{reason}$"):
        read_command(message, KEYS, device_id="hall", now=COLLECTED_AT, allowance_s=5.0)


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
    assert unix("1970-01-01T00:00:10Z") == 10.0
    assert unix("1970-02-30T00:00:10Z") is None
    assert unix("1970-01-01T00:00:10+01:00") is None
    assert unix("١٩٧٠-01-01T00:00:10Z") is None
