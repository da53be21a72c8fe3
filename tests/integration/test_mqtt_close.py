"""Stopping waits for no broker, whatever the broker does."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.config import MqttConfig
from edge.mqtt import MqttPublisher
from tests.integration.broker import Broker, Subscriber
from tests.integration.home import DEVICE, decision, ids, offline, settled


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path / "broker") as running:
        yield running


def started(port: int) -> MqttPublisher:
    subject = MqttPublisher(MqttConfig(port=port), DEVICE)
    subject.start()
    return subject


def closes(subject: MqttPublisher) -> bool:
    """Whether it closes without waiting for an answer or a connection, which takes 5 s or more."""
    begun = time.monotonic()
    subject.close()
    return time.monotonic() - begun < 4.0


def test_with_a_live_broker_what_waits_is_delivered_first(broker: Broker) -> None:
    subject = started(broker.port)
    with Subscriber(broker) as listener:
        assert settled(lambda: subject.connected)
        made = [decision() for _ in range(5)]
        for one in made:
            subject.publish_decision(one)
        assert closes(subject)
        listener.wait_for("/status", offline)
        assert ids(listener) == [one.id for one in made]
    assert subject.counters.dropped == 0


def test_with_a_dead_broker(broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    subject = started(broker.port)
    assert settled(lambda: subject.connected)
    broker.kill()
    made = decision(lifetime_s=60)
    subject.publish_decision(made)
    assert closes(subject)
    assert subject.counters.dropped == 1
    assert f"decision {made.id} (granted) was dropped: the service is stopping" in caplog.text


def test_with_a_frozen_broker_which_then_publishes_the_will(broker: Broker) -> None:
    subject = started(broker.port)
    with Subscriber(broker) as listener:
        assert settled(lambda: subject.connected)
        time.sleep(0.3)
        broker.freeze()
        subject.publish_decision(decision(lifetime_s=60))
        assert closes(subject)
        broker.thaw()
        listener.wait_for("/status", offline)
        assert listener.on("/decision") == []


def test_with_somebody_at_the_port_who_says_nothing() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        subject = started(silent.getsockname()[1])
        time.sleep(0.3)
        assert closes(subject)


def test_while_connecting_hangs() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        # A full backlog leaves the next connection waiting, like a host that is not there.
        fillers = [socket.socket() for _ in range(3)]
        try:
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(address)
            subject = started(address[1])
            time.sleep(0.3)
            assert closes(subject)
        finally:
            for filler in fillers:
                filler.close()


def test_without_having_been_started_and_twice() -> None:
    subject = MqttPublisher(MqttConfig(port=1), DEVICE)
    subject.publish_decision(decision())
    subject.close()
    subject.close()
    subject.set_status(microphone="lost")
    assert subject.counters.dropped == 1


def test_handing_over_never_waits(broker: Broker) -> None:
    subject = started(broker.port)
    assert settled(lambda: subject.connected)
    broker.freeze()
    begun = time.monotonic()
    for _ in range(1000):
        subject.publish_decision(decision(lifetime_s=60))
        subject.set_status(enrolled=1)
    # Waiting for the frozen broker but once in each of these would take half an hour.
    assert time.monotonic() - begun < 20.0
    assert subject.counters.waiting <= 32
    assert subject.counters.waiting + subject.counters.dropped >= 999
    subject.close()
