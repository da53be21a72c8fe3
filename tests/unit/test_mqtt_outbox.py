"""Messages in the outbox: order, expiry, bounds, and what the log says of those that are lost."""

from __future__ import annotations

import logging
import threading
import time

import pytest

import edge.mqtt.outbox
from edge.mqtt.outbox import Outbox, Outgoing
from edge.types import AccessDecision, Confidence, Outcome, ReasonCode
from tests.unit.locks import watch_locks


class Clock:
    """What `now` reads; it stands still until a test sets it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def read(self, which: int) -> float:
        assert which == time.CLOCK_BOOTTIME  # runs on in suspend, and nobody sets it
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(time, "clock_gettime", made.read)
    return made


def decision(name: str, lifetime_s: float = 60.0) -> AccessDecision:
    return AccessDecision(
        id=name,
        time=time.time(),
        device="hall",
        outcome=Outcome.GRANTED,
        reason=ReasonCode.RECOGNIZED,
        confidence=Confidence.HIGH,
        name="Ada",
        lifetime_s=lifetime_s,
    )


def filled(*names: str, capacity: int = 32) -> Outbox:
    box = Outbox(capacity)
    for name in names:
        assert box.put(decision(name))
    return box


def head(box: Outbox) -> Outgoing:
    entry = box.head()
    assert entry is not None
    return entry


def drain(box: Outbox) -> list[str]:
    found: list[str] = []
    while (entry := box.head()) is not None:
        found.append(entry.id)
        box.remove(entry)
    return found


def test_first_in_first_out_and_nothing_leaves_unconfirmed() -> None:
    box = filled("a", "b", "c")
    first = head(box)
    assert first == box.head()
    assert first.payload.startswith('{"id":"a",')
    assert drain(box) == ["a", "b", "c"]
    assert box.dropped == len(box) == 0


def test_expired_decisions_are_dropped_wherever_they_stand(
    caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    box = Outbox()
    for name, lifetime in (("a", 60.0), ("b", 2.0), ("c", 60.0), ("d", 2.0)):
        box.put(decision(name, lifetime))
    box.put(decision("e", 5.0), age_s=3.0)
    clock.now += 1.99
    assert (len(box), box.decisions, box.dropped) == (5, 5, 0)
    clock.now = 1002.0
    assert box.dropped == 3
    assert (len(box), box.decisions) == (2, 2)
    assert drain(box) == ["a", "c"]
    said = [record.getMessage() for record in caplog.records]
    assert [line.split()[1] for line in said] == ["b", "d", "e"]
    assert all("the broker did not confirm it within its lifetime" in line for line in said)
    assert "Ada" not in caplog.text


@pytest.mark.parametrize("asked", ["head", "dropped", "decisions", "__len__", "put"])
def test_whoever_asks_sees_nothing_that_has_expired(asked: str, clock: Clock) -> None:
    box = Outbox(capacity=1)
    box.put(decision("a", 2.0))
    clock.now += 2.0
    if asked == "put":
        # It made room: nothing else is displaced, and nothing said of too many.
        assert box.put_message("m", "duress", "{}", 60.0)
        assert drain(box) == ["m"]
    else:
        found = getattr(box, asked)
        assert (found() if callable(found) else found) in (
            (1,) if asked == "dropped" else (0, None)
        )
    box.close()
    assert box.dropped == 1


def test_a_full_box_drops_the_oldest(caplog: pytest.LogCaptureFixture) -> None:
    names = [f"{number:02d}" for number in range(34)]
    box = Outbox()
    for name in names:
        assert box.put(decision(name))
    assert box.dropped == 2
    assert drain(box) == names[2:]
    assert "decision 00 (granted) was dropped: too many are waiting" in caplog.text


def test_nine_of_a_kind_are_one_too_many(caplog: pytest.LogCaptureFixture) -> None:
    box = filled("a")
    box.put_message("other", "command/result", "{}", 60.0)
    for number in range(8):
        assert box.put_message(f"m{number}", "duress", "{}", 60.0)
    assert len(box) == 10
    assert caplog.messages == []
    assert box.put_message("m8", "duress", "{}", 60.0)
    assert drain(box) == ["a", "other", *(f"m{number}" for number in range(1, 9))]
    assert caplog.messages == ["message m0 was dropped: too many are waiting"]
    assert box.dropped == 0


def test_nothing_else_pushes_a_decision_out(caplog: pytest.LogCaptureFixture) -> None:
    box = filled("a", capacity=5)
    for number, suffix in enumerate(("x", "y", "x", "y", "z")):
        assert box.put_message(f"m{number}", suffix, "{}", 60.0)
    assert drain(box) == ["a", "m1", "m2", "m3", "m4"]  # the oldest of the others went
    box = filled("a", "b", capacity=4)
    box.put_message("m", "duress", "{}", 60.0)
    for name in "cde":
        assert box.put(decision(name))  # the fourth decision, then the fifth
    assert box.dropped == 1
    assert not box.put_message("late", "duress", "{}", 60.0)
    assert (box.dropped, box.decisions) == (1, 4)
    assert drain(box) == list("bcde")
    assert caplog.messages == [
        "message m0 was dropped: too many are waiting",
        "message m was dropped: too many are waiting",
        "decision a (granted) was dropped: too many are waiting",
        "message late was dropped: too many decisions are waiting",
    ]


def test_what_is_dropped_says_why_it_had_to_wait(
    caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    box = filled("a", "b", "c")
    box.put(decision("d", 2.0))
    first = head(box)
    box.refuse(first, "the broker refused it")
    for gone in (first, Outgoing("never", "{}", "granted", 2000.0)):
        box.refuse(gone, "once more")
        box.hold(gone, 1.0, "once more")
        box.remove(gone)
    second = head(box)
    box.hold(second, 1.0, "nobody subscribes")
    box.remove(second)
    # Its reason and its wait went with it.
    box.put(decision("b"))
    assert head(box).id == "c"
    box.hold(head(box), 1.0, "nobody subscribes")
    clock.now += 2.0
    assert box.dropped == 2
    box.close()
    assert caplog.messages == [
        "decision a (granted) was dropped: the broker refused it",
        "decision d (granted) was dropped: the broker did not confirm it within its lifetime",
        "decision c (granted) was dropped: nobody subscribes",
        "decision b (granted) was dropped: the service is stopping",
    ]


def test_closed_box(caplog: pytest.LogCaptureFixture, clock: Clock) -> None:
    box = filled("a")
    box.put(decision("old", 2.0))
    clock.now += 2.0
    box.close()
    assert not box.put(decision("b"))
    assert not box.put_message("m", "duress", "{}", 60.0)
    assert box.head() is None
    assert box.dropped == 3
    assert [text.partition(": ")[2] for text in caplog.messages] == [
        "the broker did not confirm it within its lifetime", *["the service is stopping"] * 3
    ]  # fmt: skip


def test_removing_what_has_expired_meanwhile_counts_once(clock: Clock) -> None:
    box = Outbox()
    box.put(decision("a", 2.0))
    entry = head(box)
    clock.now += 2.0
    assert box.dropped == 1
    box.remove(entry)
    box.refuse(entry, "late")
    assert box.dropped == 1


def test_each_use_is_alone_with_the_queue(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    locks = watch_locks(monkeypatch, edge.mqtt.outbox)
    box = filled("a", "b")
    entry = head(box)
    (lock,) = locks
    alone: list[bool] = []

    def read(_: int) -> float:
        alone.append(lock.locked())
        return clock.now

    monkeypatch.setattr(time, "clock_gettime", read)
    for use in (
        box.head, box.next_s, lambda: box.dropped, lambda: box.decisions, lambda: len(box),
        lambda: box.hold(entry, 1.0, ""), lambda: box.refuse(entry, ""), lambda: box.remove(entry),
        box.close,
    ):  # fmt: skip
        before = lock.taken
        use()
        assert lock.taken == before + 1
    assert all(alone)
    box.put_message("m", "duress", "{}", 60.0)
    assert lock.taken == before + 2
    assert not lock.locked()


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
    assert [head(box).is_decision, head(box).suffix] == [True, "decision"]
    assert drain(box) == ["a", "b", "m1", "m2"]


def test_what_nobody_hears_waits_and_keeps_its_topic_in_order(clock: Clock) -> None:
    box = filled("a", "b")
    box.put_message("m", "duress", "{}", 60.0)
    box.put_message("n", "duress", "{}", 30.0)
    assert box.next_s() == 30.0
    box.hold(head(box), 0.5, "nobody subscribes")
    assert box.next_s() == 0.5
    assert head(box).id == "m"  # never b before a
    box.hold(head(box), 1.0, "nobody subscribes")
    assert box.head() is None  # nor n before m
    clock.now += 0.375
    assert box.head() is None
    assert box.next_s() == 0.125
    clock.now += 0.125
    assert box.next_s() == 0.0
    assert head(box).id == "a"
    clock.now += 1.0
    assert box.next_s() == 0.0  # never negative
    assert drain(box) == ["a", "b", "m", "n"]
    assert box.next_s() == float("inf")


def test_messages_expire_uncounted(caplog: pytest.LogCaptureFixture, clock: Clock) -> None:
    caplog.set_level(logging.DEBUG)
    box = Outbox()
    box.put_message("duress #1", "duress", "secret text", 2.0)
    box.put_message("sound #1", "sound", "{}", 2.0, expendable=True)
    box.put_message("duress #2", "duress", "secret text", 2.0, silent=True)
    clock.now += 2.0
    assert box.head() is None
    assert box.dropped == 0
    assert [record.levelname for record in caplog.records] == ["WARNING", "DEBUG", "DEBUG"]
    assert caplog.messages[0].startswith("message duress #1 was dropped: ")
    assert "secret text" not in caplog.text
