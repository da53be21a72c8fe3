"""The publisher and short-lived sessions, with a real broker in between."""

from __future__ import annotations

import logging
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from paho.mqtt.client import MQTTMessage

import edge.mqtt.session
from edge.config import MqttConfig
from edge.mqtt import MqttPublisher
from edge.mqtt.session import Session, SessionError
from tests.integration.broker import Broker, Subscriber, connected, send
from tests.integration.home import DEVICE, decision, ids, offline, online, publisher
from tests.integration.waiting import PATIENCE, settled

REPOSITORY = Path(__file__).resolve().parents[2]
PROBE = 20
"""Bytes of a packet that has the broker answer; receivers confirm in fewer."""

pytestmark = pytest.mark.usefixtures("soon_again")


def test_birth_and_goodbye_are_retained(broker: Broker) -> None:
    with publisher(broker.port) as subject, Subscriber(broker) as early:
        subject.set_status(microphone="listening")
        early.wait_for("/status", lambda status: status.get("microphone") == "listening")
        with Subscriber(broker) as late:
            birth = late.wait_for("/status")
            assert birth.topic == "edge-voice/hall/status"
            assert birth.retain
            assert birth.json["state"] == "online"
            assert birth.json["name"] == "Hall"
            assert birth.json["microphone"] == "listening"
        subject.close()
        early.wait_for("/status", offline)
    with Subscriber(broker) as later:
        assert later.wait_for("/status", offline).retain


def test_an_unforeseen_error_does_not_end_it(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    assert MqttPublisher(MqttConfig(enabled=False), DEVICE).alive
    with publisher(broker.port) as subject, Subscriber(broker) as listener:
        listener.wait_for("/status", online)
        # Half of a surrogate pair is a string to Python, and cannot be sent.
        subject.set_status(microphone="\ud800")
        reached = subject.counters.connections
        assert settled(lambda: subject.counters.connections >= reached + 2)
        assert subject.alive
        said = [line for line in caplog.messages if "UnicodeEncodeError" in line]
        assert len(said) == 1
        assert "\n" not in said[0]
        subject.set_status(microphone="listening")
        listener.wait_for("/status", lambda status: status.get("microphone") == "listening")
        made = decision()
        subject.publish_decision(made)
        listener.wait_for("/decision", lambda got: got["id"] == made.id)
    assert not subject.alive


def test_decision_arrives_once_and_is_not_retained(broker: Broker) -> None:
    with publisher(broker.port) as subject, Subscriber(broker) as listener:
        made = decision()
        subject.publish_decision(made)
        got = listener.wait_for("/decision")
        assert got.topic == "edge-voice/hall/decision"
        assert got.text == made.to_json()
        assert got.qos == 1
        assert not got.retain
        assert settled(lambda: subject.counters.confirmed == 1)
        with Subscriber(broker) as late:
            other = decision()
            subject.publish_decision(other)
            late.wait_for("/decision", lambda got: got["id"] == other.id)
            listener.wait_for("/decision", lambda got: got["id"] == other.id)
            assert ids(late) == [other.id]
        assert ids(listener) == [made.id, other.id]


def test_several_decisions_arrive_in_order(broker: Broker) -> None:
    with publisher(broker.port) as subject, Subscriber(broker) as listener:
        made = [decision() for _ in range(20)]
        for one in made:
            subject.publish_decision(one)
        listener.wait_for("/decision", lambda got: got["id"] == made[-1].id)
        assert ids(listener) == [one.id for one in made]


def test_decision_in_flight_survives_the_death_of_the_broker(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So the second one is sent at once, without asking the broker first.
    monkeypatch.setattr("edge.mqtt.publisher._FRESH_S", 3600.0)
    with publisher(broker.port) as subject, Subscriber(broker) as listener:
        first, second = decision(), decision()
        subject.publish_decision(first)
        listener.wait_for("/decision")
        assert settled(lambda: subject.counters.confirmed == 1)
        broker.freeze()
        subject.publish_decision(second)
        assert settled(lambda: broker.unread > len(second.to_json()))
        listener.lost()
        broker.kill()
        assert settled(lambda: not subject.connected)
        assert subject.counters.confirmed == 1
        broker.start()
        listener.ready_again()
        listener.wait_for("/decision", lambda got: got["id"] == second.id)
        listener.wait_for("/status", online)
        assert settled(lambda: subject.counters.confirmed == 2)
        assert subject.counters.dropped == 0


def test_decision_is_dropped_when_the_broker_returns_too_late(
    broker: Broker, let_pass: Callable[[float], None], caplog: pytest.LogCaptureFixture
) -> None:
    with publisher(broker.port) as subject, Subscriber(broker) as listener:
        listener.wait_for("/status", online)
        broker.freeze()
        late = decision(lifetime_s=30.0)
        subject.publish_decision(late)
        assert settled(lambda: broker.unread >= PROBE)
        listener.lost()
        broker.kill()
        let_pass(30.1)
        assert settled(lambda: subject.counters.dropped == 1)
        broker.start()
        listener.ready_again()
        listener.wait_for("/status", lambda status: status["dropped_decisions"] == 1)
        # The line works again, and what comes now comes alone.
        fresh = decision()
        subject.publish_decision(fresh)
        listener.wait_for("/decision")
        assert ids(listener) == [fresh.id]
        assert subject.counters.dropped == 1
    dropped = [record.getMessage() for record in caplog.records if late.id in record.getMessage()]
    assert len(dropped) == 1
    assert "within its lifetime" in dropped[0]


def test_a_frozen_broker_does_not_deliver_late_when_it_wakes(
    broker: Broker, let_pass: Callable[[float], None]
) -> None:
    with publisher(broker.port) as subject, Subscriber(broker) as listener:
        subject.publish_decision(decision())
        known = listener.wait_for("/decision").json["id"]
        assert settled(lambda: subject.counters.confirmed == 1 and subject.announced)
        broker.freeze()
        let_pass(1.0)  # the line is no longer fresh, so the broker is asked first
        subject.publish_decision(decision(lifetime_s=30.0))
        assert settled(lambda: broker.unread >= PROBE)
        let_pass(30.1)
        assert settled(lambda: subject.counters.dropped == 1)
        broker.thaw()
        listener.wait_for("/status", lambda status: status.get("dropped_decisions") == 1)
        fresh = decision()
        subject.publish_decision(fresh)
        listener.wait_for("/decision", lambda got: got["id"] == fresh.id)
        assert ids(listener) == [known, fresh.id]


def test_decision_does_not_wait_for_an_absent_receiver_past_its_lifetime(broker: Broker) -> None:
    with Subscriber(broker, client_id="lock", keep_session=True):
        pass
    with publisher(broker.port) as subject:
        subject.publish_decision(decision(lifetime_s=1.99))
        assert settled(lambda: subject.counters.confirmed == 1)
        # Kept for a second, and a broker counts in whole ones.
        over = time.monotonic() + 2.1
        assert settled(lambda: time.monotonic() > over)
        with Subscriber(broker, client_id="lock", keep_session=True) as lock:
            fresh = decision()
            subject.publish_decision(fresh)
            lock.wait_for("/decision")
            assert ids(lock) == [fresh.id]


def test_decision_is_offered_again_until_somebody_listens(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    with publisher(broker.port) as subject:
        made = decision()
        subject.publish_decision(made)
        assert settled(lambda: "nobody subscribes to edge-voice/hall/decision" in caplog.text)
        assert subject.counters.waiting == 1
        with Subscriber(broker) as listener:
            listener.wait_for("/decision")
            assert settled(lambda: subject.counters.confirmed == 1)
            after = decision()
            subject.publish_decision(after)
            listener.wait_for("/decision", lambda got: got["id"] == after.id)
            assert ids(listener) == [made.id, after.id]


def test_broker_that_starts_later_is_found(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    broker.kill()
    with publisher(broker.port) as subject:
        assert settled(lambda: "cannot use the broker" in caplog.text)
        assert not subject.connected
        broker.start()
        assert settled(lambda: subject.connected)


def test_the_will_is_published_when_the_process_is_killed(broker: Broker) -> None:
    script = (
        "import signal, sys\n"
        "from edge.config import DeviceConfig, MqttConfig\n"
        "from edge.mqtt import MqttPublisher\n"
        "subject = MqttPublisher(MqttConfig(port=int(sys.argv[1])), DeviceConfig(id='hall'))\n"
        "subject.start()\n"
        "signal.pause()\n"
    )
    with Subscriber(broker) as listener:
        process = subprocess.Popen([sys.executable, "-c", script, str(broker.port)], cwd=REPOSITORY)
        try:
            listener.wait_for("/status", online)
            process.send_signal(signal.SIGKILL)
            listener.wait_for("/status", offline)
        finally:
            process.kill()
            process.wait(PATIENCE)
    with Subscriber(broker) as late:
        assert late.wait_for("/status", offline).retain


def test_many_status_changes_become_few_messages(broker: Broker) -> None:
    with publisher(broker.port) as subject, Subscriber(broker) as listener:
        listener.wait_for("/status", online)
        begun = time.monotonic()
        for count in range(1, 2001):
            subject.set_status(lost_samples=count)
        last = listener.wait_for("/status", lambda status: status.get("lost_samples") == 2000)
        # Four a second at most, however long it took.
        assert len(listener.on("/status")) <= 3 + 4 * (last.at - begun)
        subject.set_status(lost_samples=None)
        listener.wait_for("/status", lambda status: "lost_samples" not in status)


def test_two_devices_of_one_name_are_reported(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    with publisher(broker.port) as one:
        assert settled(lambda: one.connected)
        with publisher(broker.port) as two:
            assert settled(lambda: two.connected)
            assert settled(lambda: "its own device.id" in caplog.text)
    assert caplog.text.count("its own device.id") <= 2  # each of them says it once


def test_a_decision_that_the_access_list_forbids_is_dropped_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rules = "topic read #\ntopic write edge-voice/hall/status\n"
    with Broker(tmp_path, acl=rules) as broker, publisher(broker.port) as subject:
        subject.publish_decision(decision())
        assert settled(lambda: subject.counters.dropped == 1)
        assert subject.connected
    assert "the broker refused it (Not authorized); check its access list" in caplog.text


def test_switched_off_it_does_nothing(broker: Broker) -> None:
    with Subscriber(broker) as listener:
        with publisher(broker.port, enabled=False) as subject:
            subject.publish_decision(decision())
            assert not subject.connected
            assert subject.counters.dropped == 0
        with connected(broker) as client:
            send(client, "nothing/before", "{}")
        listener.wait_for("/before")
        assert len(listener.messages) == 1


def test_log_tells_of_an_outage_once(broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    broker.kill()

    def levels() -> list[int]:
        return [each.levelno for each in caplog.records if "nothing listens" in each.message]

    with publisher(broker.port, reconnect_max_s=1.0):
        assert settled(lambda: len(levels()) >= 4)
    assert levels()[0] == logging.WARNING
    assert set(levels()[1:]) == {logging.DEBUG}


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
        b"\x20\x00",  # CONNACK without content
        b"\x20\x02\x00\x01",  # MQTT 3.1.1: this protocol version is not accepted
        b"\x20\xff\xff\xff\xff\xff",  # a length that never ends
        b"\x20\x03\x00\xee\x00",  # a reason code that does not exist
        b"\x20\x05\x00\x00\x02\x7f\x7f",  # a property that does not exist
        b"\xf0\x00",
        bytes(range(256)),
        b"",
    ],
)
def test_whatever_answers_at_the_port_does_no_harm(
    answer: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    server = socket.create_server(("127.0.0.1", 0))
    with server, publisher(server.getsockname()[1]) as subject:
        subject.publish_decision(decision(lifetime_s=1.0))
        for _ in range(3):  # it tries again and again
            server.settimeout(PATIENCE)
            visitor, _ = server.accept()
            with visitor:
                visitor.settimeout(PATIENCE)
                assert visitor.recv(1000)
                visitor.sendall(answer)
        assert not subject.connected
        assert settled(lambda: "cannot use the broker" in caplog.text)
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("protocol", ["auto", "3.1.1"])
def test_a_broker_that_speaks_only_the_older_protocol(
    protocol: str, let_pass: Callable[[float], None], caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("amqtt")
    from edge.demo.parts import DemoBroker

    caplog.set_level(logging.INFO, logger="edge")
    with (
        DemoBroker() as old,
        publisher(old.port, host=old.host, protocol=protocol) as subject,
        Subscriber(old) as listener,
    ):
        listener.wait_for("/status", online)
        made = decision()
        subject.publish_decision(made)
        listener.wait_for("/decision")
        let_pass(1.0)  # the line is no longer fresh, so the broker is asked first
        other = decision()
        subject.publish_decision(other)
        listener.wait_for("/decision", lambda got: got["id"] == other.id)
        assert ids(listener) == [made.id, other.id]
        subject.close()
        listener.wait_for("/status", offline)
    assert "MQTT 3.1.1" in caplog.text


def test_a_session_keeps_the_latest_messages_of_a_flood(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge.mqtt.session, "_MOST_MESSAGES", 10)

    def number(wanted: int) -> Callable[[MQTTMessage], bool | None]:
        return lambda message: message.payload == str(wanted).encode() or None

    with Session(MqttConfig(port=broker.port), "test") as session:
        session.subscribe(["flood"])
        for each in range(30):
            session.publish("flood", str(each))
        assert session.wait(number(29), PATIENCE)
        assert session.wait(number(21), 0.0)
        assert session.wait(number(21), 0.0) is None
        assert session.wait(number(5), 0.0) is None
        broker.kill()
        with pytest.raises(SessionError, match="the connection broke"):
            session.wait(number(30), PATIENCE)
    with pytest.raises(SessionError, match="nothing listens there"):
        session.__enter__()
