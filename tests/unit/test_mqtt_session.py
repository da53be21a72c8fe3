"""Short-lived sessions in a time of their own: what is sent, believed and waited for."""

from __future__ import annotations

import itertools
import json
import re
import select
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from paho.mqtt.client import MQTTMessage

import edge.mqtt.session
from edge.config import Config, DeviceConfig, MqttConfig
from edge.crypto.canonical import wire
from edge.crypto.signing import ENROLLMENT, RESULT, PrivateKey, signed
from edge.errors import EnvironmentFault
from edge.mqtt.link import BoundedClient
from edge.mqtt.session import CommandSession, Session, SessionError, json_object
from tests.unit.scripted_broker import Broker, World

DEVICE_KEY = PrivateKey(b"d" * 32)
STRANGER = PrivateKey(b"s" * 32)
FORBIDDEN = 0x87


class Turn:
    """Stands for the condition of a session, whose client it drives while the session waits."""

    def __init__(self, world: World, clients: list[BoundedClient]) -> None:
        self._world = world
        self._clients = clients
        self._held = 0
        self._notified = False

    def __enter__(self) -> None:
        self._held += 1

    def __exit__(self, *_: object) -> None:
        self._held -= 1

    def notify_all(self) -> None:
        assert self._held
        self._notified = True

    def wait_for(self, condition: Callable[[], bool], timeout: float) -> None:
        deadline = self._world.now + timeout
        while not condition() and self._world.now < deadline:
            self.wait(deadline - self._world.now)

    def wait(self, timeout: float) -> None:
        assert self._held
        deadline = self._world.now + timeout
        self._notified = False
        client = self._clients[-1]
        while not self._notified and self._world.now < deadline:
            line = client.socket()
            readers = [] if line is None else [line]
            if select.select(readers, [], [], deadline - self._world.now)[0]:
                self._held -= 1
                client.loop_read()
                self._held += 1


class Place:
    """Sessions, their broker, and their time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world = World(monkeypatch)
        self.clients: list[BoundedClient] = []
        self.stopped: list[BoundedClient] = []

        def started(client: BoundedClient) -> None:
            self.clients.append(client)

        def stopped(client: BoundedClient) -> None:
            self.stopped.append(client)

        monkeypatch.setattr(BoundedClient, "loop_start", started)
        monkeypatch.setattr(BoundedClient, "loop_stop", stopped)
        monkeypatch.setattr(
            edge.mqtt.session,
            "threading",
            SimpleNamespace(Condition=lambda: Turn(self.world, self.clients)),
        )
        monkeypatch.setattr(
            edge.mqtt.session, "time", SimpleNamespace(monotonic=lambda: self.world.now)
        )

    @property
    def broker(self) -> Broker:
        return self.world.broker

    @property
    def seconds(self) -> float:
        return self.world.now - 1000.0

    def left(self) -> bool:
        """Whether it has said goodbye and stopped."""
        self.broker.serve()
        return [each.kind for each in self.broker.sent][-1:] == ["Disconnect"] and (
            self.stopped == self.clients
        )


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(monkeypatch)


def payload_is(*wanted: str) -> Callable[[MQTTMessage], str | None]:
    return lambda message: next((each for each in wanted if message.payload.decode() == each), None)


def found(session: Session, *wanted: str, timeout_s: float = 0.0) -> str | None:
    arrived = session.wait(payload_is(*wanted), timeout_s)
    return arrived[1] if arrived else None


@pytest.mark.parametrize(("protocol", "version"), [("auto", 4), ("3.1.1", 4), ("5", 5)])
def test_what_is_said_on_connecting(
    place: Place, protocol: str, version: int, tmp_path: Path
) -> None:
    password = tmp_path / "password"
    password.write_text("sesame\n")
    password.chmod(0o600)
    mqtt = MqttConfig(
        host="broker.example", port=18830, protocol=protocol, username="door",
        password_file=password, keepalive_s=20,
    )  # fmt: skip
    with Session(mqtt, "test") as session:
        assert session.place == "the broker at broker.example:18830"
        assert place.broker.tried == [(1000.0, "broker.example", 18830, 4.0)]
    (said,) = place.broker.connects
    assert (said.version, said.keepalive_s, said.user, said.password) == (
        version, 20, "door", "sesame",
    )  # fmt: skip
    assert re.fullmatch(r"edge-voice-test-[0-9a-f]{12}", said.client_id)
    assert said.will is None
    assert place.left()


@pytest.mark.parametrize(
    ("protocol", "code", "reason", "silent"),
    [
        ("auto", 4, "it wants a user name (Bad user name or password); set mqtt.username", False),
        ("5", 0x89, "it refused the connection (Server busy); see the broker's log", False),
        ("5", 0x84, "it refused the connection (Unsupported protocol version); see", True),
    ],
)
def test_a_broker_that_refuses(
    place: Place, protocol: str, code: int, reason: str, silent: bool
) -> None:
    place.broker.codes["Connect"] = code
    with pytest.raises(SessionError) as caught:
        Session(MqttConfig(protocol=protocol), "test").__enter__()
    assert caught.value.reason.startswith(reason)
    assert str(caught.value) == f"the broker at localhost:1883: {caught.value.reason}"
    assert caught.value.silent == silent
    assert place.stopped == place.clients != []


@pytest.mark.parametrize("error", [ConnectionRefusedError(), ValueError("Invalid host.")])
def test_a_broker_that_is_not_there(place: Place, error: Exception) -> None:
    place.broker.unreachable = error
    with pytest.raises(SessionError, match="check") as caught:
        Session(MqttConfig(), "test").__enter__()
    assert not caught.value.silent
    assert place.clients == []


def test_a_broker_that_says_nothing(place: Place) -> None:
    place.broker.deaf = {"Connect", "Publish", "Subscribe"}
    with pytest.raises(SessionError, match=r"1883: it does not answer$") as caught:
        Session(MqttConfig(), "test").__enter__()
    assert caught.value.silent
    assert place.seconds == 5.0
    assert place.left()
    place.broker.deaf.remove("Connect")
    with Session(MqttConfig(), "test") as session:
        with pytest.raises(SessionError, match="it does not answer"):
            session.publish("a", "b")
        with pytest.raises(SessionError, match="it does not answer"):
            session.subscribe(["a"])
    assert place.seconds == 15.0
    place.broker.hangs_up_on = {4}
    with pytest.raises(SessionError, match=r"1883: it hung up$") as caught:
        Session(MqttConfig(), "test").__enter__()
    assert caught.value.silent
    assert place.seconds == 15.0


def test_publishing_and_subscribing(place: Place) -> None:
    with Session(MqttConfig(protocol="5"), "test") as session:
        session.publish("a", "Tür", retain=True)
        session.publish("b", "c")
        session.subscribe(["x", "y/+"])
        sent = [(e.kind, e.topic, e.payload, e.retain, e.qos, e.options) for e in place.broker.sent]
        assert sent == [
            ("Publish", "a", "Tür", True, 1, []), ("Publish", "b", "c", False, 1, []),
            ("Subscribe", "", "", False, 0, [("x", 1), ("y/+", 1)]),
        ]  # fmt: skip
        place.broker.codes = {"a": FORBIDDEN, "y/+": FORBIDDEN}
        text = r"1883: it refuses a message on a \(Not authorized\); check its access list"
        with pytest.raises(SessionError, match=text) as caught:
            session.publish("a", "b")
        assert not caught.value.silent
        text = r"it refuses a subscription to x, y/\+ \(Not authorized\); check its access list"
        with pytest.raises(SessionError, match=text):
            session.subscribe(["x", "y/+"])
        session.subscribe(["x"])
    assert place.seconds == 0.0


def test_waiting(place: Place) -> None:
    with Session(MqttConfig(), "test") as session:
        for text in "abc":
            place.broker.send("t", text)
        assert found(session, "c", "b", timeout_s=1.0) == "b"  # the first of them
        assert found(session, "c", timeout_s=1.0) == "c"
        assert found(session, "a") == "a"  # the others stay
        assert found(session, "a") is None  # what was found does not
        assert place.seconds == 0.0
        assert found(session, "d", timeout_s=2.5) is None
        assert place.seconds == 2.5
        place.world.at(1.0, lambda: place.broker.send("t", "e"))
        place.world.at(2.0, lambda: place.broker.send("t", "d"))
        assert found(session, "d", timeout_s=60.0) == "d"
        assert place.seconds == 4.5
        asked: list[str] = []

        def ask(message: MQTTMessage) -> None:
            asked.append(message.payload.decode())

        place.world.at(1.0, lambda: place.broker.send("t", "f"))
        assert session.wait(ask, 2.0) is None
        assert asked == ["e", "f"]  # each once
        place.broker.send("t", "g")
        place.world.at(1.0, place.broker.hang_up)
        with pytest.raises(SessionError, match="the connection broke"):
            found(session, "h", timeout_s=60.0)
        assert place.seconds == 7.5
        assert found(session, "g") == "g"


def test_a_flood_leaves_the_latest_thousand(place: Place) -> None:
    with Session(MqttConfig(), "test") as session:
        for number in range(1002):
            place.broker.send("t", str(number))
        assert found(session, "1001", timeout_s=1.0)
        # One was taken out, so one of the thousand that were left before is still the second.
        assert found(session, "1") is None
        assert found(session, "2")


@pytest.mark.parametrize(("size", "taken"), [(1 << 20, True), ((1 << 20) + 1, False)])
def test_messages_of_a_megabyte(place: Place, size: int, taken: bool) -> None:
    with Session(MqttConfig(), "test") as session:
        place.broker.send("t", "x" * (size - 3))
        if taken:
            arrived = session.wait(lambda message: len(message.payload), 1.0)
            assert arrived
            assert arrived[1] == size - 3
        else:
            with pytest.raises(SessionError, match="the connection broke"):
                session.wait(lambda _: True, 1.0)


def test_what_the_broker_keeps(place: Place) -> None:
    with Session(MqttConfig(), "test") as session:
        for topic, text, retain in (
            ("ha/a", "1", True), ("ha/a", "2", True), ("ha/b", "", True), ("ha/c", "3", False),
            ("other", "4", True),
        ):  # fmt: skip
            place.broker.send(topic, text, retain=retain)
        place.world.at(0.375, lambda: place.broker.send("ha/d", "5", retain=True))
        assert session.retained("ha/+") == {"ha/a": b"2", "ha/d": b"5"}
        assert place.seconds == pytest.approx(0.775)
        place.broker.serve()
        assert [(each.kind, each.options) for each in place.broker.sent] == [
            ("Subscribe", [("ha/+", 1)]), ("Unsubscribe", [("ha/+", 0)])
        ]  # fmt: skip
        assert found(session, "4") == "4"


def test_what_never_ends_is_not_waited_for(place: Place) -> None:
    with Session(MqttConfig(), "test") as session:
        for count in range(20):
            place.world.at(0.3125 * count, lambda: place.broker.send("ha/a", "6", retain=True))
        assert session.retained("ha/+") == {"ha/a": b"6"}
        assert place.seconds == 5.0


@pytest.mark.parametrize(
    ("payload", "content"),
    [(b'{"a":1}', {"a": 1}), (b"[1]", {}), (b"", {}), (b"\xff", {}), (b"[" * 100_000, {})],
)
def test_objects_in_messages(payload: bytes, content: dict[str, Any]) -> None:
    assert json_object(payload) == content


# --- commands ---

MINE = "edge-voice/hall/command/result"


@pytest.fixture
def commanding(place: Place) -> Iterator[CommandSession]:
    config = Config(device=DeviceConfig(id="hall"))
    with CommandSession(config, DEVICE_KEY.public) as session:
        yield session


def answer(
    domain: str = RESULT, key: PrivateKey = DEVICE_KEY, device: str = "hall", **fields: Any
) -> str:
    return wire(signed({"id": "1", "device": device, **fields}, domain, key))


def test_a_command_and_its_answer(place: Place, commanding: CommandSession) -> None:
    assert place.broker.sent[0].options == [(MINE, 1), ("edge-voice/hall/enrollment", 1)]
    broker = place.broker
    for topic, text, retain in (
        (MINE, answer(note="kept"), True),
        (MINE, answer(note="a stranger's", key=STRANGER), False),
        (MINE, answer(note="another device's", device="other"), False),
        (MINE, answer(note="no result", domain=ENROLLMENT), False),
        (MINE, answer(note="another's", id="2"), False),
        (MINE, '{"id":"1","device":"hall","note":"unsigned"}', False),
        (MINE, "[" * 70, False),
        (MINE, answer(note="x" * 32768), False),
        ("edge-voice/hall/enrollment", answer(note="elsewhere"), False),
        (MINE, answer(note="mine"), False),
    ):
        broker.send(topic, text, retain=retain)
    assert commanding.send({"id": "1", "command": "ping"})["note"] == "mine"
    (sent,) = broker.published("edge-voice/hall/command")
    assert (json.loads(sent.payload), sent.retain, sent.qos) == (
        {"id": "1", "command": "ping"}, False, 1,
    )  # fmt: skip
    text = "hall did not answer within 10 s; check that the service runs and that mqtt.base_topic"
    with pytest.raises(EnvironmentFault, match=f"^{text}"):
        commanding.send({"id": "1"})
    assert place.seconds == 10.0


@pytest.mark.parametrize(("size", "taken"), [(32768, True), (32769, False)])
def test_an_answer_of_32_kilobytes(
    place: Place, commanding: CommandSession, size: int, taken: bool
) -> None:
    text = answer(note="x" * (size - len(answer(note=""))))
    assert len(text) == size
    place.broker.send(MINE, text)
    if taken:
        commanding.send({"id": "1"}, 0.5)
    else:
        with pytest.raises(EnvironmentFault, match=r"within 0\.5 s"):
            commanding.send({"id": "1"}, 0.5)


def test_without_a_key_every_answer_is_believed(place: Place) -> None:
    with CommandSession(Config(device=DeviceConfig(id="hall"))) as session:
        place.broker.send(MINE, '{"id":"1","ok":true}')
        assert session.send({"id": "1"}) == {"id": "1", "ok": True}


def test_the_connection_breaks_before_the_answer(place: Place, commanding: CommandSession) -> None:
    place.world.at(1.0, place.broker.hang_up)
    with pytest.raises(EnvironmentFault, match=r"broke; the command may still be carried out$"):
        commanding.send({"id": "1"})


@pytest.mark.parametrize("end", ["unconfirmed", "complete", "canceled", "timed_out", "failed"])
def test_an_enrollment(place: Place, commanding: CommandSession, end: str) -> None:
    states = ["started", "sample", end]
    for number, state in enumerate([*states, "late"]):
        text = answer(ENROLLMENT, state=state)
        place.world.at(9.0 * number, partial(place.broker.send, "edge-voice/hall/enrollment", text))
    assert [each["state"] for each in commanding.progress("1", 10.0)] == states
    assert place.seconds == 18.0
    # The next one is silent from its second message on.
    progress = commanding.progress("1", 8.0)
    place.broker.send("edge-voice/hall/enrollment", answer(ENROLLMENT, state="started"))
    assert next(progress)["state"] == "started"
    text = "no message about the enrollment for 8 s; its end may have been missed: 'edge-voice com"
    with pytest.raises(EnvironmentFault, match=f"^{text}"):
        list(itertools.islice(progress, 2))


def test_no_commands_where_no_answer_may_be_read(place: Place) -> None:
    place.broker.codes[MINE] = 0x80
    with pytest.raises(SessionError, match="it refuses a subscription"):
        CommandSession(Config(device=DeviceConfig(id="hall"))).__enter__()
    assert place.left()
