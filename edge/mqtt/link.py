"""One connection to the broker, used once and thrown away, in one thread that also drives paho.

Paho sends unconfirmed messages again when it reconnects, however late: a client used for one
connection has nothing left to send. The broker keeps no session either.
"""

from __future__ import annotations

import contextlib
import logging
import math
import select
import socket
import ssl
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge.config import MqttConfig
from edge.mqtt.connection import (
    HUNG_UP,
    NO_ANSWER,
    connect_failure,
    connect_refusal,
    disconnection,
)
from edge.mqtt.outbox import now
from edge.mqtt.topics import OFFLINE, Topics

NEWER = MQTTProtocolVersion.MQTTv5
OLDER = MQTTProtocolVersion.MQTTv311
UNSUPPORTED_VERSION = "Unsupported protocol version"
CONNECT_TIMEOUT_S = 4.0
_ACCEPT_TIMEOUT_S = 3.0
SILENCE_TIMEOUT_S = 2.0
"""How long the broker may leave a message unconfirmed before the connection counts as dead."""
MOST_INCOMING_BYTES = 16384
"""Larger messages are refused: MQTT 5 has the broker withhold them, else the connection ends."""
_SPARE_ATTEMPTS = 2
"""How often a broker that has spoken MQTT 5 may fail in it before the older one is tried."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Incoming:
    """A received message, unchecked; `suffix` is its topic below BASE/DEVICE, empty outside it."""

    suffix: str
    payload: bytes
    retained: bool
    topic: str = ""


class LinkLost(Exception):
    """The connection failed or broke; the text says why.

    With `try_older` the broker may only speak MQTT 3.1.1; `too_large` means that a message larger
    than `MOST_INCOMING_BYTES` was arriving.
    """

    def __init__(self, message: str, *, try_older: bool = False, too_large: bool = False) -> None:
        super().__init__(message)
        self.try_older = try_older
        self.too_large = too_large


class Waker:
    """Wakes a thread that waits in `select`."""

    def __init__(self) -> None:
        self._receiver, self._sender = socket.socketpair()
        self._receiver.setblocking(False)
        self._sender.setblocking(False)

    def fileno(self) -> int:
        """What `select` waits on."""
        return self._receiver.fileno()

    def wake(self) -> None:
        """Wake the thread, now or as soon as it waits."""
        with contextlib.suppress(OSError):  # its buffer is full, or it is closed
            self._sender.send(b"\0")

    def drain(self) -> None:
        """Clear pending wake-ups."""
        with contextlib.suppress(BlockingIOError):
            self._receiver.recv(4096)

    def wait(self, timeout_s: float) -> None:
        """Wait until woken or timed out."""
        if select.select([self], [], [], max(0.0, timeout_s))[0]:
            self.drain()

    def close(self) -> None:
        """Close the sockets; `wake` does nothing from now on."""
        self._receiver.close()
        self._sender.close()


class ProtocolChoice:
    """Prefers MQTT 5, whose brokers can expire decisions; `version` is the next connection's.

    An older broker refuses the version, hangs up, or (amqtt) waits silently for more. So does one
    that is busy or just starting: a broker that has spoken MQTT 5 before gets several attempts.
    """

    def __init__(self, setting: str) -> None:
        self._setting = setting
        self._spare_attempts = 0
        self.version = OLDER if setting == "3.1.1" else NEWER

    def accepted(self) -> None:
        """The broker has accepted a connection in this version."""
        if self.version is NEWER:
            self._spare_attempts = _SPARE_ATTEMPTS

    def failed(self, *, try_older: bool) -> bool:
        """A connection failed or ended; returns whether to retry at once in the new `version`."""
        if self._setting != "auto":
            return False
        if self.version is OLDER:
            # Begin with the newer one again: the broker may have been replaced meanwhile.
            self.version = NEWER
            return False
        if not try_older:
            return False
        if self._spare_attempts:
            self._spare_attempts -= 1
            return False
        self.version = OLDER
        return True


class BoundedClient(paho.Client):
    """A paho client that refuses large messages; paho itself would buffer up to 256 MB."""

    most_bytes = MOST_INCOMING_BYTES
    overwhelmed = False

    def _sock_recv(self, bufsize: int) -> bytes:
        if bufsize > self.most_bytes:
            self.overwhelmed = True
            raise ConnectionError("too large")
        return super()._sock_recv(bufsize)


def make_client(
    mqtt: MqttConfig,
    client_id: str,
    version: MQTTProtocolVersion,
    password: str | None,
    tls: ssl.SSLContext | None,
) -> BoundedClient:
    """A paho client for one connection, without callbacks."""
    client = BoundedClient(
        CallbackAPIVersion.VERSION2,
        client_id=client_id,
        protocol=version,
        reconnect_on_failure=False,
    )
    client.connect_timeout = CONNECT_TIMEOUT_S
    if mqtt.username is not None:
        client.username_pw_set(mqtt.username, password)
    if tls is not None:
        client.tls_set_context(tls)
    client.on_socket_open = _send_at_once
    return client


def _send_at_once(_client: Any, _data: Any, line: Any) -> None:
    # Otherwise a decision waits for the confirmation of the packet before it, 40 ms at times.
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class Link:
    """A connection to the broker.

    Attributes:
        answered_at: `outbox.now()` of the broker's latest answer.
        answers: the broker's reason code for each message it has confirmed, by number.
    """

    def __init__(
        self,
        mqtt: MqttConfig,
        topics: Topics,
        *,
        client_id: str,
        password: str | None,
        tls: ssl.SSLContext | None,
        version: MQTTProtocolVersion,
        on_message: Callable[[Incoming], None] = lambda _: None,
    ) -> None:
        self.version = version
        self.answered_at = 0.0
        self.answers: dict[int, ReasonCode] = {}
        self._mqtt = mqtt
        self._topics = topics
        self._handle_message = on_message
        self._accepted = False
        self._unanswered: dict[int, float] = {}
        self._failure: LinkLost | None = None
        client = self._client = make_client(mqtt, client_id, version, password, tls)
        client.will_set(topics.status, OFFLINE, qos=1, retain=True)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_unsubscribe = self._on_unsubscribe
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message

    def open(self, waker: Waker, stopping: Callable[[], bool]) -> None:
        """Connect, for some seconds at worst. Raises `LinkLost`, also once `stopping` is true."""
        options: dict[str, Any] = {}
        if self.version == NEWER:
            limits = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            limits.MaximumPacketSize = MOST_INCOMING_BYTES
            options = {"clean_start": True, "properties": limits}
        try:
            self._client.connect(
                self._mqtt.host, self._mqtt.broker_port, self._mqtt.keepalive_s, **options
            )
        except (OSError, ValueError) as error:
            raise LinkLost(connect_failure(error, self._mqtt)) from None
        started = now()
        while not self._accepted:
            if stopping():
                raise LinkLost("the service is stopping")
            if now() - started > _ACCEPT_TIMEOUT_S:
                raise LinkLost(NO_ANSWER, try_older=True)
            self.pump(0.5, waker)

    def publish(
        self, topic: str, payload: str, *, retain: bool, lifetime_s: float | None = None
    ) -> int:
        """Send a message with QoS 1; returns its number in `answers`. Raises `LinkLost`.

        After `lifetime_s` seconds, None for no limit, neither this machine's network stack nor a
        broker that speaks MQTT 5 may deliver it.
        """
        properties = None
        if lifetime_s is not None:
            self._limit_retransmission(lifetime_s)
            if self.version == NEWER:
                properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
                # Whole seconds, rounded down: later is worse than not at all. Never 0, which
                # Mosquitto takes for no limit.
                properties.MessageExpiryInterval = max(1, int(lifetime_s))
        info = self._client.publish(topic, payload, qos=1, retain=retain, properties=properties)
        self._await_answer(info.mid)
        return info.mid

    def subscribe(self, filters: Sequence[str]) -> None:
        """Subscribe; `on_message` gets what arrives. Raises `LinkLost`."""
        if self.version == NEWER:
            # Nothing retained: a command is only for a device that is listening when it is sent.
            options = SubscribeOptions(qos=1, retainHandling=2)
            _, number = self._client.subscribe([(each, options) for each in filters])
        else:
            _, number = self._client.subscribe([(each, 1) for each in filters])
        self._await_answer(number)

    def probe(self) -> None:
        """Have the broker answer: it must, even to a needless UNSUBSCRIBE. Raises `LinkLost`."""
        _, number = self._client.unsubscribe(self._topics.status)
        self._await_answer(number)

    def pump(self, timeout_s: float, waker: Waker) -> None:
        """Wait for data, the waker or the time, and handle it.

        Raises:
            LinkLost: the connection is gone, or unconfirmed for `SILENCE_TIMEOUT_S`.
        """
        self._check()
        line: Any = self._client.socket()
        # What TLS has decrypted already does not show in select().
        ready = isinstance(line, ssl.SSLSocket) and bool(line.pending())
        writing = [line] if self._client.want_write() else []
        wait = 0.0 if ready else self._until_due(timeout_s)
        readable, writable, _ = select.select([line, waker], writing, [], wait)
        if waker in readable:
            waker.drain()
        if ready or line in readable:
            self._read()
        if writable:
            self._client.loop_write()
        self._client.loop_misc()
        self._check()
        if self._until_due(math.inf) <= 0:
            raise LinkLost("the broker has stopped answering")

    def close(self) -> None:
        """Disconnect, so that the broker does not publish the will."""
        self._client.disconnect()
        line = self._client.socket()
        if line is not None:
            line.close()

    def abort(self) -> None:
        """Drop the connection and all unsent bytes; a close would deliver them for minutes."""
        line: Any = self._client.socket()
        if line is None:
            return
        with contextlib.suppress(OSError):  # the connection may be broken already
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        line.close()

    def _read(self) -> None:
        try:
            self._client.loop_read()
        except Exception as error:  # noqa: BLE001 - paho lets its parser's own errors through
            kind = type(error).__name__
            raise LinkLost(f"it does not speak MQTT ({kind}); check mqtt.port") from None
        if self._client.overwhelmed:
            text = "received a message that is far too large; no commands for a minute"
            raise LinkLost(text, too_large=True)

    def _until_due(self, timeout_s: float) -> float:
        # A second at most, so that paho can send its keep-alive.
        wait = min(timeout_s, 1.0)
        if self._unanswered:
            wait = min(wait, min(self._unanswered.values()) + SILENCE_TIMEOUT_S - now())
        return max(0.0, wait)

    def _await_answer(self, number: int | None) -> None:
        if number is not None:
            self._unanswered[number] = now()
        self._check()

    def _answered(self, number: int) -> None:
        self.answered_at = now()
        self._unanswered.pop(number, None)

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._client.socket() is None:
            raise LinkLost("the connection broke")

    def _limit_retransmission(self, seconds: float) -> None:
        # The kernel retransmits even once this process is dead: not longer than the decision lives.
        line: Any = self._client.socket()
        if line is not None:
            milliseconds = max(1, int(seconds * 1000))
            with contextlib.suppress(OSError):  # the connection may be broken already
                line.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)

    def _on_connect(self, _c: Any, _data: Any, _flags: Any, reason: ReasonCode, _: Any) -> None:
        self.answered_at = now()
        if not reason.is_failure:
            self._accepted = True
            return
        older = reason.getName() == UNSUPPORTED_VERSION
        self._failure = LinkLost(connect_refusal(reason, self._mqtt), try_older=older)

    def _on_disconnect(self, _c: Any, _data: Any, flags: Any, reason: ReasonCode, _: Any) -> None:
        if self._failure is not None:
            return
        if flags.is_disconnect_packet_from_server:
            self._failure = LinkLost(disconnection(reason))
        elif not self._accepted:
            # A broker from before MQTT 5 may hang up on it without an answer.
            self._failure = LinkLost(HUNG_UP, try_older=True)

    def _on_publish(self, _c: Any, _data: Any, number: int, reason: ReasonCode, _: Any) -> None:
        self._answered(number)
        self.answers[number] = reason

    def _on_unsubscribe(self, _c: Any, _data: Any, number: int, _reasons: Any, _: Any) -> None:
        self._answered(number)

    def _on_subscribe(
        self, _c: Any, _d: Any, number: int, reasons: list[ReasonCode], _: Any
    ) -> None:
        self._answered(number)
        if any(reason.is_failure for reason in reasons):
            _log.warning(
                "the broker refused a subscription to commands (%s); check its access list",
                reasons[0].getName(),
            )

    def _on_message(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        # No answer: it may have been in this machine's buffer since before the broker froze.
        suffix = self._topics.suffix(message.topic)
        self._handle_message(
            Incoming(suffix, bytes(message.payload), bool(message.retain), message.topic)
        )
