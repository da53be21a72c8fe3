"""The command queue: commands are carried out, and each refusal is accounted for."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import edge.mqtt.command_queue
from edge.config import CommandsConfig, UnsignedConfig
from edge.errors import ProfileError, StoreError
from edge.mqtt import CommandFailed, CommandQueue
from edge.mqtt.command_queue import FloodLog, RateLimit
from edge.mqtt.commands import CHOOSE, CommandRefused, read_unsigned
from edge.mqtt.link import Incoming
from edge.store.device_state import DeviceState
from edge.types import EventKind
from edge.types.decision import utc
from tests.unit.locks import watch_locks
from tests.unit.ordering import OBSERVER, OPERATOR, OWNER, STRANGER, Home, arrived, ordered


class Clock:
    """Stands for the module `time` of the command queue."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return 1772366400.1239 + self.now - 1000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(edge.mqtt.command_queue, "time", made)
    return made


def allowed(limit: RateLimit, most: int = 1000) -> int:
    return next(count for count in range(most) if not limit.allows())


def test_a_number_at_once_then_a_number_a_second(clock: Clock) -> None:
    limit = RateLimit(burst=3, per_s=0.5)
    found = []
    for seconds in (0.0, 1.75, 0.25, 4.5, 1.5, 1000.0):
        clock.now += seconds
        found.append(allowed(limit))
    assert found == [3, 0, 1, 2, 1, 3]


def test_refusals_have_entries_of_their_own_up_to_a_limit(clock: Clock) -> None:
    log = FloodLog()
    assert [log.add("x", {"number": number}) for number in range(122)] == [True] * 120 + [False] * 2
    clock.now += 7201.0
    assert len(log.due()) == 121  # with the count of the first hour
    assert [log.add("y", {}) for _ in range(11)] == [True] * 10 + [False]  # 120 a day
    assert len(log.due()) == 10
    clock.now += 3600.0
    (flood,) = log.due()
    assert flood.kind is EventKind.COMMAND_REFUSED
    assert flood.detail == {
        "reason": "flood", "messages": 1, "since": "2026-03-01T14:00:01.123Z", "messages_y": 1,
    }  # fmt: skip
    assert log.due(final=True) == []
    # Where nobody takes them out, four bursts are kept.
    for _ in range(5):
        clock.now += 86400.0
        for _ in range(120):
            log.add("x", {})
    assert [event.detail["reason"] for event in log.due(final=True)] == ["x"] * 480 + ["flood"]


def test_counts_of_a_flood_wait_for_their_time(clock: Clock) -> None:
    log = FloodLog(burst=1, per_s=0.0, summary_s=60.0)
    for _ in range(3):
        log.add("x", {"command": "ping"})
        clock.now += 29.9
    assert [event.detail for event in log.due()] == [{"reason": "x", "command": "ping"}]
    log.add("x", {})
    assert log.due() == []  # 59.8 seconds after the first that was only counted
    clock.now += 0.25
    assert [event.detail["messages"] for event in log.due()] == [3]
    log.add("x", {})
    assert log.due() == []
    assert [event.detail["messages"] for event in log.due(final=True)] == [1]


def test_each_use_is_alone_with_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    locks = watch_locks(monkeypatch, edge.mqtt.command_queue)
    log = FloodLog()
    log.add("x", {})
    log.due()
    assert [lock.taken for lock in locks] == [2]


def test_a_command_is_carried_out_answered_and_in_the_trail(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
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
    assert event.detail == {
        "command": "lock_out", "ok": True, "reason": "done", "key_id": "panel", "role": "operator",
        "counter": message["counter"],
    }  # fmt: skip
    assert event.profile_id is None
    home.queue.receive(arrived(ordered("delete")))
    home.queue.work()
    assert home.events[-1].detail["command"] == "delete"
    assert home.events[-1].profile_id == "p1"
    assert "Ada" not in str(home.events[-1])  # a name must not outlive the person
    assert "Ada" not in caplog.text


def test_repeated_and_reordered_also_after_a_restart(tmp_path: Path) -> None:
    home = Home(tmp_path)
    early, late = ordered("ping", counter=5), ordered("ping", counter=9)
    for message in (late, late, early):
        home.queue.receive(arrived(message))
    home.queue.work()
    assert home.reasons == ["repeated", "repeated", "done"]
    assert home.answers == [
        {"id": late["id"], "command": "ping", "ok": True, "reason": "done"},
        {"id": late["id"], "ok": False, "reason": "repeated"},
        {"id": early["id"], "ok": False, "reason": "repeated"},
    ]
    again = Home(tmp_path)
    for message in (late, early):
        again.queue.receive(arrived(message))
    again.queue.receive(arrived(ordered("ping", OPERATOR, counter=1)))  # another key's own numbers
    again.queue.work()
    assert again.reasons == ["repeated", "repeated", "done"]


def test_of_two_doors_with_one_key_none_takes_back_what_the_other_one_has_counted(
    tmp_path: Path,
) -> None:
    front, back = Home(tmp_path), Home(tmp_path)
    for door, counter in ((front, 9), (back, 5)):
        door.queue.receive(arrived(ordered("ping", counter=counter)))
        door.queue.work()
        assert door.reasons == ["done"]
    again = Home(tmp_path)
    for counter in (6, 9, 10):
        again.queue.receive(arrived(ordered("ping", counter=counter)))
    again.queue.work()
    assert again.reasons == ["repeated", "repeated", "done"]


def test_two_at_once_with_one_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locks = watch_locks(monkeypatch, edge.mqtt.command_queue)
    home = Home(tmp_path)
    lock = locks[-1]
    for taken in (1, 2):
        home.queue.receive(arrived(ordered("ping", counter=5)))
        assert lock.taken == taken
    assert home.queue.work() == 1


def test_no_flood_pushes_other_entries_out_of_the_trail(tmp_path: Path, clock: Clock) -> None:
    home = Home(tmp_path)

    def send(key: Any, counter: int) -> None:
        now = clock.time()
        times = {"issued_at": utc(now), "expires_at": utc(now + 20.0)}
        home.queue.receive(arrived(ordered("ping", key, counter=counter, **times)))
        home.queue.work()

    for hour in range(48):
        for number in range(12):
            send(OBSERVER, 12 * hour + number + 1)
            send(STRANGER, 1)
        clock.now += 3600.0
    home.queue.close()
    for kind in (EventKind.COMMAND, EventKind.COMMAND_REFUSED):
        details = [event.detail for event in home.events if event.kind is kind]
        own = [detail for detail in details if detail["reason"] != "flood"]
        counts = [int(each["messages"] or 0) for each in details if each["reason"] == "flood"]
        assert len(own) + sum(counts) == 576
        assert 120 < len(own) < 120 + 2 * 120
        assert len(counts) < 48
    home.events.clear()
    for counter in range(300):  # what an owner does is always told
        send(OWNER, counter + 1)
    assert [event.kind for event in home.events] == [EventKind.COMMAND] * 300


def test_what_is_told_of_a_refused_message(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.queue.receive(arrived(ordered("ping", id="mine", device="other"), "x" * 70))
    message = arrived(ordered("ping", id="mine", device="other"))
    home.queue.receive(message)
    home.queue.receive(arrived(b"[]"))
    home.queue.work()
    assert [event.detail for event in home.events] == [
        {"reason": "unknown_command", "command": None, "key_id": None, "topic": "x" * 64,
         "bytes": len(message.payload)},
        {"reason": "other_device", "command": "ping", "key_id": "owner-phone", "topic": "command",
         "bytes": len(message.payload)},
        {"reason": "not_an_object", "command": None, "key_id": None, "topic": "command",
         "bytes": 2},
    ]  # fmt: skip
    assert home.answers == [{"id": "mine", "ok": False, "reason": "other_device"}]


def test_the_clock_of_a_sender_may_be_off(tmp_path: Path, clock: Clock) -> None:
    home = Home(tmp_path, clock_allowance_s=2.0)
    times = {"issued_at": "2026-03-01T11:59:00Z", "expires_at": "2026-03-01T11:59:58Z"}
    for counter, seconds in ((1, -0.25), (2, 0.25)):
        clock.now = 1000.0 - 0.125 + seconds
        home.queue.receive(arrived(ordered("ping", counter=counter, **times)))
    home.queue.work()
    assert home.reasons == ["late", "done"]


@pytest.mark.parametrize(("now", "reason"), [(1772366398.0, "done"), (1772452798.0, "late")])
def test_fresh_is_what_the_door_s_clock_says(tmp_path: Path, now: float, reason: str) -> None:
    home = Home(tmp_path, now=lambda: now)
    times = {"issued_at": "2026-03-01T11:59:50Z", "expires_at": "2026-03-01T12:00:00Z"}
    home.queue.receive(arrived(ordered("ping", counter=1, **times)))
    home.queue.work()
    assert home.reasons == [reason]


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
    assert home.events[-1].detail == {
        "reason": "not_stored", "command": "lock_out", "key_id": "panel", "topic": "command",
        "bytes": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("error", "reason", "detail"),
    [
        (ProfileError("no such profile: did you mean Ada (duress)?"), "no_such_person",
         {"message": "nobody has that name or id; see the command list"}),
        (StoreError("disk"), "failed", None),
        (CommandFailed("not_locked_out"), "not_locked_out", None),
        (CommandFailed("bad_config", "line 3"), "bad_config", {"message": "line 3"}),
        (RuntimeError("bug"), "failed", None),
        (None, "unsupported", None),
    ],
)  # fmt: skip
def test_what_a_handler_may_raise(
    tmp_path: Path, error: Exception | None, reason: str, detail: object
) -> None:
    home = Home(tmp_path)

    def fail(_: Mapping[str, Any]) -> None:
        assert error is not None
        raise error

    home.queue._handlers["delete"] = fail
    message = ordered("delete" if error else "status")
    home.queue.receive(arrived(message))
    assert home.queue.work() == 1
    expected = {
        "id": message["id"], "command": message["command"], "ok": False, "reason": reason,
    }  # fmt: skip
    assert home.answers == [{**expected, "detail": detail} if detail else expected]
    assert home.events[-1].kind is EventKind.COMMAND
    assert home.events[-1].detail["ok"] is False
    assert home.events[-1].profile_id is None
    assert not isinstance(error, CommandFailed) or str(error) == reason


def test_handlers_of_no_command(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^no such command: open, shut$"):
        CommandQueue(
            CommandsConfig(), "hall", DeviceState(tmp_path),
            dict.fromkeys(["shut", "ping", "open"], lambda _: None), record=lambda _: None,
        )  # fmt: skip


def test_unsigned_commands(tmp_path: Path) -> None:
    home = Home(tmp_path, unsigned=UnsignedConfig(listening=True, enroll_person=True))
    home.queue.receive(arrived(b"PRESS", "set/lock_out"))
    home.queue.receive(arrived(b"OFF", "set/listening"))
    home.queue.receive(arrived("Zoë".encode(), "set/enroll_person"))
    home.queue.work()
    assert home.done == [("disarm", {}), (CHOOSE, {"person": "Zoë"})]
    assert [event.detail for event in home.events] == [
        {"reason": "switched_off", "command": "lock_out", "key_id": None, "topic": "set/lock_out",
         "bytes": 5},
        *(
            {"command": name, "ok": True, "reason": "done", "key_id": None, "role": "unsigned",
             "counter": 0}
            for name in ("disarm", CHOOSE)
        ),
    ]  # fmt: skip
    assert home.answers == []


def test_unsigned_presses_without_end(tmp_path: Path, clock: Clock) -> None:
    home = Home(tmp_path, unsigned=UnsignedConfig(lock_out=True))
    for seconds in (0.0, 13.0):
        clock.now += seconds
        for _ in range(12):
            home.queue.receive(arrived(b"PRESS", "set/lock_out"))
    while home.queue.work():
        pass
    assert len(home.done) == 16  # ten at once, and one in two seconds
    refused = [event.detail for event in home.events if event.detail["reason"] == "too_many"]
    assert [detail["command"] for detail in refused] == ["lock_out"] * 8


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


def test_a_flood_is_bounded_and_each_message_of_it_accounted_for(
    tmp_path: Path, clock: Clock
) -> None:
    home = Home(tmp_path, refusals=FloodLog(burst=50, per_s=0.0, summary_s=60.0))
    stranger = arrived(ordered(key=STRANGER))
    for count in range(300):
        home.queue.receive(stranger if count % 2 else arrived(b"garbage"))
    home.queue.work()
    clock.now += 60.0
    home.queue.work()
    for _ in range(7):
        home.queue.receive(arrived(b"more"))
    home.queue.close()
    single = [event for event in home.events if event.detail["reason"] != "flood"]
    floods = [event.detail for event in home.events if event.detail["reason"] == "flood"]
    assert len(single) == 50
    assert [flood["messages"] for flood in floods] == [250, 7]
    assert floods[0]["messages_bad_signature"] == 125
    assert floods[0]["messages_not_json"] == 125
    assert len(home.answers) == 8


def test_genuine_commands_pass_through_a_flood(tmp_path: Path) -> None:
    home = Home(tmp_path, refusals=FloodLog(burst=5, per_s=0.0))
    for count in range(40):
        home.queue.receive(arrived(b"garbage"))
        if count % 10 == 0:
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


def test_what_waits_at_the_end_is_left_to_the_service_that_follows(tmp_path: Path) -> None:
    home = Home(tmp_path)
    messages = [arrived(ordered("lock_out", counter=count + 1)) for count in range(3)]
    messages.append(arrived(b"PRESS", "set/lift_lockout"))
    home = Home(tmp_path, unsigned=UnsignedConfig(lift_lockout=True))
    for message in messages:
        home.queue.receive(message)
    assert home.queue.take_back() == messages
    home.queue.close()
    assert (home.done, home.answers, home.events) == ([], [], [])
    home.state.close()
    after = Home(tmp_path, unsigned=UnsignedConfig(lift_lockout=True))
    for message in messages:
        after.queue.receive(message)
    assert after.queue.work() == 4
    assert after.reasons == ["done"] * 4


def test_after_a_reload_nothing_more_is_carried_out(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.queue._stopping = lambda: bool(home.done)
    for count in range(3):
        home.queue.receive(arrived(ordered("reload", counter=count + 1)))
    assert home.queue.work() == 1
    assert len(home.queue.take_back()) == 2


def test_what_waits_at_the_end_is_refused_and_said(tmp_path: Path) -> None:
    home = Home(tmp_path)
    for count in range(32):
        home.queue.receive(arrived(ordered("lock_out", counter=count + 1)))
    home.queue.close()
    assert (home.done, home.answers) == ([], [])
    assert [event.detail for event in home.events] == [
        {"reason": "busy", "command": "lock_out", "key_id": "owner-phone", "topic": "command",
         "bytes": 0}
    ] * 32  # fmt: skip
    assert home.queue.work() == 0


def test_what_cannot_be_written_or_sent_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: object) -> None:
        raise StoreError("disk full")

    home = Home(tmp_path)
    home.queue._record = home.queue._answer = fail
    home.queue.receive(arrived(b"garbage"))
    home.queue.receive(arrived(ordered("lock_out")))
    assert home.queue.work() == 1
    assert [name for name, _ in home.done] == ["lock_out"]
    assert caplog.messages == [
        "a command is missing from the audit trail: disk full",
        "a command is missing from the audit trail: disk full",
        "the answer to a command could not be sent: disk full",
    ]
    home.queue._answer = None
    home.queue.receive(arrived(ordered("lock_out", counter=1 << 50)))
    assert home.queue.work() == 1
    assert len(caplog.messages) == 4


@pytest.mark.parametrize("text", ["many", "-1", "1.0", "٣", "1" * 17])
def test_damaged_counters_are_said(tmp_path: Path, text: str) -> None:
    state = DeviceState(tmp_path / "state")
    state.put("command/panel", text)
    with pytest.raises(StoreError, match="command key panel is damaged: restore a backup"):
        Home(tmp_path)
    state.put("command/panel", "1" * 16)
    state.close()
    home = Home(tmp_path)
    for counter in (1111111111111111, 1111111111111112):
        home.queue.receive(arrived(ordered("ping", OPERATOR, counter=counter)))
    home.queue.work()
    assert home.reasons == ["repeated", "done"]
