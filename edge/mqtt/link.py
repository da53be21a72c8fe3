"""One connection to the broker, used once and thrown away, in one thread that also drives paho.

Paho sends unconfirmed messages again when it reconnects, however late: a client used for one
connection has nothing left to send. The broker keeps no session either.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import math
import select
import socket
import ssl
import struct
import termios
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
    tls_refusal,
)
from edge.mqtt.outbox import now
from edge.mqtt.topics import OFFLINE, Topics

NEWER = MQTTProtocolVersion.MQTTv5
OLDER = MQTTProtocolVersion.MQTTv311
UNSUPPORTED_VERSION = "Unsupported protocol version"
CONNECT_TIMEOUT_S = 4.0
_ACCEPT_TIMEOUT_S = 3.0
"""How long a broker that may not know the version of MQTT may take to accept a connection."""
_PATIENT_ACCEPT_TIMEOUT_S = 10.0
SILENCE_S = 2.0
"""How long a message may be unconfirmed before a new connection is tried, to find a dead path."""
_REPEAT_S = 1.5
"""TCP repeats what nobody confirmed within this time, once `SILENCE_S` have passed."""
_MOST_SILENT_KEEPALIVES = 1.5
"""A broker that confirms nothing for so many keep-alive intervals is given up, as it does too."""
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
    than `MOST_INCOMING_BYTES` was arriving, `hung_up` that the broker ended it without a word.
    """

    def __init__(
        self,
        message: str,
        *,
        try_older: bool = False,
        too_large: bool = False,
        hung_up: bool = False,
    ) -> None:
        super().__init__(message)
        self.try_older = try_older
        self.too_large = too_large
        self.hung_up = hung_up


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

    @property
    def accept_timeout_s(self) -> float:
        """How long the broker may take to accept a connection in this version."""
        guessed = self._setting == "auto" and self.version is NEWER and not self._spare_attempts
        return _ACCEPT_TIMEOUT_S if guessed else _PATIENT_ACCEPT_TIMEOUT_S

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
    """A paho client that refuses large messages; paho itself would buffer up to 256 MB.

    Attributes:
        broke: the error with which the connection broke, which paho keeps to itself.
    """

    most_bytes = MOST_INCOMING_BYTES
    overwhelmed = False
    broke: OSError | None = None

    def _sock_recv(self, bufsize: int) -> bytes:
        if bufsize > self.most_bytes:
            self.overwhelmed = True
            raise ConnectionError("too large")
        try:
            return super()._sock_recv(bufsize)
        except BlockingIOError:
            raise
        except OSError as error:
            self.broke = error
            raise

    def _sock_send(self, buf: bytes | bytearray) -> int:
        try:
            return super()._sock_send(buf)
        except BlockingIOError:
            raise
        except OSError as error:
            self.broke = error
            with contextlib.suppress(OSError):
                self._sock_recv(1)  # why a broker refuses a TLS connection has yet to be read
            raise


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


def unacknowledged(line: Any) -> int:
    """How many bytes the machine at the other end of a connection has not confirmed yet."""
    try:
        return int(struct.unpack("i", fcntl.ioctl(line, termios.TIOCOUTQ, bytes(4)))[0])
    except (OSError, ValueError):  # it is closed
        return 0


def try_again(line: Any) -> socket.socket:
    """Begin another connection to where this one leads."""
    other = socket.socket(line.family, socket.SOCK_STREAM)
    other.setblocking(False)
    with contextlib.suppress(OSError):
        other.connect_ex(line.getpeername())
    return other


class PathCheck:
    """Tells a path that is dead for one connection only from a network or a broker that is late.

    A firewall that has forgotten a connection and a changed address of this machine leave it
    silent for ever, while a new one is answered at once.
    """

    def __init__(self, line: Any) -> None:
        self.pending: socket.socket | None = try_again(line)
        self._reached_at: float | None = None

    def settle(self) -> None:
        """Take note that the attempt is over."""
        if self.pending is None:
            return
        if self.pending.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) in (0, errno.ECONNREFUSED):
            self._reached_at = now()
        self.close()

    @property
    def due_s(self) -> float:
        """Seconds until the old connection is dead where it still carries what nobody confirmed."""
        return math.inf if self._reached_at is None else self._reached_at + _REPEAT_S - now()

    def close(self) -> None:
        """Give the attempt up."""
        if self.pending is not None:
            self.pending.close()
            self.pending = None


class Link:
    """A connection to the broker.

    Attributes:
        answered_at: `outbox.now()` of the broker's latest answer.
        answers: the broker's reason code for each message it has confirmed, by number.
        slowest_s: the longest time that an answer took.
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
        self.slowest_s = 0.0
        self._mqtt = mqtt
        self._topics = topics
        self._handle_message = on_message
        self._accepted = False
        self._unanswered: dict[int, float] = {}
        self._urgent: int | None = None
        self._check_of_path: PathCheck | None = None
        self._failure: LinkLost | None = None
        client = self._client = make_client(mqtt, client_id, version, password, tls)
        client.will_set(topics.status, OFFLINE, qos=1, retain=True)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_unsubscribe = self._on_unsubscribe
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message

    def open(
        self,
        waker: Waker,
        stopping: Callable[[], bool],
        accept_timeout_s: float = _ACCEPT_TIMEOUT_S,
    ) -> None:
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
            if now() - started > accept_timeout_s:
                raise LinkLost(NO_ANSWER, try_older=True)
            self.pump(0.5, waker)

    def publish(
        self,
        topic: str,
        payload: str,
        *,
        retain: bool,
        lifetime_s: float | None = None,
        never_late: bool = False,
        qos: int = 1,
    ) -> int:
        """Send a message; returns its number in `answers`, with QoS 1. Raises `LinkLost`.

        After `lifetime_s` seconds, None for no limit, a broker that speaks MQTT 5 may not deliver
        it; with `never_late` neither may this machine's network stack, which then breaks the
        connection.
        """
        properties = None
        if lifetime_s is not None:
            if never_late:
                self._limit_retransmission(lifetime_s)
            if self.version == NEWER:
                properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
                # Whole seconds, rounded down: later is worse than not at all. Never 0, which
                # Mosquitto takes for no limit.
                properties.MessageExpiryInterval = max(1, int(lifetime_s))
        info = self._client.publish(topic, payload, qos=qos, retain=retain, properties=properties)
        if not qos:
            self._check()
            return info.mid
        if never_late:
            self._urgent = info.mid
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

    @property
    def unsent(self) -> bool:
        """Whether something that was sent has not reached the broker's machine yet."""
        return self._client.want_write() or unacknowledged(self._client.socket()) > 0

    def pump(self, timeout_s: float, waker: Waker) -> None:
        """Wait for data, the waker or the time, and handle it.

        Raises:
            LinkLost: the connection is gone, its path is dead, or the broker has long been silent.
        """
        self._check()
        line: Any = self._client.socket()
        # What TLS has decrypted already does not show in select().
        ready = isinstance(line, ssl.SSLSocket) and bool(line.pending())
        writing = [line] if self._client.want_write() else []
        path = self._check_of_path
        if path is not None and path.pending is not None:
            writing.append(path.pending)
        wait = 0.0 if ready else self._until_due(timeout_s)
        readable, writable, _ = select.select([line, waker], writing, [], wait)
        if waker in readable:
            waker.drain()
        if ready or line in readable:
            self._read()
        if line in writable:
            self._client.loop_write()
        if path is not None and path.pending in writable:
            path.settle()
        self._client.loop_misc()
        self._check()
        self._check_silence(line)

    def close(self) -> None:
        """Disconnect, so that the broker does not publish the will."""
        self._end_check_of_path()
        self._client.disconnect()
        line = self._client.socket()
        if line is not None:
            line.close()

    def abort(self) -> None:
        """Drop the connection and all unsent bytes; a close would deliver them for minutes."""
        self._end_check_of_path()
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
        if self._check_of_path is not None:
            due = self._check_of_path.due_s
            wait = min(wait, due) if due > 0 else wait
        elif self._unanswered:
            due = min(self._unanswered.values()) + self._patience_s - now()
            wait = min(wait, due) if due > 0 else wait
        return max(0.0, wait)

    @property
    def _patience_s(self) -> float:
        # Where answers take seconds, silence says something later.
        return max(SILENCE_S, 2 * self.slowest_s)

    def _check_silence(self, line: Any) -> None:
        if not self._unanswered:
            return
        silent_s = now() - min(self._unanswered.values())
        if silent_s >= _MOST_SILENT_KEEPALIVES * self._mqtt.keepalive_s:
            raise LinkLost(f"the broker has not answered for {silent_s:.0f} s")
        if self._check_of_path is None:
            if silent_s >= self._patience_s and unacknowledged(line):
                self._check_of_path = PathCheck(line)
        elif self._check_of_path.due_s <= 0:
            if unacknowledged(line):
                raise LinkLost(
                    f"nothing has got through for {silent_s:.0f} s, "
                    "while new connections are answered"
                )
            self._end_check_of_path()

    def _end_check_of_path(self) -> None:
        if self._check_of_path is not None:
            self._check_of_path.close()
            self._check_of_path = None

    def _await_answer(self, number: int | None) -> None:
        if number is not None:
            self._unanswered[number] = now()
        self._check()

    def _answered(self, number: int) -> None:
        self.answered_at = now()
        sent_at = self._unanswered.pop(number, self.answered_at)
        self.slowest_s = max(self.slowest_s, self.answered_at - sent_at)
        self._end_check_of_path()
        if number == self._urgent:
            self._urgent = None
            self._limit_retransmission(0.0)

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._client.socket() is None:
            broke = self._client.broke
            if broke is None or isinstance(broke, (ConnectionError, ssl.SSLError)):
                raise LinkLost("the connection broke", hung_up=True)
            raise LinkLost(f"the connection broke ({broke.strerror or type(broke).__name__})")

    def _limit_retransmission(self, seconds: float) -> None:
        # The kernel retransmits even once this process is dead: not longer than the decision lives.
        line: Any = self._client.socket()
        if line is not None:
            milliseconds = max(1, int(seconds * 1000)) if seconds else 0  # 0 is the system's limit
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
            return
        refusal = tls_refusal(self._client.broke, self._mqtt.tls)
        if refusal is not None:
            self._failure = LinkLost(refusal)
        elif not self._accepted:
            # A broker from before MQTT 5 may hang up on it without an answer.
            self._failure = LinkLost(HUNG_UP, try_older=True)

    def _on_publish(self, _c: Any, _data: Any, number: int, reason: ReasonCode, _: Any) -> None:
        if number not in self._unanswered:
            return  # QoS 0: it was sent, and nobody answered
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
