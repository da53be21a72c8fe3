"""One connection to the broker: what is said and taken in on it, and when it counts as dead."""

from __future__ import annotations

import contextlib
import errno
import math
import select
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from typing import Any

import paho.mqtt.client
import pytest

from edge.config import MqttConfig, TlsConfig
from edge.mqtt import Topics
from edge.mqtt.link import (
    NEWER,
    OLDER,
    Incoming,
    Link,
    LinkLost,
    PathCheck,
    Waker,
    make_client,
    unacknowledged,
)
from edge.mqtt.outbox import Outbox
from edge.mqtt.publisher import Delivery
from tests.unit.scripted_broker import HANGS_S, Line, World
from tests.unit.test_mqtt_outbox import decision

STATUS = "edge-voice/hall/status"


class Subject:
    """A link to the scripted broker, in the world's time."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.waker = Waker()
        self.got: list[Incoming] = []

    def link(self, version: Any = NEWER, **settings: Any) -> Link:
        return Link(
            MqttConfig(host="broker.example", keepalive_s=20, **settings),
            Topics("edge-voice", "hall"),
            client_id="edge-voice-hall",
            password="sesame",  # noqa: S106
            tls=None,
            version=version,
            on_message=self.got.append,
        )

    def open(self, version: Any = NEWER, **settings: Any) -> Link:
        link = self.link(version, **settings)
        link.open(self.waker, lambda: False)
        return link

    def pump(self, link: Link, times: int = 1) -> None:
        for _ in range(times):
            link.pump(0.0, self.waker)

    def pump_on(self, link: Link) -> None:
        for _ in range(200):
            link.pump(5.0, self.waker)


@pytest.fixture
def subject(monkeypatch: pytest.MonkeyPatch) -> Iterator[Subject]:
    made = Subject(World(monkeypatch))
    yield made
    made.waker.close()


@pytest.mark.parametrize(("version", "level"), [(NEWER, 5), (OLDER, 4)])
def test_what_is_said_on_connecting(subject: Subject, version: Any, level: int) -> None:
    broker = subject.world.broker
    link = subject.open(version, port=18830, username="door")
    ((_, host, port, timeout),) = broker.tried
    assert (host, port, timeout) == ("broker.example", 18830, 4.0)
    (said,) = broker.connects
    assert (said.version, said.client_id, said.keepalive_s) == (level, "edge-voice-hall", 20)
    assert said.clean  # the broker keeps nothing for it
    assert said.will == (STATUS, '{"state":"offline"}', 1, True)
    assert (said.user, said.password) == ("door", "sesame")
    assert said.most_bytes == (16384 if level == 5 else None)
    assert broker.line is not None
    assert broker.line.options[socket.TCP_NODELAY] == 1
    assert link.answered_at == subject.world.now
    subject.world.broker.line = None
    subject.open(version)
    assert (broker.connects[1].user, broker.connects[1].password) == (None, None)


def test_connecting_that_fails(subject: Subject) -> None:
    subject.world.broker.unreachable = ConnectionRefusedError()
    with pytest.raises(LinkLost, match="nothing listens there") as caught:
        subject.open()
    assert not caught.value.try_older
    subject.world.broker.unreachable = ValueError("Invalid host.")
    with pytest.raises(LinkLost):
        subject.open()


def test_a_broker_that_does_not_answer_is_given_up(subject: Subject) -> None:
    world = subject.world
    world.broker.deaf.add("Connect")
    with pytest.raises(LinkLost, match="does not answer") as caught:
        subject.open()
    assert caught.value.try_older
    assert 3.0 < world.now - 1000.0 <= 3.5
    assert set(world.waits) == {0.5}
    world.broker.deaf.clear()
    with pytest.raises(LinkLost, match="is stopping") as caught:
        subject.link().open(subject.waker, lambda: True)
    assert not caught.value.try_older


@pytest.mark.parametrize(
    ("version", "code", "text", "older"),
    [
        (NEWER, 0x84, "refused the connection (Unsupported protocol version)", True),
        (NEWER, 0x86, "it wants a user name (Bad user name or password)", False),
        (NEWER, 0x89, "refused the connection (Server busy)", False),
        (OLDER, 1, "it hung up at once", True),
        (OLDER, 5, "it wants a user name (Not authorized)", False),
    ],
)
def test_a_broker_that_refuses(
    subject: Subject, version: Any, code: int, text: str, older: bool
) -> None:
    subject.world.broker.codes["Connect"] = code
    with pytest.raises(LinkLost) as caught:
        subject.open(version)
    assert text in str(caught.value)
    assert caught.value.try_older == older
    assert len(subject.world.broker.tried) == 1


def test_a_broker_that_hangs_up(subject: Subject) -> None:
    broker = subject.world.broker
    broker.hangs_up_on = {5}
    with pytest.raises(LinkLost, match="hung up at once") as caught:
        subject.open()
    assert caught.value.try_older
    link = subject.open(OLDER)
    broker.hang_up()
    with pytest.raises(LinkLost, match=r"^the connection broke$") as caught:
        subject.pump(link)
    assert not caught.value.try_older
    for use in (link.probe, lambda: link.subscribe(["x"]), lambda: subject.pump(link)):
        with pytest.raises(LinkLost, match=r"^the connection broke$"):
            use()
    broker.hangs_up_on.clear()
    link = subject.open()
    broker.disconnect(0x8E)
    with pytest.raises(LinkLost, match="under the same name; give every device its own"):
        subject.pump(link)


def test_without_a_connection_there_is_none(subject: Subject) -> None:
    link = subject.link()
    for use in (
        link.probe,
        lambda: subject.pump(link),
        lambda: link.publish("a", "b", retain=True),
    ):
        with pytest.raises(LinkLost, match=r"^the connection broke$"):
            use()
    link.abort()
    link.close()


@pytest.mark.parametrize(
    ("lifetime_s", "expiry_s", "milliseconds"),
    [(0.0004, 1, 1), (0.5, 1, 500), (1.99, 1, 1990), (2.0, 2, 2000), (None, None, None)],
)
def test_a_message_and_how_long_anyone_may_keep_it(
    subject: Subject, lifetime_s: float | None, expiry_s: int | None, milliseconds: int | None
) -> None:
    world = subject.world
    for version in (NEWER, OLDER):
        link = subject.open(version)
        world.now += 1.0
        number = link.publish(
            "a/b",
            "Tür",
            retain=version is OLDER,
            lifetime_s=lifetime_s,
            never_late=lifetime_s is not None,
        )
        assert world.broker.line is not None
        assert world.broker.line.options.get(socket.TCP_USER_TIMEOUT) == milliseconds
        assert number not in link.answers
        assert link.answered_at == world.now - 1.0
        subject.pump(link)
        assert link.answers[number].getName() == "Success"
        assert link.answered_at == world.now
        sent = world.broker.sent.pop()
        assert (sent.topic, sent.payload, sent.qos) == ("a/b", "Tür", 1)
        assert sent.retain == (version is OLDER)
        assert sent.expiry_s == (expiry_s if version is NEWER else None)
        # Once it is confirmed, what comes later may take its time.
        assert world.broker.line.options.get(socket.TCP_USER_TIMEOUT) == (
            None if milliseconds is None else 0
        )


def test_only_what_must_not_be_late_limits_the_network(subject: Subject) -> None:
    link = subject.open()
    link.publish("sound", "{}", retain=False, lifetime_s=2.0)
    subject.pump(link)
    (sent,) = subject.world.broker.sent
    assert sent.expiry_s == 2
    assert subject.world.broker.line is not None
    assert socket.TCP_USER_TIMEOUT not in subject.world.broker.line.options


def test_what_the_broker_says_of_a_message(subject: Subject) -> None:
    link = subject.open()
    for code, name in ((0x10, "No matching subscribers"), (0x87, "Not authorized")):
        subject.world.broker.codes["Publish"] = code
        number = link.publish("a", "b", retain=False, lifetime_s=5.0)
        subject.pump(link)
        assert link.answers[number].getName() == name


def test_subscribing(subject: Subject, caplog: pytest.LogCaptureFixture) -> None:
    broker = subject.world.broker
    link = subject.open()
    link.subscribe(["a", "b/+"])
    subject.pump(link)
    # QoS 1, and with MQTT 5 nothing that is retained.
    assert broker.sent.pop().options == [("a", 0x21), ("b/+", 0x21)]
    link = subject.open(OLDER)
    link.subscribe(["a", "b/+"])
    subject.pump(link)
    assert broker.sent.pop().options == [("a", 1), ("b/+", 1)]
    assert caplog.messages == []
    broker.codes["Subscribe"] = 0x80
    link.subscribe(["a"])
    subject.world.now += 1.0
    subject.pump(link)
    assert link.answered_at == subject.world.now
    assert caplog.messages == [
        "the broker refused a subscription to commands (Unspecified error); check its access list"
    ]


def test_what_arrives(subject: Subject) -> None:
    link = subject.open()
    subject.world.now += 1.0
    subject.world.broker.send("edge-voice/hall/command", b"\xff")
    subject.world.broker.send("homeassistant/status", "online", retain=True)
    subject.pump(link, 2)
    assert subject.got == [
        Incoming("command", b"\xff", retained=False, topic="edge-voice/hall/command"),
        Incoming("", b"online", retained=True, topic="homeassistant/status"),
    ]
    assert link.answered_at == subject.world.now - 1.0  # it may be old: no answer


def test_a_decision_long_after_an_answer(subject: Subject) -> None:
    world = subject.world
    box = Outbox()
    for name in "ab":
        box.put(decision(name, 60.0))
    link = subject.open()
    delivery = Delivery(link, box, Topics("edge-voice", "hall"))

    def sent() -> list[str]:
        subject.pump(link)
        return [each.kind for each in world.broker.sent]

    # As if the machine were suspended after each answer.
    world.now += 10.0
    assert delivery.step() == delivery.step() == 50.0
    assert sent() == ["Unsubscribe"]  # asked once
    world.now += 10.0
    assert delivery.step() == delivery.step() == 40.0
    assert sent() == ["Unsubscribe"] * 2  # and again
    assert delivery.step() == 40.0
    assert sent()[2:] == ["Publish"]
    world.now += 10.0
    assert delivery.step() == 30.0
    assert sent()[3:] == ["Unsubscribe"]
    assert delivery.confirmed == 1


def test_tls_is_for_the_name_of_the_host(subject: Subject) -> None:
    names: list[Any] = []

    class Context(ssl.SSLContext):
        def wrap_socket(self, *_: Any, **options: Any) -> ssl.SSLSocket:
            names.append(options["server_hostname"])
            raise ssl.SSLError(1, "wrong version")

    context = Context(ssl.PROTOCOL_TLS_CLIENT)
    mqtt = MqttConfig(host="broker.example", tls=TlsConfig(enabled=True))
    client = make_client(mqtt, "edge-voice-hall", NEWER, None, context)
    with pytest.raises(ssl.SSLError):
        client.connect("broker.example")
    assert names == ["broker.example"]


@pytest.mark.parametrize("use", ["publish", "probe", "subscribe"])
def test_a_path_that_is_dead_for_this_connection_only(subject: Subject, use: str) -> None:
    world = subject.world
    link = subject.open()
    world.broker.late, world.unacknowledged = True, 90
    uses: dict[str, Callable[[], Any]] = {
        "publish": lambda: link.publish("a", "b", retain=True),
        "probe": link.probe,
        "subscribe": lambda: link.subscribe(["a"]),
    }
    uses[use]()
    world.now += 1.0
    link.probe()
    world.waits.clear()
    for wait in (0.75, 0.125, 5.0, 5.0, 5.0):
        link.pump(wait, subject.waker)
    with pytest.raises(LinkLost, match="nothing has got through for 4 s, while new connec") as lost:
        link.pump(5.0, subject.waker)
    assert not lost.value.hung_up
    # A new connection two seconds after the first message that was not answered, and then the time
    # in which TCP would have repeated it.
    assert world.tried_again == [1002.0]
    assert world.waits == [0.75, 0.125, 0.125, 1.0, 0.5]
    assert world.now == 1003.5


def test_a_broker_that_is_late_is_waited_for(subject: Subject) -> None:
    world = subject.world
    link = subject.open()
    world.broker.late = True
    link.probe()
    while world.now < 1002.75:
        link.pump(0.25, subject.waker)
    world.broker.catch_up()
    subject.pump(link)
    assert link.slowest_s == 2.75
    assert link.answered_at == 1002.75
    # All it was sent has reached its machine: a new connection would tell nothing.
    assert world.tried_again == []
    world.broker.late = True
    link.probe()
    with pytest.raises(LinkLost, match="has not answered for 30 s") as lost:
        subject.pump_on(link)  # one and a half times the keep-alive
    assert not lost.value.hung_up
    assert 1032.75 <= world.now < 1033.75


@pytest.mark.parametrize("reachable", [True, False])
def test_a_network_that_stands_still_for_all_is_waited_for(
    subject: Subject, reachable: bool
) -> None:
    world = subject.world
    link = subject.open()
    world.broker.late, world.unacknowledged, world.reachable = True, 90, False
    link.probe()
    while world.now < 1002.5:
        link.pump(0.25, subject.waker)
    if reachable:  # both get through again, and the answer comes yet later
        world.unacknowledged = 0
        world.reachable = True
    with pytest.raises(LinkLost, match="has not answered for 30 s"):
        subject.pump_on(link)
    assert world.tried_again == [1002.0]


def test_a_path_is_dead_only_if_it_stays_silent_beside_a_new_connection(subject: Subject) -> None:
    world = subject.world
    link = subject.open()
    world.broker.late, world.unacknowledged = True, 90
    link.probe()
    while world.now < 1002.25:
        link.pump(0.25, subject.waker)
    world.at(1.0, lambda: setattr(world, "unacknowledged", 0))
    world.at(2.0, lambda: setattr(world, "unacknowledged", 90))
    while world.now < 1005.0:
        link.pump(0.25, subject.waker)
    assert world.tried_again == [1002.0, 1004.25]
    world.broker.catch_up()
    subject.pump(link)
    # Where an answer took five seconds, four seconds without one tell nothing.
    world.broker.late = True
    link.probe()
    with pytest.raises(LinkLost, match="nothing has got through for 12 s"):
        subject.pump_on(link)
    assert world.tried_again[2:] == [1015.0]


def test_an_answer_ends_the_doubt(subject: Subject) -> None:
    world = subject.world
    link = subject.open()
    world.broker.late, world.unacknowledged = True, 90
    link.probe()
    while world.now < 1003.25:
        link.pump(0.25, subject.waker)
    assert world.tried_again == [1002.0]
    world.broker.catch_up()
    subject.pump(link)
    world.now += 10.0
    subject.pump(link, 2)
    assert world.tried_again == [1002.0]


def test_what_has_not_reached_the_brokers_machine(subject: Subject) -> None:
    world = subject.world
    link = subject.open()
    assert not link.unsent
    world.unacknowledged = 1
    assert link.unsent
    world.unacknowledged = 0
    assert world.broker.line is not None
    world.broker.line.most_sent = 0
    link.publish("a", "b", retain=True)
    assert link.unsent


@pytest.mark.parametrize("refused", [False, True])
def test_a_real_connection_and_another_to_the_same_place(refused: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        line = socket.create_connection(server.getsockname())
        other_end, _ = server.accept()
        with line, other_end:
            assert unacknowledged(line) == 0
            line.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while line.send(bytes(1 << 16)):
                    pass  # the other end takes nothing more
            assert unacknowledged(line) > 0
            if refused:
                server.close()
            check = PathCheck(line)
            assert check.due_s == math.inf
            assert check.pending is not None
            assert select.select([], [check.pending], [], HANGS_S)[1]
            check.settle()
            assert 1.0 < check.due_s <= 1.5
            assert check.pending is None
            check.settle()
    assert unacknowledged(line) == 0  # it is closed


def test_an_attempt_that_the_network_ends_says_nothing() -> None:
    class Unreachable(socket.socket):
        def getsockopt(self, *_: Any) -> int:  # type: ignore[override]
            return errno.EHOSTUNREACH

    mine, other = socket.socketpair()
    with other, mine:
        check = PathCheck(mine)
        assert check.pending is not None
        check.pending.close()
        check.pending = Unreachable()
        check.settle()
    assert check.due_s == math.inf


def test_an_answer_is_life(subject: Subject) -> None:
    world = subject.world
    link = subject.open()
    link.probe()
    assert world.broker.sent == []
    subject.pump(link)
    assert [(each.kind, each.options) for each in world.broker.sent] == [
        ("Unsubscribe", [(STATUS, 0)])
    ]
    world.now += 60.0
    world.waits.clear()
    link.pump(5.0, subject.waker)  # nothing is owed: a second, in which paho keeps alive
    link.pump(-5.0, subject.waker)
    assert world.waits == [1.0, 0.0]
    # Woken it goes on at once, and once only.
    subject.waker.wake()
    subject.waker.wake()
    link.pump(5.0, subject.waker)
    assert world.waits == [1.0, 0.0]
    link.pump(0.5, subject.waker)
    assert world.waits == [1.0, 0.0, 0.5]


def test_a_connection_is_kept_alive(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    world = subject.world
    monkeypatch.setattr(paho.mqtt.client, "time_func", lambda: world.now)
    link = subject.open()
    while world.now < 1041.0:
        link.pump(5.0, subject.waker)
    assert [each.kind for each in world.broker.sent] == ["Pingreq"] * 2  # twenty seconds each


def test_what_does_not_fit_is_sent_later(subject: Subject) -> None:
    world = subject.world
    link = subject.open()
    assert world.broker.line is not None
    world.broker.line.most_sent = 0
    number = link.publish("a", "x" * 100, retain=True)
    assert world.broker.sent == []
    world.broker.line.most_sent = 40
    subject.pump(link, 5)
    assert world.broker.sent[0].payload == "x" * 100
    assert number in link.answers


def test_what_is_not_mqtt(subject: Subject) -> None:
    link = subject.open()
    subject.world.broker.send_bytes(b"\x30\x06\x00\x03\xff\xfe\xfd\x00")  # a topic in no script
    with pytest.raises(LinkLost, match=r"not speak MQTT \(UnicodeDecodeError\)") as caught:
        subject.pump(link)
    assert not caught.value.try_older
    assert not caught.value.too_large


@pytest.mark.parametrize(("size", "taken"), [(16384, True), (16385, False)])
def test_a_message_that_is_too_large_ends_it(subject: Subject, size: int, taken: bool) -> None:
    link = subject.open(OLDER)
    topic = "edge-voice/hall/command"
    payload = b"x" * (size - 2 - len(topic))
    if taken:
        subject.world.broker.send(topic, payload)
        subject.pump(link, 2)
        assert [each.payload for each in subject.got] == [payload]
        return
    subject.world.broker.send(topic, payload)
    with pytest.raises(LinkLost, match="far too large") as caught:
        subject.pump(link, 2)
    assert caught.value.too_large
    assert not caught.value.try_older
    assert subject.got == []


def test_leaving_says_goodbye_and_giving_up_does_not(subject: Subject) -> None:
    broker = subject.world.broker
    link = subject.open()
    link.close()
    broker.serve()
    assert [each.kind for each in broker.sent] == ["Disconnect"]
    assert broker.line is not None
    assert socket.SO_LINGER not in broker.line.options
    assert broker.line.fileno() == -1
    link = subject.open()
    broker.line.most_sent = 0
    link.close()
    assert broker.line.fileno() == -1
    link = subject.open()
    link.abort()
    broker.serve()
    assert len(broker.sent) == 1
    # A reset, so that nothing unsent can arrive later.
    assert broker.line.options[socket.SO_LINGER] == struct.pack("ii", 1, 0)
    assert broker.line.fileno() == -1
    link.abort()


def test_what_tls_has_decrypted_already_is_read_at_once(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = subject.world
    monkeypatch.setattr(ssl, "SSLSocket", Line)
    link = subject.open()
    world.waits.clear()
    link.pump(0.5, subject.waker)
    assert world.waits == [0.5]
    line = world.broker.line
    assert line is not None
    world.broker.send("edge-voice/hall/command", "x")
    line.hold()
    link.pump(0.5, subject.waker)
    assert world.waits == [0.5, 0.0]
    assert [each.payload for each in subject.got] == [b"x"]


def test_waking(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    ends = socket.socketpair()
    monkeypatch.setattr(socket, "socketpair", lambda: ends)
    waker = Waker()
    waker.drain()  # nothing to take: no wait, no error
    waker.wait(2.5)
    waker.wait(-1.0)
    assert world.waits == [2.5, 0.0]
    waker.wake()
    waker.wait(2.5)
    waker.wait(1.5)
    assert world.waits == [2.5, 0.0, 1.5]  # one wake, one wait less
    for _ in range(100_000):
        waker.wake()  # never waits, though nobody takes them
    waker.wait(2.5)
    assert world.waits == [2.5, 0.0, 1.5]
    waker.close()
    waker.wake()
    assert [end.fileno() for end in ends] == [waker.fileno(), -1] == [-1, -1]
