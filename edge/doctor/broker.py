"""The broker, step by step: resolve, connect, TLS, login, publish, receive."""

from __future__ import annotations

import ipaddress
import os
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

from edge.config import MqttConfig
from edge.doctor.context import Context
from edge.doctor.finding import (
    Finding,
    State,
    from_error,
    green,
    red,
    skipped,
    split_message,
    yellow,
)
from edge.errors import ConfigError
from edge.mqtt.connection import connect_failure, read_password, tls_context
from edge.mqtt.discovery import filter_of
from edge.mqtt.session import Session, SessionError, json_object
from edge.mqtt.topics import Topics

_RESOLVE_S = 6.0
_CONNECT_S = 4.0
_RETURN_S = 3.0
_SOON_DAYS = 14

DISABLED = skipped(
    "broker.off", "mqtt.enabled is false: nothing is published", "set mqtt.enabled to publish"
)
UNUSABLE = red("broker.settings")
RESOLVED = green("broker_name.found", "{host} is {address}")
UNKNOWN = red(
    "broker_name.unknown",
    "{host} cannot be resolved",
    "correct mqtt.host, or use the broker's address; to test the name server: getent hosts {host}",
)
CONNECTED = green("broker_connect.reached", "connected to port {port} in {ms:.1f} ms")
NOT_CONNECTED = red("broker_connect.failed")
TRUSTED = green("broker_tls.trusted", "{version}; the certificate is valid until {until}")
EXPIRING = yellow(
    "broker_tls.ending",
    "{version}; the certificate expires on {until}: after that nothing will be published",
    "renew the broker's certificate",
)
UNTRUSTED = red("broker_tls.failed")
LOCAL = green("broker_tls.local", "not encrypted, but on this machine only")
UNENCRYPTED = yellow(
    "broker_tls.off",
    "not encrypted: anyone on the network can read the broker's password and every decision",
    "set mqtt.tls.enabled to true, and have the broker offer TLS",
)
ACCEPTED = green("broker_login.accepted", "{who} is accepted, with MQTT {version}")
REFUSED = red("broker_login.refused")
SILENT = red(
    "broker_login.silent",
    "connections are accepted but not answered in MQTT",
    "check mqtt.port, and whether the broker wants TLS there",
)
PUBLISHED = green("broker_publish.taken", "messages below {place} are accepted")
NOT_PUBLISHED = red(
    "broker_publish.refused",
    "{reason}",
    "let {who} write {place}/# in the broker's access list; for mosquitto: topic readwrite"
    " {place}/#",
)
RECEIVED = green("broker_receive.received", "a message came back after {ms:.0f} ms")
NOT_SUBSCRIBED = red(
    "broker_receive.refused",
    "{reason}: commands do not arrive",
    "let {who} read {place}/# in the broker's access list",
)
NOT_RECEIVED = red(
    "broker_receive.lost",
    "a message on {topic} did not come back within {seconds:g} s: the broker's access list blocks"
    " it",
    "let {who} read and write {place}/# in the broker's access list; for mosquitto: topic readwrite"
    " {place}/#",
)
NOT_TRIED = {
    name: skipped(f"{name}.not_tried", "not tried because the previous step failed")
    for name in (
        "broker_connect",
        "broker_tls",
        "broker_login",
        "broker_publish",
        "broker_receive",
    )
}
_STEPS = ("broker_name", *NOT_TRIED)


def check(context: Context) -> Iterator[Finding]:
    """Every step; after one that fails the others are not tried."""
    if not context.config.mqtt.enabled:
        yield DISABLED()
        return
    last = ""
    failed = False
    for finding in _steps(context):
        last, failed = finding.name, finding.state is State.RED
        yield finding
    if failed:
        reached = _STEPS.index(last) if last in _STEPS else 0
        for name in _STEPS[reached + 1 :]:
            yield NOT_TRIED[name]()


def judge_plain(address: str) -> Finding:
    """The finding for an unencrypted connection to an address."""
    local = ipaddress.ip_address(address.partition("%")[0]).is_loopback
    return LOCAL() if local else UNENCRYPTED()


def _steps(context: Context) -> Iterator[Finding]:
    mqtt = context.config.mqtt
    try:
        read_password(mqtt.password_file)
        tls = tls_context(mqtt.tls)
    except ConfigError as error:
        yield from_error(UNUSABLE, error)
        return
    address = _address(mqtt)
    if address is None:
        yield UNKNOWN(host=mqtt.host)
        return
    yield RESOLVED(host=mqtt.host, address=address)
    started = time.monotonic()
    try:
        line = socket.create_connection((address, mqtt.broker_port), _CONNECT_S)
    except OSError as error:
        place = f"{address}, port {mqtt.broker_port}: "
        yield from_error(NOT_CONNECTED, connect_failure(error, mqtt), place)
        return
    with line:
        yield CONNECTED(port=mqtt.broker_port, ms=(time.monotonic() - started) * 1e3)
        finding = judge_plain(address) if tls is None else _handshake(line, tls, mqtt)
        yield finding
        if finding.state is State.RED:
            return
    yield from _messages(context)


def _handshake(line: socket.socket, tls: ssl.SSLContext, mqtt: MqttConfig) -> Finding:
    try:
        with tls.wrap_socket(line, server_hostname=mqtt.host) as secured:
            certificate: Any = secured.getpeercert()
            version = secured.version() or "TLS"
    except OSError as error:
        return from_error(UNTRUSTED, connect_failure(error, mqtt))
    ends_s = ssl.cert_time_to_seconds(certificate["notAfter"])
    until = datetime.fromtimestamp(ends_s, tz=timezone.utc).strftime("%Y-%m-%d")
    soon = ends_s - time.time() < _SOON_DAYS * 86400
    return (EXPIRING if soon else TRUSTED)(version=version, until=until)


def _messages(context: Context) -> Iterator[Finding]:
    mqtt = context.config.mqtt
    topics = Topics(mqtt.base_topic, context.config.device.id)
    place = topics.below("").rstrip("/")
    # A topic that nothing reads: no lock, no Home Assistant, not the service.
    topic = topics.below("doctor")
    who = f"user {mqtt.username!r}" if mqtt.username else "a client without a user name"
    known: dict[str, Any] = {"who": who, "place": place, "topic": topic}
    with ExitStack() as stack:
        try:
            session, version = _log_in(mqtt, stack)
        except SessionError as error:
            yield SILENT() if error.silent else from_error(REFUSED, error.reason)
            return
        yield ACCEPTED(who=who, version=version)
        not_subscribed = _attempt(lambda: session.subscribe([topic]))
        context.status = json_object(_retained(session, topics.status).get(topics.status, b""))
        announced = filter_of(context.config.homeassistant.prefix, context.config.device.id)
        context.announced = frozenset(_retained(session, announced))
        started = time.monotonic()
        word = os.urandom(8).hex()
        text = f'{{"doctor":"{word}"}}'
        not_published = _attempt(lambda: session.publish(topic, text))
        if not_published:
            yield NOT_PUBLISHED(reason=not_published, **known)
            return
        yield PUBLISHED(place=place)
        if not_subscribed:
            yield NOT_SUBSCRIBED(reason=not_subscribed, **known)
        elif _arrives(session, word.encode()):
            yield RECEIVED(ms=(time.monotonic() - started) * 1e3)
        else:
            yield NOT_RECEIVED(seconds=_RETURN_S, **known)


def _log_in(mqtt: MqttConfig, stack: ExitStack) -> tuple[Session, str]:
    """A session in the version that the service would use, and that version."""
    version = "5" if mqtt.protocol == "auto" else mqtt.protocol
    try:
        session = stack.enter_context(Session(replace(mqtt, protocol=version), "doctor"))
    except SessionError as error:
        # A broker from before MQTT 5 may hang up on it without an answer.
        if mqtt.protocol != "auto" or not error.silent:
            raise
        version = "3.1.1"
        session = stack.enter_context(Session(replace(mqtt, protocol=version), "doctor"))
    return session, version


def _arrives(session: Session, word: bytes) -> bool:
    with suppress(SessionError):
        return session.wait(lambda each: word in each.payload or None, _RETURN_S) is not None
    return False


def _attempt(step: Callable[[], None]) -> str:
    """Why the broker refuses a step; empty where it does not."""
    try:
        step()
    except SessionError as error:
        return split_message(error.reason)[0]
    return ""


def _retained(session: Session, topics: str) -> Mapping[str, bytes]:
    try:
        return session.retained(topics)
    except SessionError:
        return {}


def _address(mqtt: MqttConfig) -> str | None:
    """The first address of the broker's name; the system's resolver may take half a minute."""
    answers: queue.Queue[str | None] = queue.Queue()

    def resolve() -> None:
        try:
            found = socket.getaddrinfo(mqtt.host, mqtt.broker_port, type=socket.SOCK_STREAM)
            answers.put(str(found[0][4][0]))
        except (OSError, UnicodeError):
            answers.put(None)

    threading.Thread(target=resolve, daemon=True).start()
    try:
        return answers.get(timeout=_RESOLVE_S)
    except queue.Empty:
        return None
