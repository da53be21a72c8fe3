"""One connection to the broker, from CONNECT to the last byte, used once and thrown away.

Paho keeps every unconfirmed message and sends it again when it reconnects, however late. Here a
client lives for one connection only, so nothing is left in it to be sent on the next one. The
broker keeps no session either.

Everything here runs in one thread, which also drives paho: no callback comes from elsewhere.
"""

from __future__ import annotations

import contextlib
import logging
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
from edge.mqtt import failures
from edge.mqtt.outbox import now
from edge.mqtt.topics import OFFLINE, Topics


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
        with contextlib.suppress(OSError):  # woken often enough already, or closed
            self._sender.send(b"\0")

    def drain(self) -> None:
        """Forget having been woken."""
        with contextlib.suppress(BlockingIOError):
            self._receiver.recv(4096)

    def wait(self, timeout_s: float) -> None:
        """Wait until woken or until time is over."""
        if select.select([self], [], [], max(0.0, timeout_s))[0]:
            self.drain()

    def close(self) -> None:
        """Give the sockets back; waking does nothing from now on."""
        self._receiver.close()
        self._sender.close()


NEWER = MQTTProtocolVersion.MQTTv5
OLDER = MQTTProtocolVersion.MQTTv311

_PATIENCE = 3


class ProtocolChoice:
    """Prefers MQTT 5, because a broker that speaks it can be told when a decision expires.

    An older broker refuses the version, hangs up, or (amqtt) waits for more without a word. So does
    one that is busy or just starting: a broker that has spoken MQTT 5 before is given several
    chances to do it again.

    Attributes:
        version: what to speak on the next connection.
    """

    def __init__(self, setting: str) -> None:
        """Begin with what `mqtt.protocol` says."""
        self._setting = setting
        self._doubts_left = 1
        self.version = OLDER if setting == "3.1.1" else NEWER

    def accepted(self) -> None:
        """The broker has accepted a connection in this version."""
        if self.version is NEWER:
            self._doubts_left = _PATIENCE

    def failed(self, *, try_older: bool) -> bool:
        """A connection ended, or did not come about.

        Args:
            try_older: the version may have been the reason.

        Returns:
            Whether to try again at once, with the version that `version` has now.
        """
        if self._setting != "auto":
            return False
        if self.version is OLDER:
            # Begin with the newer one again: the broker may have been replaced meanwhile.
            self.version = NEWER
            return False
        if not try_older:
            return False
        self._doubts_left -= 1
        if self._doubts_left > 0:
            return False
        self._doubts_left = 1
        self.version = OLDER
        return True


CONNECT_TIMEOUT_S = 4.0
_ACCEPT_TIMEOUT_S = 3.0
SILENCE_TIMEOUT_S = 2.0
"""How long the broker may leave a message unconfirmed before the line counts as dead."""


MOST_INCOMING_BYTES = 16384
"""Larger messages are not taken: MQTT 5 has the broker keep them, else the connection ends."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Incoming:
    """A message that came in; what is in it may be anything.

    Attributes:
        suffix: the topic's levels below the device's; empty where it is none of the device's.
        payload: its content.
        retained: the broker had kept it for those who subscribe later.
        topic: all of its topic.
    """

    suffix: str
    payload: bytes
    retained: bool
    topic: str = ""


class LinkLost(Exception):
    """The connection is gone or never came about; the text says why.

    Attributes:
        try_older: the broker may only speak the older protocol, MQTT 3.1.1.
        too_large: a message was on its way in that is larger than any that is taken.
    """

    def __init__(self, message: str, *, try_older: bool = False, too_large: bool = False) -> None:
        super().__init__(message)
        self.try_older = try_older
        self.too_large = too_large


class Link:
    """A connection to the broker.

    Attributes:
        heard_at: `outbox.now()` when the broker last answered anything.
        answers: the broker's verdict on each message that it has confirmed, by number.
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
        taker: Callable[[Incoming], None] = lambda _: None,
    ) -> None:
        self._taker = taker
        self.version = version
        self.heard_at = 0.0
        self.answers: dict[int, ReasonCode] = {}
        self._mqtt = mqtt
        self._topics = topics
        self._accepted = False
        self._asked: dict[int, float] = {}
        self._trouble: LinkLost | None = None
        self._client = self._make_client(client_id, password, tls)

    def open(self, waker: Waker, stopping: Callable[[], bool]) -> None:
        """Connect, and return once the broker has accepted. Blocks for some seconds at worst.

        Raises:
            LinkLost: no connection came about, or `stopping` has become true.
        """
        try:
            if self.version == NEWER:
                limits = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
                limits.MaximumPacketSize = MOST_INCOMING_BYTES
                self._client.connect(
                    self._mqtt.host,
                    self._mqtt.broker_port,
                    self._mqtt.keepalive_s,
                    clean_start=True,
                    properties=limits,
                )
            else:
                self._client.connect(
                    self._mqtt.host, self._mqtt.broker_port, self._mqtt.keepalive_s
                )
        except (OSError, ValueError) as error:
            raise LinkLost(failures.connect_trouble(error, self._mqtt)) from None
        started = now()
        while not self._accepted:
            if stopping():
                raise LinkLost("the service is stopping")
            if now() - started > _ACCEPT_TIMEOUT_S:
                text = "it accepts connections but does not answer; check the broker and mqtt.port"
                raise LinkLost(text, try_older=True)
            self.pump(0.5, waker)

    def publish(
        self, topic: str, payload: str, *, retain: bool, lifetime_s: float | None = None
    ) -> int:
        """Send a message with QoS 1.

        Args:
            topic: where to.
            payload: what.
            retain: whether the broker keeps it for those who subscribe later.
            lifetime_s: seconds after which neither this machine's network stack nor a broker
                that speaks MQTT 5 may deliver it any more; None for no limit.

        Returns:
            The number under which the answer will be found in `answers`.

        Raises:
            LinkLost: the connection is gone.
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
        self._asked[info.mid] = now()
        self._check()
        return info.mid

    def subscribe(self, filters: Sequence[str]) -> None:
        """Ask for what others publish; `taker` gets it as it comes.

        Raises:
            LinkLost: the connection is gone.
        """
        if self.version == NEWER:
            # Not what was kept from before: a command is for those who are there.
            options = SubscribeOptions(qos=1, retainHandling=2)
            _, number = self._client.subscribe([(each, options) for each in filters])
        else:
            _, number = self._client.subscribe([(each, 1) for each in filters])
        if number is not None:
            self._asked[number] = now()
        self._check()

    def probe(self) -> None:
        """Ask for a sign of life, without telling anybody else anything.

        A broker must answer an UNSUBSCRIBE even where there was no subscription.

        Raises:
            LinkLost: the connection is gone.
        """
        _, number = self._client.unsubscribe(self._topics.status)
        if number is not None:
            self._asked[number] = now()
        self._check()

    def pump(self, timeout_s: float, waker: Waker) -> None:
        """Wait until something arrives, the waker is woken or time is over, and handle it.

        Raises:
            LinkLost: the connection is gone, or the broker has left something unconfirmed for
                `SILENCE_TIMEOUT_S`.
        """
        self._check()
        line: Any = self._client.socket()
        # What TLS has decrypted already does not show in select().
        ready = isinstance(line, ssl.SSLSocket) and line.pending() > 0
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
        if self._until_due(1.0) <= 0:
            raise LinkLost("the broker has stopped answering")

    def close(self) -> None:
        """Say goodbye, so that the broker does not publish the will."""
        self._client.on_disconnect = None
        self._client.disconnect()
        line = self._client.socket()
        if line is not None:
            line.close()

    def abort(self) -> None:
        """Drop the connection, and with it every byte that has not left this machine yet.

        An ordinary close would leave the kernel to deliver what is buffered for minutes.
        """
        self._client.on_disconnect = None
        line: Any = self._client.socket()
        if line is None:
            return
        with contextlib.suppress(OSError):  # the line may be broken already
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        line.close()

    def _make_client(
        self, client_id: str, password: str | None, tls: ssl.SSLContext | None
    ) -> _BoundedClient:
        client = _BoundedClient(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=self.version,
            reconnect_on_failure=False,
        )
        client.connect_timeout = CONNECT_TIMEOUT_S
        client.will_set(self._topics.status, OFFLINE, qos=1, retain=True)
        if self._mqtt.username is not None:
            client.username_pw_set(self._mqtt.username, password)
        if tls is not None:
            client.tls_set_context(tls)
        client.on_socket_open = _send_at_once
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_unsubscribe = self._on_unsubscribe
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        return client

    def _read(self) -> None:
        try:
            self._client.loop_read()
        except Exception as error:  # noqa: BLE001 - paho lets its parser's own errors through
            kind = type(error).__name__
            raise LinkLost(f"it sent what is no MQTT ({kind}); check mqtt.port") from None
        if self._client.overwhelmed:
            text = "somebody sent a message that is far too large; no commands for a minute"
            raise LinkLost(text, too_large=True)

    def _until_due(self, timeout_s: float) -> float:
        # A second at most, for paho's keep-alive to be looked after.
        wait = min(timeout_s, 1.0)
        if self._asked:
            wait = min(wait, min(self._asked.values()) + SILENCE_TIMEOUT_S - now())
        return max(0.0, wait)

    def _check(self) -> None:
        if self._trouble is not None:
            raise self._trouble
        if self._client.socket() is None:
            raise LinkLost("the connection broke")

    def _limit_retransmission(self, seconds: float) -> None:
        # The kernel goes on retransmitting after this process has been killed; it must not for
        # longer than the decision lives.
        line: Any = self._client.socket()
        if line is not None:
            milliseconds = max(1, int(seconds * 1000))
            with contextlib.suppress(OSError):  # the line may be broken already
                line.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)

    def _on_connect(
        self, _client: Any, _data: Any, _flags: Any, reason: ReasonCode, _: Any
    ) -> None:
        self.heard_at = now()
        if not reason.is_failure:
            self._accepted = True
            return
        older = reason.getName() == "Unsupported protocol version"
        self._trouble = LinkLost(failures.refusal(reason, self._mqtt), try_older=older)

    def _on_disconnect(
        self, _client: Any, _data: Any, flags: Any, reason: ReasonCode, _: Any
    ) -> None:
        if self._trouble is not None:
            return
        if flags.is_disconnect_packet_from_server:
            self._trouble = LinkLost(failures.farewell(reason))
        elif self._accepted:
            self._trouble = LinkLost("the connection broke")
        else:
            # A broker from before MQTT 5 may hang up on it without a word.
            self._trouble = LinkLost(
                "it hung up at once; check mqtt.port and whether the broker wants TLS",
                try_older=True,
            )

    def _on_publish(
        self, _client: Any, _data: Any, number: int, reason: ReasonCode, _: Any
    ) -> None:
        self.heard_at = now()
        self._asked.pop(number, None)
        self.answers[number] = reason

    def _on_unsubscribe(self, _client: Any, _data: Any, number: int, _r: Any, _: Any) -> None:
        self.heard_at = now()
        self._asked.pop(number, None)

    def _on_subscribe(
        self, _client: Any, _data: Any, number: int, reasons: list[ReasonCode], _: Any
    ) -> None:
        self.heard_at = now()
        self._asked.pop(number, None)
        if any(reason.is_failure for reason in reasons):
            _log.warning(
                "the broker refuses to pass messages on (%s); check its access list",
                reasons[0].getName(),
            )

    def _on_message(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        # No sign of life: it may have lain in this machine's buffer since before the broker froze.
        suffix = self._topics.suffix(message.topic)
        self._taker(Incoming(suffix, bytes(message.payload), bool(message.retain), message.topic))


class _BoundedClient(paho.Client):
    """Paho reads whatever length is announced, up to 256 MB, into a buffer of that size."""

    overwhelmed = False

    def _sock_recv(self, bufsize: int) -> bytes:
        if bufsize > MOST_INCOMING_BYTES:
            self.overwhelmed = True
            raise ConnectionError("too large")
        return super()._sock_recv(bufsize)


def _send_at_once(_client: Any, _data: Any, line: Any) -> None:
    # Without it a decision waits for the confirmation of the packet before it, 40 ms at times.
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
