"""The broker, one step after the other: found, reached, trusted, let in, said to and heard from."""

from __future__ import annotations

import ipaddress
import os
import queue
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

from edge.config import MqttConfig
from edge.doctor.context import Context
from edge.doctor.conversation import BrokerRefused, Conversation, Unanswered
from edge.doctor.finding import Finding, green, parted, red, skipped, yellow
from edge.errors import ConfigError
from edge.mqtt import failures
from edge.mqtt.authentication import read_password, tls_context
from edge.mqtt.discovery import filter_of
from edge.mqtt.topics import Topics

_RESOLVE_S = 6.0
_CONNECT_S = 4.0
_SOON_DAYS = 14

OFF = skipped(
    "broker.off", "mqtt.enabled is false: nothing is published", "set mqtt.enabled to publish"
)
UNUSABLE = red("broker.settings", "{found}", "{remedy}")
FOUND = green("broker_name.found", "{host} is {address}")
LOST = red(
    "broker_name.unknown",
    "{host} cannot be resolved",
    "correct mqtt.host, or give the broker's address; see whether the name server works: getent"
    " hosts {host}",
)
REACHED = green("broker_connect.reached", "port {port} answers after {ms:.1f} ms")
UNREACHED = red("broker_connect.failed", "{found}", "{remedy}")
TRUSTED = green("broker_tls.trusted", "{version}, its certificate is good until {until}")
ENDING = yellow(
    "broker_tls.ending",
    "{version}; its certificate is only good until {until}: then nothing is published any more",
    "renew the broker's certificate",
)
UNTRUSTED = red("broker_tls.failed", "{found}", "{remedy}")
PLAIN = green("broker_tls.local", "not encrypted, and does not leave this machine")
BARE = yellow(
    "broker_tls.off",
    "not encrypted: whoever is on the network reads the broker's password and every decision",
    "set mqtt.tls.enabled to true, and have the broker offer TLS",
)
WELCOME = green("broker_login.accepted", "{who} is let in, with MQTT {version}")
TURNED_AWAY = red("broker_login.refused", "{found}", "{remedy}")
MUTE = red(
    "broker_login.silent",
    "something takes connections there and does not speak MQTT",
    "check mqtt.port, and whether the broker wants TLS there",
)
SAID = green("broker_publish.taken", "it takes what is published below {place}")
NOT_SAID = red(
    "broker_publish.refused",
    "it refuses what is published on {topic} ({reason})",
    "let {who} write {place}/# in the broker's access list; for mosquitto: topic readwrite"
    " {place}/#",
)
HEARD = green("broker_receive.received", "a message came back after {ms:.0f} ms")
NOT_SUBSCRIBED = red(
    "broker_receive.refused",
    "it refuses a subscription to {topic} ({reason}): no command arrives",
    "let {who} read {place}/# in the broker's access list",
)
NOT_HEARD = red(
    "broker_receive.lost",
    "what was published on {topic} did not come back within {seconds:g} s: its access list stops"
    " it, on the way in or out",
    "let {who} read and write {place}/# in the broker's access list; for mosquitto: topic readwrite"
    " {place}/#",
)
AFTER = "not tried, since the step before failed"
NOT_TRIED = {
    name: skipped(f"{name}.not_tried", AFTER)
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
    """Every step, each with a remedy of its own; after one that fails the rest is not tried."""
    if not context.config.mqtt.enabled:
        yield OFF()
        return
    last = ""
    good = True
    for finding in _walk(context):
        last, good = finding.name, finding.code not in _FATAL
        yield finding
    if not good:
        reached = _STEPS.index(last) if last in _STEPS else -1
        for name in _STEPS[max(reached, 0) + 1 :]:
            yield NOT_TRIED[name]()


_FATAL = {
    verdict.code for verdict in (UNUSABLE, LOST, UNREACHED, UNTRUSTED, TURNED_AWAY, MUTE, NOT_SAID)
}


def judge_plain(address: str) -> Finding:
    """What an unencrypted connection to an address is worth."""
    return PLAIN() if ipaddress.ip_address(address.partition("%")[0]).is_loopback else BARE()


def _walk(context: Context) -> Iterator[Finding]:
    mqtt = context.config.mqtt
    try:
        password = None if mqtt.password_file is None else read_password(mqtt.password_file)
        tls = tls_context(mqtt.tls)
    except ConfigError as error:
        found, remedy = parted(error)
        yield UNUSABLE(found=found, remedy=remedy)
        return
    address = _address(mqtt)
    if address is None:
        yield LOST(host=mqtt.host)
        return
    yield FOUND(host=mqtt.host, address=address)
    started = time.monotonic()
    try:
        line = socket.create_connection((address, mqtt.broker_port), _CONNECT_S)
    except OSError as error:
        found, remedy = parted(Exception(failures.connect_trouble(error, mqtt)))
        yield UNREACHED(found=f"{address}, port {mqtt.broker_port}: {found}", remedy=remedy)
        return
    with line:
        yield REACHED(port=mqtt.broker_port, ms=(time.monotonic() - started) * 1e3)
        if tls is None:
            yield judge_plain(address)
        else:
            finding = _handshake(line, tls, mqtt)
            yield finding
            if finding.code in _FATAL:
                return
    yield from _converse(context, password, tls)


def _handshake(line: socket.socket, tls: ssl.SSLContext, mqtt: MqttConfig) -> Finding:
    try:
        with tls.wrap_socket(line, server_hostname=mqtt.host) as secured:
            certificate: Any = secured.getpeercert()
            version = secured.version() or "TLS"
    except OSError as error:
        found, remedy = parted(Exception(failures.connect_trouble(error, mqtt)))
        return UNTRUSTED(found=found, remedy=remedy)
    ends_s = ssl.cert_time_to_seconds(certificate["notAfter"])
    until = datetime.fromtimestamp(ends_s, tz=timezone.utc).strftime("%Y-%m-%d")
    soon = ends_s - time.time() < _SOON_DAYS * 86400
    return (ENDING if soon else TRUSTED)(version=version, until=until)


def _converse(
    context: Context, password: str | None, tls: ssl.SSLContext | None
) -> Iterator[Finding]:
    mqtt = context.config.mqtt
    topics = Topics(mqtt.base_topic, context.config.device.id)
    place = topics.below("").rstrip("/")
    # Nothing reads it: no lock, no Home Assistant, and not the service.
    topic = topics.below("doctor")
    who = f"user {mqtt.username!r}" if mqtt.username else "a client without a user name"
    known: dict[str, Any] = {"who": who, "place": place, "topic": topic}
    with Conversation(mqtt, password, tls) as conversation:
        try:
            version = conversation.connect()
        except Unanswered:
            yield MUTE()
            return
        except BrokerRefused as refusal:
            found, remedy = parted(refusal)
            yield TURNED_AWAY(found=found, remedy=remedy)
            return
        yield WELCOME(who=who, version=version)
        refused = conversation.subscribe(topic) or ""
        context.status = conversation.kept(topics.status)
        place_of_all = filter_of(context.config.homeassistant.prefix, context.config.device.id)
        context.announced = conversation.kept_topics(place_of_all)
        started = time.monotonic()
        word = os.urandom(8).hex()
        try:
            conversation.publish(topic, f'{{"doctor":"{word}"}}')
        except BrokerRefused as refusal:
            yield NOT_SAID(reason=refusal, **known)
            return
        yield SAID(place=place)
        if refused:
            yield NOT_SUBSCRIBED(reason=refused, **known)
        elif conversation.came_back(topic, word):
            yield HEARD(ms=(time.monotonic() - started) * 1e3)
        else:
            yield NOT_HEARD(seconds=conversation.patience_s, **known)


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
