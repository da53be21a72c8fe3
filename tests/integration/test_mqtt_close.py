"""Stopping waits for no broker, whatever the broker does."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

import psutil
import pytest

from edge.config import MqttConfig
from edge.mqtt import MqttPublisher
from tests.integration.broker import Broker, Subscriber
from tests.integration.home import DEVICE, decision, ids, offline
from tests.integration.waiting import PATIENCE, settled


def started(port: int) -> MqttPublisher:
    subject = MqttPublisher(MqttConfig(port=port), DEVICE)
    subject.start()
    return subject


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer or a connection that does not come is waited for for an hour."""
    for name in ("CONNECT_TIMEOUT_S", "_ACCEPT_TIMEOUT_S", "_PATIENT_ACCEPT_TIMEOUT_S"):
        monkeypatch.setattr(f"edge.mqtt.link.{name}", 3600.0)


def ends(work: Callable[[], object]) -> bool:
    """Whether it ends without waiting for the broker."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return not thread.is_alive()


def test_with_a_live_broker_what_waits_is_delivered_first(broker: Broker) -> None:
    subject = started(broker.port)
    with Subscriber(broker) as listener:
        assert settled(lambda: subject.connected)
        made = [decision() for _ in range(5)]
        for one in made:
            subject.publish_decision(one)
        subject.close(PATIENCE)
        listener.wait_for("/status", offline)
        assert ids(listener) == [one.id for one in made]
    assert subject.counters.dropped == 0


def test_with_a_dead_broker(broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    subject = started(broker.port)
    assert settled(lambda: subject.connected)
    broker.kill()
    made = decision(lifetime_s=60)
    subject.publish_decision(made)
    assert ends(subject.close)
    assert subject.counters.dropped == 1
    assert f"decision {made.id} (granted) was dropped: the service is stopping" in caplog.text


def test_with_a_frozen_broker_which_then_publishes_the_will(
    broker: Broker, let_pass: Callable[[float], None]
) -> None:
    subject = started(broker.port)
    with Subscriber(broker) as listener:
        assert settled(lambda: subject.announced)
        broker.freeze()
        let_pass(1.0)  # the line is no longer fresh, so the broker is asked first
        subject.publish_decision(decision(lifetime_s=60))
        assert ends(subject.close)
        broker.thaw()
        listener.wait_for("/status", offline)
        assert listener.on("/decision") == []


def test_with_somebody_at_the_port_who_says_nothing() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        subject = started(silent.getsockname()[1])
        visitor, _ = silent.accept()
        assert visitor.recv(1000)
        assert ends(subject.close)
        visitor.close()


def hanging(port: int) -> int:
    """How many connections to a port this process waits for."""
    lines = psutil.Process().net_connections("tcp4")
    return sum(each.status == psutil.CONN_SYN_SENT and each.raddr[1] == port for each in lines)


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
            before = hanging(address[1])
            subject = started(address[1])
            assert settled(lambda: hanging(address[1]) > before)
            assert ends(subject.close)
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

    def hand_over() -> None:
        for _ in range(1000):
            subject.publish_decision(decision())
            subject.set_status(enrolled=1)

    assert ends(hand_over)
    assert subject.counters.waiting <= 32
    assert subject.counters.waiting + subject.counters.dropped >= 999
    subject.close()
