"""What the doctor says of a broker, step by step, with one that does as it is told."""

from __future__ import annotations

import contextlib
import json
import queue
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge.config import Config, DeviceConfig, MqttConfig, TlsConfig
from edge.doctor import Finding, broker
from edge.doctor.context import Context
from edge.errors import ConfigError
from edge.mqtt.session import SessionError
from tests.integration.doctor import codes

NOW = 1_800_000_000.0
"""2027-01-15 08:00 UTC."""


class Broker:
    """Stands in for the name server, the network, TLS and the sessions of a broker.

    `fails` has the errors of its steps by name; `asked` is what was asked of it.
    """

    def __init__(self) -> None:
        self.fails: dict[str, BaseException] = {}
        self.asked: dict[str, Any] = {}
        self.addresses = ["192.0.2.7", "127.0.0.1"]
        self.protocols: list[str] = []
        self.keeps: dict[str, bytes] = {}
        self.loses = False
        self.ends_s = NOW + 365 * 86_400
        self.now = 100.0
        self.closed: list[str] = []
        self.context = Context()

    def takes(self, step: str, seconds: float = 0.0) -> None:
        self.now += seconds
        if step in self.fails:
            raise self.fails[step]

    # the network

    def getaddrinfo(self, host: str, port: int, *, type: int) -> list[Any]:  # noqa: A002
        self.asked["resolve"] = (host, port, type)
        self.takes("resolve")
        return [(2, 1, 6, "", (address, port)) for address in self.addresses]

    def create_connection(self, place: tuple[str, int], timeout_s: float) -> Any:
        self.asked["connect"] = (place, timeout_s)
        self.takes("connect", 0.0125)
        return contextlib.closing(SimpleNamespace(close=lambda: self.closed.append("line")))

    @contextlib.contextmanager
    def wrap_socket(self, _line: Any, *, server_hostname: str) -> Iterator[Any]:
        self.asked["tls"] = server_hostname
        self.takes("tls")
        until = time.strftime("%b %d %H:%M:%S %Y GMT", time.gmtime(self.ends_s))
        yield SimpleNamespace(getpeercert=lambda: {"notAfter": until}, version=lambda: "TLSv1.3")

    # a session

    def session(self, mqtt: MqttConfig, purpose: str) -> Any:
        self.protocols.append(mqtt.protocol)
        assert purpose == "doctor"
        self.takes(f"login {mqtt.protocol}")
        return contextlib.closing(
            SimpleNamespace(
                subscribe=self.subscribe, publish=self.publish, wait=self.wait,
                retained=self.retained, close=lambda: self.closed.append("session"),
            )
        )  # fmt: skip

    def subscribe(self, filters: Sequence[str]) -> None:
        self.asked["subscribe"] = list(filters)
        self.takes("subscribe")

    def publish(self, topic: str, text: str) -> None:
        self.asked["publish"] = (topic, text)
        self.takes("publish", 0.004)

    def retained(self, topics: str) -> dict[str, bytes]:
        self.takes("retained")
        return {topic: text for topic, text in self.keeps.items() if topics in (topic, "ha/#")}

    def wait(self, find: Callable[[Any], Any], timeout_s: float) -> Any:
        self.asked["wait"] = timeout_s
        self.takes("wait", 0.036)
        other = find(SimpleNamespace(payload=b'{"doctor":"another"}'))
        mine = find(SimpleNamespace(payload=self.asked["publish"][1].encode()))
        assert not other
        assert mine
        return None if self.loses else (object(), mine)

    def look(self, **settings: Any) -> list[Finding]:
        """What the doctor finds."""
        self.context = Context(
            Config(mqtt=MqttConfig(host="door.example", **settings), device=DeviceConfig(id="hall"))
        )
        found = list(broker.check(self.context))
        codes(found)
        return found


@pytest.fixture
def house(monkeypatch: pytest.MonkeyPatch) -> Broker:
    house = Broker()
    network = SimpleNamespace(
        getaddrinfo=house.getaddrinfo, create_connection=house.create_connection,
        SOCK_STREAM=socket.SOCK_STREAM,
    )  # fmt: skip
    monkeypatch.setattr(broker, "socket", network)
    monkeypatch.setattr(broker, "Session", house.session)
    clock = SimpleNamespace(monotonic=lambda: house.now, time=lambda: NOW)
    monkeypatch.setattr(broker, "time", clock)
    monkeypatch.setattr(broker, "tls_context", lambda tls: house if tls.enabled else None)
    monkeypatch.setattr(broker, "filter_of", lambda prefix, device: f"{prefix}/{device}")
    return house


ALL = [
    "broker_name.found", "broker_connect.reached", "broker_tls.off", "broker_login.accepted",
    "broker_publish.taken", "broker_receive.received",
]  # fmt: skip


def _from(failed: str) -> list[str]:
    """The codes where a step fails: those before it, it, and those that are not tried then."""
    names = [code.partition(".")[0] for code in ALL]
    at = names.index(failed.partition(".")[0])
    return [*ALL[:at], failed, *(f"{name}.not_tried" for name in names[at + 1 :])]


def test_all_is_well(house: Broker) -> None:
    found = house.look()
    assert [each.code for each in found] == ALL
    assert [each.found for each in found if each.code != "broker_tls.off"] == [
        "door.example is 192.0.2.7",
        "connected to port 1883 in 12.5 ms",
        "a client without a user name is accepted, with MQTT 5",
        "messages below edge-voice/hall are accepted",
        "a message came back after 40 ms",
    ]
    topic, text = house.asked.pop("publish")
    assert topic == "edge-voice/hall/doctor"
    assert len(json.loads(text)["doctor"]) == 16
    assert house.asked == {
        "resolve": ("door.example", 1883, socket.SOCK_STREAM),
        "connect": (("192.0.2.7", 1883), 4.0),
        "subscribe": ["edge-voice/hall/doctor"],
        "wait": 3.0,
    }
    assert house.closed == ["line", "session"]


def test_what_the_broker_keeps_is_remembered(house: Broker) -> None:
    house.keeps = {"edge-voice/hall/status": b'{"state": "online"}', "homeassistant/hall": b"x"}
    house.look()
    assert house.context.status == {"state": "online"}
    assert house.context.announced == frozenset(["homeassistant/hall"])
    house.fails["retained"] = SessionError("b", "gone")
    assert [each.code for each in house.look()] == ALL
    assert (house.context.status, house.context.announced) == ({}, frozenset())


@pytest.mark.parametrize(
    ("left_s", "code", "text"),
    [
        (14 * 86_400, "trusted", "TLSv1.3; the certificate is valid until 2027-01-29"),
        (14 * 86_400 - 1, "ending", "TLSv1.3; the certificate expires on 2027-01-29: after"),
        (86_400, "ending", "expires on 2027-01-16"),
        (-1, "ending", "expires on 2027-01-15"),
    ],
)
def test_a_certificate_that_ends_within_14_days(
    house: Broker, left_s: float, code: str, text: str
) -> None:
    house.ends_s = NOW + left_s
    found = house.look(tls=TlsConfig(enabled=True))
    assert [each.code for each in found] == [*ALL[:2], f"broker_tls.{code}", *ALL[3:]]
    assert text in found[2].found
    assert house.asked["tls"] == "door.example"
    assert house.asked["connect"] == (("192.0.2.7", 8883), 4.0)


SILENT = SessionError("b", "it does not answer", silent=True)
REFUSED = SessionError("b", "it refuses; check mqtt.username")


@pytest.mark.parametrize(
    ("step", "error", "code", "text"),
    [
        ("resolve", OSError(), "broker_name.unknown", "door.example cannot be resolved"),
        ("resolve", UnicodeError(), "broker_name.unknown", "cannot be resolved"),
        ("connect", TimeoutError(), "broker_connect.failed", "192.0.2.7, port 8883: "),
        ("tls", ssl.SSLError("no"), "broker_tls.failed", "the TLS handshake failed"),
        ("login 5", REFUSED, "broker_login.refused", "it refuses"),
        ("publish", REFUSED, "broker_publish.refused", "it refuses"),
    ],
)
def test_after_a_step_that_fails_the_others_are_not_tried(
    house: Broker, step: str, error: BaseException, code: str, text: str
) -> None:
    house.fails[step] = error
    found = house.look(tls=TlsConfig(enabled=True), username="ada")
    expected = [each.replace("broker_tls.off", "broker_tls.trusted") for each in _from(code)]
    assert [each.code for each in found] == expected
    (failed,) = (each for each in found if each.code == code)
    assert text in failed.found
    if step == "publish":
        assert failed.remedy.startswith("let user 'ada' write edge-voice/hall/# in the broker's")


def test_settings_that_cannot_be_used(house: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_tls: TlsConfig) -> None:
        raise ConfigError("mqtt.tls.ca_file cannot be read; check its name")

    monkeypatch.setattr(broker, "tls_context", refuse)
    found = house.look()
    assert [each.code for each in found] == [
        "broker.settings", *(f"{code.partition('.')[0]}.not_tried" for code in ALL[1:])
    ]  # fmt: skip
    assert house.asked == {}
    monkeypatch.undo()
    found = house.look(username="door", password_file=Path("/absent"))
    assert found[0].code == "broker.settings"
    assert "mqtt.password_file cannot be read" in found[0].found


def test_a_name_server_is_waited_for_six_seconds(
    house: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Never:
        """Nobody answers."""

        def put(self, _answer: object) -> None:
            pass

        def get(self, *, timeout: float) -> None:
            house.asked["waited_s"] = timeout
            raise queue.Empty

    monkeypatch.setattr(broker, "queue", SimpleNamespace(Queue=Never, Empty=queue.Empty))
    assert [each.code for each in house.look()] == _from("broker_name.unknown")
    assert house.asked["waited_s"] == 6.0


@pytest.mark.parametrize(
    ("protocol", "fails", "tried", "code"),
    [
        ("auto", {}, ["5"], "accepted"),
        ("auto", {"login 5": SILENT}, ["5", "3.1.1"], "accepted"),
        ("auto", {"login 5": REFUSED}, ["5"], "refused"),
        ("auto", {"login 5": SILENT, "login 3.1.1": REFUSED}, ["5", "3.1.1"], "refused"),
        ("auto", {"login 5": SILENT, "login 3.1.1": SILENT}, ["5", "3.1.1"], "silent"),
        ("5", {"login 5": SILENT}, ["5"], "silent"),
        ("3.1.1", {}, ["3.1.1"], "accepted"),
        ("3.1.1", {"login 3.1.1": SILENT}, ["3.1.1"], "silent"),
    ],
)
def test_the_version_that_the_service_would_use(
    house: Broker, protocol: str, fails: dict[str, BaseException], tried: list[str], code: str
) -> None:
    house.fails = fails
    found = house.look(protocol=protocol)
    assert house.protocols == tried
    assert found[3].code == f"broker_login.{code}"
    if code == "accepted":
        assert found[3].found.endswith(f"is accepted, with MQTT {tried[-1]}")


@pytest.mark.parametrize(
    ("fails", "loses", "code", "text"),
    [
        ({"subscribe": REFUSED}, False, "refused", "it refuses: commands do not arrive"),
        ({}, True, "lost", "a message on edge-voice/hall/doctor did not come back within 3 s"),
        ({"wait": REFUSED}, False, "lost", "did not come back within 3 s"),
    ],
)
def test_messages_that_do_not_come_back(
    house: Broker, fails: dict[str, BaseException], loses: bool, code: str, text: str
) -> None:
    house.fails, house.loses = fails, loses
    found = house.look(username="door")
    assert [each.code for each in found] == [*ALL[:5], f"broker_receive.{code}"]
    assert text in found[5].found
    assert "let user 'door' read" in found[5].remedy


@pytest.mark.parametrize(
    ("address", "code"),
    [("192.0.2.7", "off"), ("fe80::1%eth0", "off"), ("127.0.0.1", "local"), ("::1", "local")],
)
def test_unencrypted_across_the_network_is_yellow(house: Broker, address: str, code: str) -> None:
    house.addresses = [address]
    found = house.look()[2]
    assert found.code == f"broker_tls.{code}"
    assert ("broker's password" in found.found) is (code == "off")


def test_nothing_is_asked_of_a_broker_that_is_off(house: Broker) -> None:
    assert [each.code for each in house.look(enabled=False)] == ["broker.off"]
    assert house.asked == {}
