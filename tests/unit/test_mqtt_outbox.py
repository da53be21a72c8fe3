"""Decisions in the outbox: order, expiry, bounds, and what the log says of those that are lost."""

from __future__ import annotations

import threading
import time

import pytest

from edge.mqtt.outbox import Outbox
from edge.types import AccessDecision, Confidence, Outcome, ReasonCode


def decision(name: str, lifetime_s: float = 60.0) -> AccessDecision:
    return AccessDecision(
        id=name,
        time=time.time(),
        device="hall",
        outcome=Outcome.GRANTED,
        reason=ReasonCode.ACCEPTED,
        confidence=Confidence.HIGH,
        name="Ada",
        lifetime_s=lifetime_s,
    )


def drain(box: Outbox) -> list[str]:
    found: list[str] = []
    while True:
        entry = box.head()
        if entry is None:
            return found
        found.append(entry.id)
        box.remove(entry)


def test_first_in_first_out_and_nothing_leaves_unconfirmed() -> None:
    box = Outbox()
    for name in "abc":
        assert box.put(decision(name))
    first = box.head()
    assert first is not None
    assert first == box.head()
    assert first.payload.startswith('{"id":"a",')
    assert drain(box) == ["a", "b", "c"]
    assert box.dropped == 0


def test_expired_decisions_are_dropped_wherever_they_stand(
    caplog: pytest.LogCaptureFixture,
) -> None:
    box = Outbox()
    for name, lifetime in (("a", 60.0), ("b", 0.05), ("c", 60.0), ("d", 0.05)):
        box.put(decision(name, lifetime))
    time.sleep(0.1)
    assert len(box) == 2
    assert box.dropped == 2
    assert drain(box) == ["a", "c"]
    said = [record.getMessage() for record in caplog.records]
    assert [line.split()[1] for line in said] == ["b", "d"]
    assert all("within its lifetime" in line for line in said)
    assert "Ada" not in caplog.text


def test_the_wall_clock_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    box = Outbox()
    box.put(decision("a", 0.2))
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert box.head() is not None
    time.sleep(0.25)
    assert box.head() is None


def test_a_full_box_drops_the_oldest(caplog: pytest.LogCaptureFixture) -> None:
    box = Outbox(capacity=3)
    for name in "abcde":
        box.put(decision(name))
    assert drain(box) == ["c", "d", "e"]
    assert box.dropped == 2
    assert "decision a (granted) was dropped: too many are waiting" in caplog.text


def test_refused_and_held(caplog: pytest.LogCaptureFixture) -> None:
    box = Outbox()
    box.put(decision("a"))
    box.put(decision("b", 0.05))
    first = box.head()
    assert first is not None
    box.refuse(first, "the broker refused it")
    second = box.head()
    assert second is not None
    box.hold(second, 0.01, "nobody subscribes")
    time.sleep(0.1)
    assert box.dropped == 2
    assert "decision a (granted) was dropped: the broker refused it" in caplog.text
    assert "decision b (granted) was dropped: nobody subscribes" in caplog.text


def test_closed_box(caplog: pytest.LogCaptureFixture) -> None:
    box = Outbox()
    box.put(decision("a"))
    box.close()
    assert not box.put(decision("b"))
    assert box.head() is None
    assert box.dropped == 2
    assert caplog.text.count("the service is stopping") == 2


def test_removing_what_has_expired_meanwhile_counts_once() -> None:
    box = Outbox()
    box.put(decision("a", 0.05))
    entry = box.head()
    assert entry is not None
    time.sleep(0.1)
    assert box.dropped == 1
    box.remove(entry)
    box.refuse(entry, "late")
    assert box.dropped == 1


def test_many_threads() -> None:
    box = Outbox(capacity=10_000)
    taken: list[str] = []

    def put(number: int) -> None:
        for count in range(200):
            box.put(decision(f"{number}-{count}"))

    threads = [threading.Thread(target=put, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        taken += drain(box)
    taken += drain(box)
    assert len(taken) == len(set(taken)) == 800
    for number in range(4):
        assert [name for name in taken if name.startswith(f"{number}-")] == [
            f"{number}-{count}" for count in range(200)
        ]


def test_decisions_go_first_and_the_rest_in_order() -> None:
    box = Outbox()
    box.put_message("m1", "duress", "{}", 60.0)
    box.put_message("m2", "command/result", "{}", 60.0)
    box.put(decision("a"))
    box.put(decision("b"))
    assert drain(box) == ["a", "b", "m1", "m2"]


def test_nothing_else_pushes_a_decision_out(caplog: pytest.LogCaptureFixture) -> None:
    box = Outbox(capacity=10)
    box.put(decision("a"))
    for number in range(100):
        box.put_message(f"r{number}", "command/result", "{}", 60.0)
    box.put_message("alarm", "duress", "{}", 60.0)
    assert len(box) == 10
    for name in "bcdefghij":
        box.put(decision(name))
    assert not box.put_message("late", "duress", "{}", 60.0)
    assert box.dropped == 0
    assert box.decisions == 10
    assert drain(box) == list("abcdefghij")
    assert "Ada" not in caplog.text


def test_what_nobody_hears_waits_and_keeps_its_topic_in_order() -> None:
    box = Outbox()
    box.put(decision("a"))
    box.put(decision("b"))
    box.put_message("m", "duress", "{}", 60.0)
    first = box.head()
    assert first is not None
    box.hold(first, 0.1, "nobody subscribes")
    other = box.head()
    assert other is not None
    assert other.id == "m"  # never b before a
    wait = box.next_s()
    assert wait is not None
    assert 0.0 < wait <= 0.1
    time.sleep(0.12)
    assert drain(box) == ["a", "b", "m"]
    assert box.next_s() is None


def test_messages_expire_uncounted(caplog: pytest.LogCaptureFixture) -> None:
    box = Outbox()
    box.put_message("duress #1", "duress", "secret text", 0.05)
    time.sleep(0.1)
    assert box.head() is None
    assert box.dropped == 0
    assert "message duress #1 was dropped" in caplog.text
    assert "secret text" not in caplog.text
