"""The publisher in a time of its own: what it sends when, and when it tries again."""

from __future__ import annotations

import itertools
import json
import logging
import random
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import edge
import edge.mqtt.publisher
import edge.mqtt.retained
from edge.config import DeviceConfig, MqttConfig, TlsConfig
from edge.mqtt import MqttPublisher, PublisherCounters
from edge.mqtt.link import Incoming
from edge.mqtt.retained import Retained, RetainedSync
from edge.mqtt.topics import Topics
from tests.unit.locks import watch_locks
from tests.unit.scripted_broker import Broker, World
from tests.unit.test_mqtt_outbox import decision

STATUS = "edge-voice/hall/status"
DECISION = "edge-voice/hall/decision"
NO_RECEIVER = 0x10
FORBIDDEN = 0x87
REFUSED = ConnectionRefusedError()


class Device:
    """A publisher, its broker, and their time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world = World(monkeypatch)
        self.got: list[Incoming] = []
        self.subjects: list[MqttPublisher] = []

    def make(self, **settings: Any) -> MqttPublisher:
        subject = MqttPublisher(MqttConfig(**settings), DeviceConfig(id="hall", name="Hall"))
        self.subjects.append(subject)
        return subject

    def start(self, **settings: Any) -> MqttPublisher:
        subject = self.make(**settings)
        subject.start()
        self.world.run()
        return subject

    @property
    def broker(self) -> Broker:
        return self.world.broker

    def decided(self) -> list[tuple[float, str]]:
        """When each decision came, in seconds from the beginning, and its id."""
        return [
            (each.at - 1000.0, json.loads(each.payload)["id"])
            for each in self.broker.published(DECISION)
        ]

    def statuses(self) -> list[dict[str, Any]]:
        return [json.loads(each.payload) for each in self.broker.published(STATUS)]

    def times(self, kind: str) -> list[float]:
        return [each.at - 1000.0 for each in self.broker.sent if each.kind == kind]

    def tried(self) -> list[float]:
        return [at - 1000.0 for at, *_ in self.broker.tried]


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[Device]:
    made = Device(monkeypatch)
    yield made
    made.world.connecting = None
    for subject in made.subjects:
        subject.close()


def edge_log(caplog: pytest.LogCaptureFixture, level: int = logging.INFO) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith("edge") and record.levelno >= level
    ]


def test_birth_and_status(device: Device, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    subject = device.make()
    assert subject.alive
    assert not subject.connected
    assert not subject.announced
    subject.set_status(microphone="listening")
    subject.start()
    device.world.run()
    assert subject.alive
    assert subject.connected
    assert subject.announced
    (said,) = device.broker.connects
    assert said.client_id == "edge-voice-hall"
    (birth,) = device.broker.published(STATUS)
    assert (birth.retain, birth.qos, birth.expiry_s) == (True, 1, None)
    assert birth.payload == (
        '{"state":"online","device":"hall","name":"Hall",'
        f'"version":"{edge.__version__}","microphone":"listening","dropped_decisions":0}}'
    )
    assert subject.counters == PublisherCounters(0, 0, 0, 1)
    assert edge_log(caplog) == ["connected to the broker at localhost:1883"]


def test_a_name_of_its_own_and_the_older_protocol(
    device: Device, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    device.start(client_id="mine", protocol="3.1.1")
    assert device.broker.connects[0].client_id == "mine"
    assert "(MQTT 3.1.1: it cannot expire decisions kept for absent" in edge_log(caplog)[0]


# --- decisions ---


def test_decisions_go_one_by_one_and_at_once(device: Device) -> None:
    subject = device.start()
    for name in "abc":
        subject.publish_decision(decision(name, 5.9))
    assert subject.counters == PublisherCounters(0, 0, 3, 1)
    device.broker.deaf = {"Publish"}
    device.world.run(0.01)
    assert device.decided() == [(0.0, "a")]
    first = device.broker.published(DECISION)[0]
    assert (first.retain, first.qos, first.expiry_s) == (False, 1, 5)
    assert json.loads(first.payload)["id"] == "a"
    assert subject.counters.confirmed == 0


def test_confirmed_decisions_are_counted_over_all_connections(device: Device) -> None:
    subject = device.start()
    for name in "abc":
        subject.publish_decision(decision(name))
    subject.publish("duress", "{}", lifetime_s=10.0)
    device.world.run()
    assert device.decided() == [(0.0, "a"), (0.0, "b"), (0.0, "c")]
    assert subject.counters == PublisherCounters(3, 0, 0, 1)
    device.broker.hang_up()
    device.world.run(1.0)
    subject.publish_decision(decision("d"))
    device.world.run()
    assert subject.counters == PublisherCounters(4, 0, 0, 2)
    assert device.broker.published("edge-voice/hall/duress")[0].retain is False


@pytest.mark.parametrize(("pause_s", "asked"), [(0.045, False), (0.055, True)])
def test_after_a_pause_the_broker_is_asked_first(
    device: Device, pause_s: float, asked: bool
) -> None:
    subject = device.start()
    device.world.run(pause_s)
    subject.publish_decision(decision("a"))
    device.broker.deaf = {"Unsubscribe"}
    device.world.run(0.5)
    assert bool(device.times("Unsubscribe")) == asked
    assert bool(device.decided()) != asked
    assert len(device.times("Unsubscribe")) < 2


def test_a_broker_that_answers_again_gets_the_decision(device: Device) -> None:
    subject = device.start()
    for second in (1.0, 2.0):
        device.world.run(1.0)
        subject.publish_decision(decision(f"{second:g}"))
        device.world.run()
        assert device.times("Unsubscribe")[-1] == second
    assert device.decided() == [(1.0, "1"), (2.0, "2")]


def test_a_question_that_was_not_answered_is_asked_again(device: Device) -> None:
    subject = device.start()
    device.world.run(1.0)
    device.broker.deaf = {"Unsubscribe"}
    subject.publish_decision(decision("a", 0.5))
    device.world.run(1.0)
    device.broker.deaf = set()
    assert subject.counters.dropped == 1
    # The broker has answered meanwhile, to the status that tells of it.
    subject.publish_decision(decision("b"))
    device.world.run()
    assert device.times("Unsubscribe") == [1.0, 2.0]
    assert device.decided() == [(2.0, "b")]


def test_a_broker_that_is_late_is_not_hung_up_on(
    device: Device, caplog: pytest.LogCaptureFixture
) -> None:
    subject = device.start()
    device.world.run(1.0)
    for second in (1.0, 13.0):
        device.broker.late = True
        subject.publish_decision(decision(f"{second:g}", 5.0))
        device.world.run(2.75)
        assert device.decided()[-1:] != [(second + 2.75, f"{second:g}")]
        device.broker.catch_up()
        device.world.run(9.25)
    assert device.decided() == [(3.75, "1"), (15.75, "13")]
    assert subject.counters == PublisherCounters(2, 0, 0, 1)
    (said,) = edge_log(caplog)
    assert said.startswith("the broker at localhost:1883 took 2.8 s to answer: decisions arrive as")


def test_over_a_dead_path_the_decision_goes_on_another_connection(
    device: Device, caplog: pytest.LogCaptureFixture
) -> None:
    subject = device.start()
    device.world.run(1.0)
    device.broker.deaf, device.world.unacknowledged = {"Unsubscribe"}, 90
    subject.publish_decision(decision("a", 60.0))
    device.world.run(3.4)
    assert subject.connected
    dead = device.broker.line
    assert dead is not None
    device.broker.deaf = set()
    device.world.run(0.2)
    assert not subject.connected
    assert 13 in dead.options  # SO_LINGER: what was unsent is thrown away
    assert device.decided() == []
    assert "nothing has got through for 4 s, while new connections are answered; rec" in caplog.text
    device.world.unacknowledged = 0
    device.world.run(1.0)
    assert device.decided() == [(5.0, "a")]
    assert subject.counters == PublisherCounters(1, 0, 0, 2)


@pytest.mark.parametrize("unacknowledged", [90, 0])
def test_a_decision_that_is_not_confirmed(
    device: Device, unacknowledged: int, caplog: pytest.LogCaptureFixture
) -> None:
    subject = device.start()
    subject.publish_decision(decision("a", 1.5))
    device.broker.late, device.world.unacknowledged = True, unacknowledged
    device.world.run(1.4)
    assert subject.connected
    device.world.run(0.2)
    # What has not reached the broker's machine can be taken back; what has, cannot.
    gone = bool(unacknowledged)
    assert subject.connected != gone
    text = "lost the broker at localhost:1883: a decision did not get through in time; reconnecting"
    assert (text in caplog.text) == gone
    assert subject.counters.dropped == 1
    device.world.unacknowledged = 0
    device.broker.catch_up()
    device.world.run(1.0)
    subject.publish_decision(decision("b", 1.5))
    device.world.run(1.0)
    assert [name for _, name in device.decided()] == ["a", "b"]
    # One that was given up is not confirmed as well.
    assert subject.counters == PublisherCounters(1, 1, 0, 1 + gone)


def test_a_message_that_is_late_does_no_harm(device: Device) -> None:
    subject = device.start()
    subject.publish("sound", "{}", lifetime_s=1.0, expendable=True)
    device.broker.late, device.world.unacknowledged = True, 90
    device.world.reachable = False
    device.world.run(5.0)
    assert subject.connected
    device.world.unacknowledged = 0
    device.broker.catch_up()
    device.world.run()
    assert subject.counters == PublisherCounters(0, 0, 0, 1)


def test_a_silent_message_leaves_no_trace_where_nobody_listens(
    device: Device, caplog: pytest.LogCaptureFixture
) -> None:
    """Not in the log, not in what other messages are called there, and hardly in the traffic."""
    subject = device.start()
    topics = [f"edge-voice/hall/{name}" for name in ("duress", "challenge")]
    device.broker.codes = dict.fromkeys(topics, NO_RECEIVER)
    subject.publish("duress", "{}", lifetime_s=12.0, silent=True)
    device.world.run(9.9)
    assert len(device.broker.published(topics[0])) == 1
    device.world.run(0.2)
    assert len(device.broker.published(topics[0])) == 2
    device.world.run(2.0)
    assert edge_log(caplog) == []
    subject.publish("challenge", "{}", lifetime_s=0.6)
    device.world.run(0.7)
    assert edge_log(caplog) == [
        f"nobody subscribes to {topics[1]}; its messages reach nobody",
        f"message challenge #1 was dropped: nobody subscribes to {topics[1]}",
    ]


def test_until_somebody_listens_it_is_offered_again(
    device: Device, caplog: pytest.LogCaptureFixture
) -> None:
    subject = device.start()
    device.broker.codes = {DECISION: NO_RECEIVER, "edge-voice/hall/duress": NO_RECEIVER}
    subject.publish_decision(decision("a", 5.0))
    subject.publish("duress", "{}", lifetime_s=0.6)
    device.world.run(0.6)
    assert [at for at, _ in device.decided()] == [0.0, 0.25, 0.5]
    assert len(device.broker.published("edge-voice/hall/duress")) == 3
    assert subject.counters == PublisherCounters(0, 0, 1, 1)
    assert edge_log(caplog) == [
        f"nobody subscribes to {DECISION}; decisions reach nobody",
        "nobody subscribes to edge-voice/hall/duress; its messages reach nobody",
        "message duress #1 was dropped: nobody subscribes to edge-voice/hall/duress",
    ]
    device.broker.codes = {}
    device.world.run(1.0)
    assert [at for at, _ in device.decided()] == [0.0, 0.25, 0.5, 0.75]
    assert subject.counters == PublisherCounters(1, 0, 0, 1)
    device.broker.codes = {DECISION: NO_RECEIVER}
    subject.publish_decision(decision("b", 0.5))
    device.world.run(1.0)
    assert subject.counters == PublisherCounters(1, 1, 0, 1)
    assert edge_log(caplog)[3:] == [
        f"decision b (granted) was dropped: nobody subscribes to {DECISION}"
    ]


def test_what_is_expendable_is_not_offered_again(
    device: Device, caplog: pytest.LogCaptureFixture
) -> None:
    subject = device.start()
    device.broker.codes["Publish"] = NO_RECEIVER
    subject.publish("sound", "{}", lifetime_s=5.0, expendable=True)
    device.world.run()
    assert len(device.broker.published("edge-voice/hall/sound")) == 1
    device.world.run(2.0)
    assert len(device.broker.published("edge-voice/hall/sound")) == 1
    assert edge_log(caplog) == []
    assert subject.counters == PublisherCounters(0, 0, 0, 1)


def test_what_is_unconfirmed_is_sent_once_and_only_while_there_is_a_connection(
    device: Device,
) -> None:
    subject = device.make()
    subject.publish("speaker", "0", lifetime_s=60.0, expendable=True, unconfirmed=True)
    subject.start()
    device.world.run()
    for text in ("1", "2"):
        subject.publish("speaker", text, lifetime_s=2.0, expendable=True, unconfirmed=True)
    device.world.run()
    sent = device.broker.published("edge-voice/hall/speaker")
    assert [(each.payload, each.qos, each.retain) for each in sent] == [
        ("1", 0, False), ("2", 0, False),
    ]  # fmt: skip
    # A broker that is frozen would give it to people whenever it wakes.
    device.broker.late = True
    device.world.run(1.0)
    subject.publish("speaker", "3", lifetime_s=2.0, expendable=True, unconfirmed=True)
    device.world.run(2.5)
    device.broker.catch_up()
    device.world.run(1.0)
    assert len(device.broker.published("edge-voice/hall/speaker")) == 2
    assert subject.counters.dropped == 0


def test_what_the_broker_refuses_is_dropped(
    device: Device, caplog: pytest.LogCaptureFixture
) -> None:
    subject = device.start()
    device.broker.codes[DECISION] = FORBIDDEN
    subject.publish_decision(decision("a"))
    subject.publish("sound", "{}", lifetime_s=5.0)
    device.world.run(2.0)
    assert subject.counters == PublisherCounters(0, 1, 0, 1)
    (said,) = edge_log(caplog)
    assert said.startswith("decision a (granted) was dropped: the broker refused it (Not authoriz")
    assert len(device.broker.published("edge-voice/hall/sound")) == 1
    assert device.statuses()[-1]["dropped_decisions"] == 1


def test_age_counts(device: Device) -> None:
    subject = device.make()
    subject.publish_decision(decision("old", 5.0), age_s=5.0)
    subject.publish_decision(decision("young", 5.0), age_s=3.5)
    assert subject.counters == PublisherCounters(0, 1, 1, 0)
    subject.start()
    device.world.run()
    assert device.decided() == [(0.0, "young")]
    assert device.broker.published(DECISION)[0].expiry_s == 1


# --- what is retained ---


def test_a_status_that_keeps_changing(device: Device) -> None:
    subject = device.start()
    for level in range(9):
        subject.set_status(enrolled=level)
        device.world.run(0.125)
    device.world.run(1.0)
    assert [each.at - 1000.0 for each in device.broker.published(STATUS)] == [
        0.0, 0.25, 0.5, 0.75, 1.0, 1.25
    ]  # fmt: skip
    assert device.statuses()[-1]["enrolled"] == 8
    subject.set_status(enrolled=None)
    assert "enrolled" not in subject.status
    device.world.run()
    assert "enrolled" not in device.statuses()[-1]


def test_whether_all_is_announced(device: Device) -> None:
    subject = device.make()
    subject.announce({"ha/a/config": "{}", "ha/b/config": ""})
    subject.publish("lockout", "{}", retain=True)
    device.broker.late = True
    subject.start()
    device.world.run()
    assert not subject.announced
    assert [each.topic for each in device.broker.sent] == [STATUS]  # one at a time
    device.broker.catch_up()
    device.world.run(3.0)
    assert subject.announced
    assert [(each.topic, each.payload, each.retain) for each in device.broker.sent[1:]] == [
        ("edge-voice/hall/lockout", "{}", True),
        ("ha/a/config", "{}", True), ("ha/b/config", "", True),
    ]  # fmt: skip
    device.world.run(10.0)
    assert len(device.broker.sent) == 4
    device.broker.late = True
    subject.publish("lockout", '{"locked":true}', retain=True)
    device.world.run(0.5)
    assert not subject.announced
    device.broker.unreachable = REFUSED
    device.broker.hang_up()
    device.world.run(3.0)
    assert not subject.announced
    assert not subject.connected


def test_what_was_said_on_the_connection_before_is_not_announced_on_the_next(
    device: Device, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    subject = device.start()
    assert subject.announced
    at_first: list[bool] = []

    class Asking(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage().startswith("connected"):
                at_first.append(subject.announced)

    asking = Asking()
    logging.getLogger().addHandler(asking)
    try:
        device.broker.hang_up()
        device.world.run(1.0)
    finally:
        logging.getLogger().removeHandler(asking)
    assert at_first == [False]
    assert subject.announced


def test_all_is_said_again_where_home_assistant_starts(device: Device) -> None:
    subject = device.make()
    subject.announce({"ha/a/config": "{}"}, "ha/status")
    subject.listen(["command"], device.got.append)
    subject.start()
    device.world.run(1.0)
    (subscribed,) = [each for each in device.broker.sent if each.kind == "Subscribe"]
    assert [topic for topic, _ in subscribed.options] == ["edge-voice/hall/command", "ha/status"]
    for payload, retain in (("offline", False), ("online", True)):
        device.broker.send("ha/status", payload, retain=retain)
    device.world.run(8.0)
    assert len(device.broker.published("ha/a/config")) == 1
    for _ in range(3):
        device.broker.send("ha/status", "online")
        device.world.run(0.125)
    device.world.run(20.0)
    # At once, as it was long ago; then not again for five seconds, however often it starts.
    assert [each.at - 1000.0 for each in device.broker.published("ha/a/config")] == [
        0.0, 9.0, 14.0
    ]  # fmt: skip
    assert len(device.broker.published(STATUS)) == 3
    assert device.got == []
    device.broker.send("edge-voice/hall/command", "x")
    device.world.run()
    assert [each.payload for each in device.got] == [b"x"]


def test_a_refused_announcement_is_said_once(
    device: Device, caplog: pytest.LogCaptureFixture
) -> None:
    subject = device.make()
    subject.announce({"ha/a/config": "{}", "ha/b/config": "{}"})
    device.broker.codes = {"ha/a/config": FORBIDDEN, "ha/b/config": FORBIDDEN}
    subject.start()
    device.world.run(2.0)
    assert subject.announced
    (said,) = edge_log(caplog, logging.WARNING)
    assert "refused a retained message on ha/a/config (Not authorized); check its access" in said


def test_topics_that_cannot_be_announced_on_and_too_many(device: Device) -> None:
    subject = device.make()
    for wrong in ("", "a/+", "#", "a\0b", "$SYS/x"):
        with pytest.raises(ValueError, match="cannot publish on"):
            subject.announce({wrong: ""})
    subject.announce({f"ha/{number}": "" for number in range(2048)})
    with pytest.raises(ValueError, match="too many topics to announce on"):
        subject.announce({f"ha/{number}": "" for number in range(2049)})
    for number in range(16):
        subject.publish(f"t{number}", "1", retain=True)
    subject.publish("t3", "2", retain=True)
    with pytest.raises(ValueError, match="too many retained topics"):
        subject.publish("t16", "1", retain=True)


def test_each_use_is_alone_with_what_is_retained(monkeypatch: pytest.MonkeyPatch) -> None:
    locks = watch_locks(monkeypatch, edge.mqtt.retained)
    subject = Retained(Topics("edge-voice", "hall"), {})
    (lock,) = locks
    uses: list[Callable[[], object]] = [
        lambda: subject.status, lambda: subject.set_status({"a": 1}),
        lambda: subject.put("x", "y"), lambda: subject.announce({"z": ""}),
        lambda: subject.current(0),
    ]  # fmt: skip
    for number, use in enumerate(uses):
        use()
        assert lock.taken == number + 1
    mine = subject.status
    mine["a"] = 2
    assert subject.status == {"a": 1}


def test_before_anything_is_said_not_all_is_announced() -> None:
    nowhere: Any = None
    assert not RetainedSync(nowhere, dict).complete


@pytest.mark.parametrize(
    "suffix",
    ["decision", "status", "command", "set", "set/x", "a/+", "#", "", "/x", "x/", "A", "x-y", "é",
     "x" * 33, "a/b/c/d", "a\n"],
)  # fmt: skip
def test_topics_that_are_not_for_others(device: Device, suffix: str) -> None:
    subject = device.make()
    with pytest.raises(ValueError, match="cannot publish on"):
        subject.publish(suffix, "{}", retain=True)


def test_other_messages(device: Device) -> None:
    subject = device.make()
    with pytest.raises(ValueError, match="either retained or has a lifetime"):
        subject.publish("duress", "{}")
    with pytest.raises(ValueError, match="either retained or has a lifetime"):
        subject.publish("duress", "{}", retain=True, lifetime_s=1.0)
    with pytest.raises(UnicodeEncodeError):
        subject.publish("duress", "\ud800", lifetime_s=1.0)
    for suffix in ("x" * 32, "command/result", "a/b/c_9"):
        subject.publish(suffix, "{}", lifetime_s=1.9)
    subject.start()
    device.world.run()
    assert [(each.topic, each.expiry_s) for each in device.broker.sent[1:]] == [
        (f"edge-voice/hall/{suffix}", 1) for suffix in ("x" * 32, "command/result", "a/b/c_9")
    ]


def test_messages_are_numbered_each_under_the_lock(
    device: Device, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    locks = watch_locks(monkeypatch, edge.mqtt.publisher)
    subject = device.make()
    for number in range(9):
        subject.publish("duress", str(number), lifetime_s=1.0)
    assert [lock.taken for lock in locks] == [9, 0]
    assert caplog.messages == ["message duress #1 was dropped: too many are waiting"]


# --- connections ---


@pytest.mark.parametrize(
    ("chance", "pauses"),
    [
        (lambda low, high: low, [0.4, 0.8, 1.6, 3.2, 4.0, 4.0]),
        (lambda low, high: high, [0.6, 1.2, 2.4, 4.8, 6.0, 6.0]),
    ],
)
def test_it_waits_longer_and_longer_and_not_all_at_once(
    device: Device, chance: Any, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random, "uniform", chance)
    device.broker.unreachable = REFUSED
    device.start(reconnect_max_s=5.0)
    device.world.run(sum(pauses) + 0.1)
    found = [late - early for early, late in itertools.pairwise(device.tried())]
    assert found == pytest.approx(pauses, abs=1e-4)


def test_a_decision_does_not_wait_for_the_back_off(device: Device) -> None:
    device.broker.unreachable = REFUSED
    subject = device.start(reconnect_max_s=60.0)
    device.world.run(20.0)
    before = len(device.tried())
    device.broker.unreachable = None
    subject.publish_decision(decision("a"))
    device.world.run()
    assert len(device.tried()) == before + 1  # the last pause is longer than half a second
    device.world.run(0.5)
    assert device.decided() == [(20.0, "a")]


def test_what_waits_shortens_each_pause(device: Device) -> None:
    device.broker.unreachable = REFUSED
    subject = device.start(reconnect_max_s=60.0)
    subject.publish_decision(decision("a", 2.1))
    device.world.run(30.0)
    assert device.tried()[:6] == [0.0, 0.5, 1.0, 1.5, 2.0, 10.0]


@pytest.mark.parametrize(("lasted_s", "pause_s"), [(4.9, 2.0), (5.0, 0.5)])
def test_a_connection_that_lasted_begins_anew(
    device: Device, lasted_s: float, pause_s: float
) -> None:
    device.broker.unreachable = REFUSED
    device.start()
    device.world.run(1.0)  # the pauses double: a half, one second, two
    device.broker.unreachable = None
    device.world.run(2.0)
    at = device.broker.connects[0].at
    device.world.run(at + lasted_s - device.world.now)
    device.broker.hang_up()
    device.world.run(5.0)
    assert device.broker.connects[1].at - at - lasted_s == pytest.approx(pause_s)


def test_an_outage_is_told_once(device: Device, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    device.broker.unreachable = REFUSED
    device.start()
    device.world.run(60.0)
    cannot = "cannot use the broker at localhost:1883"
    text = f"{cannot}: nothing listens there; check that the broker runs, mqtt.host and mqtt.port"
    assert edge_log(caplog) == [text]
    assert len(edge_log(caplog, logging.DEBUG)) > 3
    device.broker.unreachable = TimeoutError()
    device.world.run(60.0)
    device.broker.unreachable = None
    device.world.run(60.0)
    device.broker.unreachable = REFUSED
    device.broker.hang_up()
    device.world.run(60.0)
    assert edge_log(caplog)[1:] == [
        f"{cannot}: it does not answer; check mqtt.host, the network and the firewall",
        "connected to the broker at localhost:1883",
        "lost the broker at localhost:1883: the connection broke; reconnecting",
        text,  # a new outage
    ]


def test_connections_that_keep_breaking_at_once(
    device: Device, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    device.start(reconnect_max_s=1.0)
    for _ in range(3):
        device.broker.hang_up()
        device.world.run(2.0)
    lost = "lost the broker at localhost:1883: the connection broke"
    connected = "connected to the broker at localhost:1883"
    again = (
        f"{lost}, again and again right after connecting; if another client is called"
        " edge-voice-hall too, give every device its own device.id (or mqtt.client_id)"
    )
    assert edge_log(caplog) == [
        connected, f"{lost}; reconnecting", connected, connected, f"{again}; reconnecting",
    ]  # fmt: skip
    for seconds in (2.0, 60.0, 2.0):
        device.broker.hang_up()
        device.world.run(seconds)
    assert edge_log(caplog)[5:] == [f"{lost}; reconnecting", connected]
    for _ in range(4):
        device.broker.hang_up()
        device.world.run(2.0)
    assert edge_log(caplog)[7:] == [connected, connected, f"{again}; reconnecting"]


def test_a_slow_network_is_not_taken_for_another_client_of_this_name(
    device: Device, caplog: pytest.LogCaptureFixture
) -> None:
    subject = device.start(reconnect_max_s=1.0)
    device.broker.late, device.world.unacknowledged = True, 90
    subject.set_status(enrolled=1)
    device.world.run(60.0)
    assert len(device.broker.connects) > 5
    lost = "nothing has got through for 4 s, while new connections are answered"
    assert edge_log(caplog) == [f"lost the broker at localhost:1883: {lost}; reconnecting"]


def test_a_broker_that_is_slow_to_accept(device: Device, caplog: pytest.LogCaptureFixture) -> None:
    device.broker.deaf = {"Connect"}
    device.start(protocol="5")
    device.world.run(9.5)
    assert device.tried() == [0.0]
    device.world.run(1.0)
    assert "it accepts connections but does not answer" in caplog.text


def test_an_unforeseen_error_does_not_end_it(
    device: Device, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    subject = device.start()
    subject.set_status(microphone="\ud800" * 3)  # cannot be sent
    device.world.run(1.0)
    subject.set_status(microphone="listening")
    device.world.run(5.0)
    assert subject.counters.connections > 1
    assert device.statuses()[-1]["microphone"] == "listening"
    (said,) = edge_log(caplog, logging.WARNING)
    assert "unexpected UnicodeEncodeError: 'utf-8' codec can't encode characters" in said
    assert said.endswith("(log_level: debug shows where); reconnecting")
    device.broker.unreachable = RuntimeError("a  b\n" + "x" * 300)
    device.broker.hang_up()
    device.world.run(5.0)
    assert f"unexpected RuntimeError: a b {'x' * 196} (log_level" in edge_log(caplog)[-1]


def test_older_brokers(device: Device) -> None:
    device.broker.hangs_up_on = {5}
    subject = device.start()
    # At once, without a pause.
    assert [each.version for each in device.broker.connects] == [5, 4]
    assert subject.connected
    assert set(device.tried()) == {0.0}
    device.broker.hang_up()
    device.world.run(1.0)
    assert [each.version for each in device.broker.connects[2:]] == [5, 4]


def test_a_broker_that_spoke_the_newer_version_is_given_more_chances(device: Device) -> None:
    device.start()
    device.broker.hangs_up_on = {5}
    device.broker.hang_up()
    device.world.run(60.0)
    assert [each.version for each in device.broker.connects] == [5, 5, 5, 5, 4]


def test_too_large_a_message_and_no_commands_for_a_minute(
    device: Device, caplog: pytest.LogCaptureFixture
) -> None:
    subject = device.make(protocol="3.1.1")
    subject.listen(["command", "set/+"], device.got.append)
    subject.start()
    device.world.run()
    assert device.times("Subscribe") == [0.0]
    device.broker.send("edge-voice/hall/command", b"x" * 20_000)
    device.world.run(59.75)
    assert len(device.broker.connects) == 2
    subject.set_status(enrolled=1)
    device.world.run(0.25)
    assert device.times("Subscribe") == [0.0]
    subject.set_status(enrolled=2)
    device.world.run()
    assert device.times("Subscribe") == [0.0, 60.0]
    (*_, again) = (each.options for each in device.broker.sent if each.kind == "Subscribe")
    assert [topic for topic, _ in again] == ["edge-voice/hall/command", "edge-voice/hall/set/+"]
    assert "far too large; no commands for a minute" in caplog.text
    device.broker.hang_up()
    device.world.run(1.0)
    assert len(device.times("Subscribe")) == 3


def test_a_service_hands_its_connection_over(device: Device) -> None:
    subject = device.make()
    subject.listen(["command", "set/+"], device.got.append)
    subject.set_status(microphone="listening", enrolled=2)
    subject.publish("lockout", "{}", retain=True)
    subject.start()
    device.world.run(1.0)
    device.broker.send("edge-voice/hall/command", "before")
    device.world.run()
    subject.hold()
    device.broker.send("edge-voice/hall/command", "meanwhile")
    device.broker.send("edge-voice/hall/set/x", "and this")
    device.world.run()
    assert [each.payload for each in device.got] == [b"before"]
    # What the next service says is not shown before it begins.
    assert subject.fits(MqttConfig(), DeviceConfig(id="hall", name="Attic"))
    subject.renew(DeviceConfig(id="hall", name="Attic"))
    got: list[Incoming] = []
    subject.listen(["command", "set/+"], got.append)
    subject.set_status(enrolled=3)
    device.world.run(5.0)
    assert len(device.statuses()) == 1
    assert got == []
    subject.start()
    device.broker.send("edge-voice/hall/command", "after")
    device.world.run()
    assert [each.payload for each in got] == [b"meanwhile", b"and this", b"after"]
    assert [each.payload for each in device.got] == [b"before"]
    assert (device.statuses()[-1]["name"], device.statuses()[-1]["enrolled"]) == ("Attic", 3)
    assert "microphone" not in device.statuses()[-1]
    assert len(device.times("Subscribe")) == len(device.tried()) == 1
    assert subject.counters.connections == 1


def test_what_is_kept_for_the_next_service_has_an_end(device: Device) -> None:
    subject = device.make()
    subject.listen(["command"], device.got.append)
    subject.start()
    device.world.run()
    subject.hold()
    for number in range(70):
        device.broker.send("edge-voice/hall/command", str(number))
    device.world.run()
    assert [each.payload for each in subject.take_held()] == [
        str(number).encode() for number in range(6, 70)
    ]
    assert subject.take_held() == []


def test_other_topics_are_subscribed_to_on_the_same_connection(device: Device) -> None:
    subject = device.make()
    subject.listen(["command"], device.got.append)
    subject.announce({}, "homeassistant/status")
    subject.start()
    device.world.run()
    subject.hold()
    subject.renew(DeviceConfig(id="hall", name="Hall"))
    subject.listen(["command"], device.got.append)
    subject.announce({}, "home/status")
    subject.start()
    device.world.run()
    subscribed = [each.options for each in device.broker.sent if each.kind == "Subscribe"]
    assert [[topic for topic, _ in options] for options in subscribed] == [
        ["edge-voice/hall/command", "homeassistant/status"],
        ["edge-voice/hall/command", "home/status"],
    ]
    births = len(device.statuses())
    device.broker.send("homeassistant/status", "online")  # nobody asks there any more
    device.world.run(6.0)
    assert (device.got, len(device.statuses())) == ([], births)
    device.broker.send("home/status", "online")
    device.world.run(6.0)
    assert len(device.statuses()) == births + 1


def test_other_settings_need_another_connection(device: Device, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    secret.write_text("sesame")
    here = DeviceConfig(id="hall")
    mqtt = MqttConfig(username="door", password_file=secret)
    subject = device.start(username="door", password_file=secret)
    assert subject.fits(mqtt, here)
    assert not subject.fits(mqtt, DeviceConfig(id="attic"))
    assert not subject.fits(replace(mqtt, keepalive_s=60), here)
    secret.write_text("another")
    assert not subject.fits(mqtt, here)
    secret.write_text("sesame")
    subject.close()
    assert not subject.fits(mqtt, here)


def test_what_a_receiver_raises_ends_nothing(
    device: Device, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: Incoming) -> None:
        raise RuntimeError("bug")

    subject = device.make()
    subject.listen(["command"], fail)
    subject.start()
    device.world.run()
    device.broker.send("edge-voice/hall/command", "x")
    device.world.run(1.0)
    assert "a message on command could not be handled" in caplog.text
    assert subject.counters.connections == 1


def test_without_anything_to_hear_it_subscribes_to_nothing(
    device: Device, caplog: pytest.LogCaptureFixture
) -> None:
    device.start()
    device.broker.send("homeassistant/status", "online")
    device.world.run(10.0)
    assert device.times("Subscribe") == []
    assert len(device.broker.published(STATUS)) == 1
    assert edge_log(caplog) == []


@pytest.mark.parametrize(
    ("host", "tls", "with_password", "warned"),
    [
        ("broker.example", False, True, True), ("broker.example", False, False, False),
        ("broker.example", True, True, False), ("localhost", False, True, False),
        ("127.0.0.1", False, True, False), ("::1", False, True, False),
    ],
)  # fmt: skip
def test_a_password_in_the_clear(
    device: Device, tmp_path: Path, host: str, tls: bool, with_password: bool, warned: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    file = tmp_path / "password"
    file.write_text("sesame\n")
    file.chmod(0o600)
    device.broker.unreachable = REFUSED
    device.start(
        host=host, username="door", password_file=file if with_password else None,
        tls=TlsConfig(enabled=tls),
    )  # fmt: skip
    said = "the broker's password crosses the network unencrypted; set mqtt.tls.enabled to true"
    assert (said in caplog.messages) == warned


def test_switched_off_it_does_nothing(device: Device, tmp_path: Path) -> None:
    subject = device.make(
        enabled=False, password_file=tmp_path / "absent",
        tls=TlsConfig(enabled=True, ca_file=tmp_path / "absent"),
    )  # fmt: skip
    subject.start()
    subject.publish_decision(decision("a"))
    subject.publish("duress", "{}", lifetime_s=1.0)
    for number in range(20):
        subject.publish(f"t{number}", "{}", retain=True)
    subject.set_status(enrolled=3)
    assert subject.status["enrolled"] == 3
    assert subject.alive
    assert not subject.connected
    subject.close()
    assert subject.counters == PublisherCounters(0, 0, 0, 0)
    assert device.world.joins == []


# --- stopping ---


def test_stopping_delivers_first_and_says_goodbye(
    device: Device, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    subject = device.start()
    for name in "abc":
        subject.publish_decision(decision(name))
    subject.close()
    device.broker.serve()
    assert [name for _, name in device.decided()] == ["a", "b", "c"]
    last = [each for each in device.broker.sent if each.kind != "Unsubscribe"][-2:]
    assert [each.kind for each in last] == ["Publish", "Disconnect"]
    assert (last[0].topic, last[0].payload, last[0].retain, last[0].qos) == (
        STATUS, '{"state":"offline"}', True, 1
    )  # fmt: skip
    assert device.world.joins == pytest.approx([0.8])
    assert device.world.now == 1000.0
    assert not subject.alive
    assert not subject.connected
    assert not subject.announced
    assert subject.counters == PublisherCounters(3, 0, 0, 1)
    assert edge_log(caplog)[-1] == "disconnected from the broker at localhost:1883"
    subject.publish_decision(decision("d"))
    assert subject.counters.dropped == 1
    subject.close()


def test_stopping_with_a_broker_that_confirms_no_decision(
    device: Device, caplog: pytest.LogCaptureFixture
) -> None:
    subject = device.start()
    device.broker.deaf = {"Publish"}
    subject.publish_decision(decision("a"))
    subject.close()
    # Half a second for the decision, and the rest for the last message.
    assert [each.at - 1000.0 for each in device.broker.published(STATUS)][1:] == [
        pytest.approx(0.5)
    ]
    assert device.world.now - 1000.0 == pytest.approx(0.7)
    assert subject.counters == PublisherCounters(0, 1, 0, 1)
    assert "decision a (granted) was dropped: the service is stopping" in caplog.messages
    assert "Disconnect" not in [each.kind for each in device.broker.sent]
    assert not subject.connected
    assert not subject.alive
    assert edge_log(caplog, logging.WARNING)[1:] == []


def test_stopping_while_it_waits_to_try_again(
    device: Device, caplog: pytest.LogCaptureFixture
) -> None:
    device.broker.unreachable = REFUSED
    subject = device.start()
    device.world.run(20.0)
    subject.publish_decision(decision("a", 60.0))
    device.world.run()
    now = device.world.now
    subject.close()
    assert device.world.now == now
    assert not subject.alive
    assert subject.counters.dropped == 1
    assert len(edge_log(caplog)) == 2


def test_stopping_while_it_connects(device: Device) -> None:
    connecting, released = threading.Event(), threading.Event()

    def connect() -> None:
        connecting.set()
        assert released.wait(30.0)

    device.world.connecting = connect
    subject = device.make()
    subject.start()
    assert connecting.wait(30.0)
    subject.publish_decision(decision("a", 60.0))
    subject.close()
    # It is left behind, and keeps no process from ending.
    assert subject.alive
    assert [each.daemon for each in threading.enumerate() if each.name == "mqtt"] == [True]
    assert subject.counters.dropped == 1
    device.world.connecting = None
    released.set()
    subject.close()
    assert not subject.alive
    assert device.broker.sent == []


def test_without_having_been_started(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    ends = socket.socketpair()
    monkeypatch.setattr(socket, "socketpair", lambda: ends)
    subject = device.make()
    subject.publish_decision(decision("a"))
    subject.close()
    subject.set_status(microphone="lost")
    assert subject.alive
    assert subject.counters.dropped == 1
    assert device.world.joins == []
    assert [end.fileno() for end in ends] == [-1, -1]
