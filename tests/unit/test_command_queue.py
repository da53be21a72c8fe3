"""The command queue: commands are carried out, and each refusal is accounted for."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.config import UnsignedConfig
from edge.errors import ProfileError, StoreError
from edge.mqtt import CommandFailed
from edge.mqtt.command_queue import RefusalLog
from edge.mqtt.commands import CHOOSE, CommandRefused, read_unsigned
from edge.mqtt.link import Incoming
from edge.store.device_state import DeviceState
from edge.types import Event, EventKind
from tests.unit.ordering import OPERATOR, STRANGER, Home, arrived, ordered


def test_a_command_is_carried_out_answered_and_in_the_trail(tmp_path: Path) -> None:
    home = Home(tmp_path)
    message = ordered("lock_out", OPERATOR)
    home.queue.receive(arrived(message))
    assert home.done == []  # not in the thread of the connection
    assert home.queue.work() == 1
    assert home.done == [("lock_out", {})]
    assert home.answers == [
        {"id": message["id"], "command": "lock_out", "ok": True, "reason": "done",
         "detail": {"note": 1}},
    ]  # fmt: skip
    (event,) = home.events
    assert event.kind is EventKind.COMMAND
    assert event.detail["key_id"] == "panel"
    assert event.detail["role"] == "operator"
    home.queue.receive(arrived(ordered("delete")))
    home.queue.work()
    assert home.events[-1].detail["command"] == "delete"
    assert "Ada" not in str(home.events[-1])  # a name must not outlive the person


def test_repeated_and_reordered_also_after_a_restart(tmp_path: Path) -> None:
    home = Home(tmp_path)
    early, late = ordered("ping", counter=5), ordered("ping", counter=9)
    for message in (late, late, early):
        home.queue.receive(arrived(message))
    home.queue.work()
    assert sorted(home.reasons) == ["done", "repeated", "repeated"]
    again = Home(tmp_path)
    for message in (late, early):
        again.queue.receive(arrived(message))
    again.queue.receive(arrived(ordered("ping", OPERATOR, counter=1)))  # another key's own numbers
    again.queue.work()
    assert sorted(again.reasons) == ["done", "repeated", "repeated"]


def test_the_number_is_kept_before_the_command_is_done(tmp_path: Path) -> None:
    home = Home(tmp_path)
    seen: list[str | None] = []
    home.queue._handlers["lock_out"] = lambda _: seen.append(home.state.get("command/panel"))
    home.queue.receive(arrived(ordered("lock_out", OPERATOR, counter=77)))
    home.queue.work()
    assert seen == ["77"]
    home.state.close()
    home.queue.receive(arrived(ordered("lock_out", OPERATOR, counter=78)))
    home.queue.work()
    home.queue.work()
    assert seen == ["77"]
    assert home.reasons[-1] == "not_stored"


def test_what_a_handler_may_raise(tmp_path: Path) -> None:
    home = Home(tmp_path)
    for count, (error, reason) in enumerate(
        (
            (ProfileError("no such profile: did you mean Ada (duress)?"), "no_such_person"),
            (StoreError("disk"), "failed"),
            (CommandFailed("not_locked_out"), "not_locked_out"),
            (RuntimeError("bug"), "failed"),
        )
    ):

        def fail(_: Mapping[str, Any], error: Exception = error) -> None:
            raise error

        home.queue._handlers["delete"] = fail
        home.queue.receive(arrived(ordered("delete", counter=count + 1)))
        home.queue.work()
        assert home.answers[-1]["reason"] == reason
        assert "duress" not in str(home.answers[-1])
        assert home.events[-1].kind is EventKind.COMMAND
        assert home.events[-1].detail["ok"] is False
    home.queue.receive(arrived(ordered("status", counter=100)))
    home.queue.work()
    assert home.answers[-1]["reason"] == "unsupported"


def test_unsigned_commands_are_off_until_each_is_allowed(tmp_path: Path) -> None:
    messages = [
        arrived(b"OFF", "set/listening"),
        arrived(b"PRESS", "set/lift_lockout"),
        arrived(b"PRESS", "set/lock_out"),
    ]
    (tmp_path / "one").mkdir()
    home = Home(tmp_path / "one")
    for message in messages:
        home.queue.receive(message)
    home.queue.work()
    assert home.done == []
    assert home.reasons == ["switched_off"] * 3
    (tmp_path / "two").mkdir()
    home = Home(tmp_path / "two", unsigned=UnsignedConfig(listening=True))
    for message in (*messages, arrived(b"ON", "set/listening")):
        home.queue.receive(message)
    for payload in (b"on", b"", b"OFF\n", b"\xff", b"1"):
        home.queue.receive(arrived(payload, "set/listening"))
    home.queue.receive(arrived(b"ON", "set/listening", retained=True))
    home.queue.receive(arrived(b"ON", "set/delete"))
    home.queue.receive(arrived(b"ON", "set/"))
    home.queue.work()
    assert home.done == [("disarm", {}), ("arm", {})]
    assert [event.detail["role"] for event in home.events if event.kind is EventKind.COMMAND] == [
        "unsigned", "unsigned",
    ]  # fmt: skip
    assert len(home.events) == 12
    assert home.answers == []


def test_an_unsigned_enrollment(tmp_path: Path) -> None:
    wanted = [
        arrived("Zoë".encode(), "set/enroll_person"),
        arrived(b"PRESS", "set/enroll"),
        arrived(b"PRESS", "set/enroll_cancel"),
        arrived(b"", "set/enroll_person"),
    ]
    (tmp_path / "shut").mkdir()
    home = Home(tmp_path / "shut")
    for message in wanted:
        home.queue.receive(message)
    home.queue.work()
    assert home.done == []
    assert home.reasons == ["switched_off"] * 4
    (tmp_path / "open").mkdir()
    allowed = UnsignedConfig(enroll=True, enroll_cancel=True, enroll_person=True)
    home = Home(tmp_path / "open", unsigned=allowed)
    for message in wanted:
        home.queue.receive(message)
    for message in (
        arrived(b"Ada", "set/enroll"),
        arrived(b"press", "set/enroll_cancel"),
        arrived(b"x" * 65, "set/enroll_person"),
        arrived("é".encode() * 129, "set/enroll_person"),
        arrived(b"Ada\nRobin", "set/enroll_person"),
        arrived(b"\xff", "set/enroll_person"),
    ):
        home.queue.receive(message)
    home.queue.receive(arrived(b"PRESS", "set/enroll", retained=True))
    home.queue.receive(arrived(b"Ada", "set/enroll_person", retained=True))
    home.queue.work()
    assert home.done == [
        (CHOOSE, {"person": "Zoë"}), ("enroll_start", {}), ("enroll_cancel", {}),
        (CHOOSE, {"person": ""}),
    ]  # fmt: skip
    assert sorted(home.reasons) == ["bad_arguments"] * 6 + ["done"] * 4 + ["retained"] * 2
    assert "Zoë" not in str(home.events)


@given(st.one_of(st.binary(max_size=300), st.text(max_size=80).map(str.encode)))
def test_any_bytes_may_be_a_name(payload: bytes) -> None:
    allowed = UnsignedConfig(enroll_person=True)
    try:
        command = read_unsigned(Incoming("set/enroll_person", payload, retained=False), allowed)
    except CommandRefused as refused:
        assert refused.reason == "bad_arguments"  # noqa: PT017 (most pass, some do not)
        return
    name = command.arguments["person"]
    assert len(name) <= 64
    assert name == name.strip()
    assert "\n" not in name
    assert payload.decode("utf-8").strip() == name


def test_what_must_not_be_in_the_trail(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.queue.receive(arrived(ordered("enroll_start")))
    home.queue.work()
    assert home.done == [("enroll_start", {"person": "Ada", "phrase": "what Ada says"})]
    assert "Ada" not in str(home.events)


def test_a_flood_is_bounded_and_each_message_of_it_accounted_for(tmp_path: Path) -> None:
    home = Home(tmp_path, refusals=RefusalLog(burst=50, per_s=0.0, summary_s=0.2))
    for count in range(3000):
        home.queue.receive(arrived(ordered(key=STRANGER) if count % 2 else b"garbage"))
    home.queue.work()
    time.sleep(0.3)
    home.queue.work()
    for _ in range(7):
        home.queue.receive(arrived(b"more"))
    home.queue.close()
    single = [event for event in home.events if event.detail["reason"] != "flood"]
    floods = [event.detail for event in home.events if event.detail["reason"] == "flood"]
    assert len(single) == 50
    assert [flood["messages"] for flood in floods] == [2950, 7]
    assert floods[0]["messages_bad_signature"] == 1475
    assert floods[0]["messages_not_json"] == 1475
    assert len(home.answers) <= 8


def test_genuine_commands_pass_through_a_flood(tmp_path: Path) -> None:
    home = Home(tmp_path, refusals=RefusalLog(burst=5, per_s=0.0))
    for count in range(1000):
        home.queue.receive(arrived(b"garbage"))
        if count % 250 == 0:
            home.queue.receive(arrived(ordered("lock_out", counter=count + 1)))
    assert home.queue.work() == 4
    assert len(home.done) == 4


def test_more_commands_than_the_queue_holds(tmp_path: Path) -> None:
    home = Home(tmp_path)
    for count in range(40):
        home.queue.receive(arrived(ordered("lock_out", counter=count + 1)))
    done = [home.queue.work() for _ in range(6)]
    assert done == [8, 8, 8, 8, 0, 0]
    assert home.reasons.count("busy") == 8
    # What was turned away may come again, under its own number.
    home.queue.receive(arrived(ordered("lock_out", counter=40)))
    assert home.queue.work() == 1


def test_what_waits_at_the_end_is_refused_and_said(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.queue.receive(arrived(ordered("lock_out")))
    home.queue.close()
    assert home.done == []
    assert home.reasons == ["busy"]


def test_unsigned_presses_without_end(tmp_path: Path) -> None:
    home = Home(tmp_path, unsigned=UnsignedConfig(lock_out=True))
    for _ in range(100):
        home.queue.receive(arrived(b"PRESS", "set/lock_out"))
        home.queue.work()
    assert len(home.done) <= 11
    assert home.reasons.count("too_many") >= 89


def test_an_audit_trail_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    def record(_: Event) -> None:
        raise StoreError("disk full")

    home = Home(tmp_path)
    home.queue._record = record
    home.queue.receive(arrived(b"garbage"))
    home.queue.receive(arrived(ordered("lock_out")))
    assert home.queue.work() == 1
    assert home.done


def test_damaged_counters_are_said(tmp_path: Path) -> None:
    state = DeviceState(tmp_path / "state")
    state.put("command/panel", "many")
    with pytest.raises(StoreError, match="panel"):
        Home(tmp_path)
