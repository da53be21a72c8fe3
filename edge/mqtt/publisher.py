"""Publishes decisions and status, one message at a time, so that no decision can arrive late.

- A decision leaves the outbox only over a connection that answered a moment ago: after a pause the
  broker is probed first, or a frozen one would read the decision whenever it wakes.
- The next one waits for the broker's confirmation of the one before. If its bytes have not reached
  the broker's machine when it expires, the connection is aborted, which throws them away.
- A broker that is late is waited for: hanging up would only make the device look offline. A dead
  connection is found by trying another, and the decision is offered again while it lives.
- With MQTT 5 the decision carries how long the broker may keep it for an absent receiver, and the
  broker reports when there was none: the decision is then offered again while it lives.

A broker that freezes right after it has answered publishes the decision when it wakes. Receivers
that open a door should compare its time and lifetime with their own clock.
"""

from __future__ import annotations

import collections
import contextlib
import logging
import math
import random
import re
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import edge
from edge.config import DeviceConfig, MqttConfig
from edge.mqtt.connection import read_password, repeated_disconnection, tls_context
from edge.mqtt.link import OLDER, SILENCE_S, Incoming, Link, LinkLost, ProtocolChoice, Waker
from edge.mqtt.outbox import Outbox, Outgoing, now
from edge.mqtt.retained import Retained, RetainedSync
from edge.mqtt.topics import OFFLINE, Topics
from edge.types import AccessDecision

_FRESH_S = 0.05
_NO_RECEIVER_WAIT_S = 0.25
_SILENT_WAIT_S = 10.0
"""Of a silent message: the broker counts messages, for everybody to see."""
_FIRST_WAIT_S = 0.5
_OFFLINE_S = 0.3
"""Time kept for the last message when closing."""
_STABLE_S = 5.0
"""Connections that last less than this count as failures."""
_MOST_BRIEF = 3
_SUFFIX = re.compile(r"[a-z0-9_]{1,32}(/[a-z0-9_]{1,32}){0,2}")
_RESERVED = ("status", "decision", "command", "set")
"""Topics that `publish` must not write to: the publisher's own, and those of commands."""
_NO_COMMANDS_S = 60.0
"""How long nothing is subscribed to after a message that is too large."""
_MOST_HELD = 64
"""Messages kept for the service that follows; it takes half as many commands at once."""
_LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")

_log = logging.getLogger(__name__)


class Delivery:
    """Sends the outbox over one connection; `confirmed` counts the decisions confirmed there."""

    def __init__(self, link: Link, outbox: Outbox, topics: Topics) -> None:
        self.confirmed = 0
        self._link = link
        self._outbox = outbox
        self._topics = topics
        self._in_flight: tuple[Outgoing, int] | None = None
        self._probed_at = -math.inf
        self._warned: set[str] = set()

    def step(self) -> float:
        """Do what is due; returns seconds until the next step. Raises `LinkLost`."""
        if self._in_flight is not None and not self._settled(*self._in_flight):
            remaining_s = self._in_flight[0].remaining_s
            return remaining_s if remaining_s > 0 else math.inf
        entry = self._outbox.head()
        if entry is None:
            return self._outbox.next_s()
        if not self._link_is_fresh():
            return entry.remaining_s
        lifetime = entry.remaining_s
        topic = self._topics.below(entry.suffix)
        if entry.unconfirmed:
            self._link.publish(topic, entry.payload, retain=False, lifetime_s=lifetime, qos=0)
            self._outbox.remove(entry)
            return 0.0
        number = self._link.publish(
            topic,
            entry.payload,
            retain=False,
            lifetime_s=lifetime,
            never_late=entry.is_decision,
        )
        self._in_flight = (entry, number)
        return lifetime

    def _link_is_fresh(self) -> bool:
        if now() - self._link.answered_at <= _FRESH_S:
            return True
        # Once more if it has answered, and this machine was suspended or too busy to see it soon.
        if self._link.answered_at >= self._probed_at:
            self._probed_at = now()
            self._link.probe()
        return False

    def _settled(self, entry: Outgoing, number: int) -> bool:
        answer = self._link.answers.pop(number, None)
        if answer is None:
            # What the broker's machine has already cannot be taken back by breaking the connection.
            if entry.is_decision and entry.remaining_s <= 0 and self._link.unsent:
                raise LinkLost("a decision did not get through in time")
            return False
        self._in_flight = None
        if answer.is_failure:
            why = f"the broker refused it ({answer.getName()}); check its access list"
            self._outbox.refuse(entry, why)
        elif answer.getName() == "No matching subscribers" and not entry.expendable:
            self._retry_later(entry)
        else:
            self.confirmed += self._outbox.remove(entry) and entry.is_decision
        return True

    def _retry_later(self, entry: Outgoing) -> None:
        topic = self._topics.below(entry.suffix)
        wait_s = _SILENT_WAIT_S if entry.silent else _NO_RECEIVER_WAIT_S
        self._outbox.hold(entry, wait_s, f"nobody subscribes to {topic}")
        if topic not in self._warned and not entry.silent:
            self._warned.add(topic)
            what = "decisions" if entry.is_decision else "its messages"
            _log.warning("nobody subscribes to %s; %s reach nobody", topic, what)


@dataclass(frozen=True)
class PublisherCounters:
    """Counts since the start; `dropped` ones were never confirmed, or (MQTT 5) nobody got them."""

    confirmed: int
    dropped: int
    waiting: int
    connections: int


class MqttPublisher:
    """Publishes decisions and the device's status; every method may be called from any thread.

    Only `close` waits for the network, for less than a second. Nothing is sent before `start`.

    Raises:
        ConfigError: the password file or a certificate file cannot be used.
    """

    def __init__(self, mqtt: MqttConfig, device: DeviceConfig) -> None:
        self.topics = Topics(mqtt.base_topic, device.id)
        self._mqtt = mqtt
        self._client_id = mqtt.client_id or f"edge-voice-{device.id}"
        self._password = read_password(mqtt.password_file) if mqtt.enabled else None
        self._tls = tls_context(mqtt.tls) if mqtt.enabled else None
        self._outbox = Outbox()
        self._waker = Waker()
        self._lock = threading.Lock()
        self._retained = Retained(self.topics, _about(device))
        self._shown: dict[str, str] | None = None
        self._receiving = threading.Lock()
        self._held: collections.deque[Incoming] | None = None
        self._sync: RetainedSync | None = None
        self._birth_topic: str | None = None
        self._filters: tuple[str, ...] = ()
        self._on_message: Callable[[Incoming], None] | None = None
        self._published: Counter[str] = Counter()
        self._no_commands_until = -math.inf
        self._connected = False
        self._confirmed = 0
        self._connections = 0
        self._logged: set[str] = set()
        self._brief = 0
        self._told_late = False
        self._stop_at: float | None = None
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)

    @property
    def connected(self) -> bool:
        """Whether there is a connection that the broker has accepted."""
        return self._connected

    @property
    def waiting(self) -> int:
        """How many messages are to be sent or confirmed yet, but for retained ones."""
        return len(self._outbox)

    @property
    def announced(self) -> bool:
        """Whether the broker has confirmed all retained messages as they are now."""
        sync = self._sync
        return self._connected and sync is not None and sync.complete

    @property
    def alive(self) -> bool:
        """Whether the thread is running, or was never started; false after `close`."""
        return self._thread.ident is None or self._thread.is_alive()

    @property
    def counters(self) -> PublisherCounters:
        """Counts since the start."""
        return PublisherCounters(
            self._confirmed, self._outbox.dropped, self._outbox.decisions, self._connections
        )

    @property
    def status(self) -> dict[str, Any]:
        """The fields given to `set_status` so far, also where MQTT is disabled."""
        return self._retained.status

    def start(self) -> None:
        """Connect, and reconnect when the connection breaks; nothing where MQTT is disabled.

        After `hold` it goes on instead, and hands over first what came in since.
        """
        if not self._mqtt.enabled:
            return
        if self._held is not None:
            with self._receiving:
                held, self._held = self._held, None
                for message in held:
                    self._handle(message)
            self._shown = None
            self._waker.wake()
            return
        bare = self._password is not None and self._tls is None
        if bare and self._mqtt.host not in _LOCAL_HOSTS:
            _log.warning(
                "the broker's password crosses the network unencrypted; "
                "set mqtt.tls.enabled to true"
            )
        self._thread.start()

    def publish_decision(self, decision: AccessDecision, age_s: float = 0.0) -> None:
        """Publish a decision that is `age_s` old; once its lifetime is over it is dropped.

        A receiver may get it twice, with the same id, if the connection breaks before confirmation.
        """
        if self._mqtt.enabled:
            self._outbox.put(decision, age_s)
            self._waker.wake()

    def publish(
        self,
        suffix: str,
        text: str,
        *,
        retain: bool = False,
        lifetime_s: float | None = None,
        expendable: bool = False,
        silent: bool = False,
        unconfirmed: bool = False,
    ) -> None:
        """Publish something other than a decision, on BASE/DEVICE/suffix.

        Args:
            retain: the broker keeps the latest text of a topic, which is sent on every new
                connection; an empty one removes it. Nothing that opens a door may be retained.
            lifetime_s: seconds after which a message that is not retained is dropped.
            expendable: losing it is no loss.
            silent: no log from level info on tells of it.
            unconfirmed: with QoS 0, and not at all while there is no connection.

        Raises:
            ValueError: a bad topic, `retain` with a lifetime or neither, or too many topics.
        """
        if not _SUFFIX.fullmatch(suffix) or suffix in _RESERVED or suffix.startswith("set/"):
            raise ValueError(f"cannot publish on {suffix!r}")
        if retain == (lifetime_s is not None):
            raise ValueError("a message is either retained or has a lifetime")
        text.encode("utf-8")
        if not self._mqtt.enabled or (unconfirmed and not self._connected):
            return
        if lifetime_s is None:
            self._retained.put(suffix, text)
        else:
            with self._lock:
                self._published[suffix] += 1
                name = f"{suffix} #{self._published[suffix]}"
            self._outbox.put_message(
                name,
                suffix,
                text,
                lifetime_s,
                expendable=expendable,
                silent=silent,
                unconfirmed=unconfirmed,
            )
        self._waker.wake()

    def announce(self, texts: Mapping[str, str], birth_topic: str | None = None) -> None:
        """Retain texts on topics outside BASE/DEVICE, in place of the ones before.

        Raises:
            ValueError: a bad topic, or too many.
        """
        self._retained.announce(texts)
        self._birth_topic = birth_topic
        if self._sync is not None:
            self._sync.complete = False
        self._waker.wake()

    def listen(self, suffixes: Sequence[str], on_message: Callable[[Incoming], None]) -> None:
        """Subscribe on every connection, from the next `start` on.

        `on_message` is called in the publisher's thread; what it raises is logged.
        """
        self._filters = tuple(self.topics.below(suffix) for suffix in suffixes)
        self._on_message = on_message

    def set_status(self, **fields: Any) -> None:
        """Change fields of the retained status; None removes one.

        Raises:
            TypeError: a value that JSON cannot hold.
            ValueError: NaN or infinity, or the field `state`.
        """
        self._retained.set_status(fields)
        self._waker.wake()

    def hold(self) -> None:
        """Keep the connection for a service that follows, and what comes in for its `start`.

        Until then receivers see what is retained now.
        """
        with self._receiving:
            self._held = collections.deque(maxlen=_MOST_HELD)
            self._on_message = None
        self._shown = self._retained.current(self._outbox.dropped)

    def take_held(self) -> list[Incoming]:
        """What has come in since `hold`, for a service with a connection of its own."""
        with self._receiving:
            held = list(self._held or ())
            self._held = None
        return held

    def fits(self, mqtt: MqttConfig, device: DeviceConfig) -> bool:
        """Whether these settings, and the password in its file, are those it connects with.

        Raises:
            ConfigError: the password file cannot be used.
        """
        return (
            self.alive
            and self._mqtt == mqtt
            and self.topics.device_id == device.id
            and self._password == (read_password(mqtt.password_file) if mqtt.enabled else None)
        )

    def renew(self, device: DeviceConfig) -> None:
        """Forget what is retained and announced, and read the certificates again.

        Raises:
            ConfigError: a certificate file cannot be used.
        """
        self._tls = tls_context(self._mqtt.tls) if self._mqtt.enabled else None
        self._retained = Retained(self.topics, _about(device))
        self._birth_topic = None

    def finish(self, timeout: float = 0.8) -> None:
        """Begin to close, without waiting."""
        if self._stop_at is None:
            self._stop_at = now() + timeout
        self._waker.wake()

    def close(self, timeout: float = 0.8) -> None:
        """Deliver what still waits, publish `offline`, and stop, within `timeout` seconds."""
        self.finish(timeout)
        if self._thread.is_alive():
            # A thread that hangs in connect() is left behind; it sends nothing when it wakes.
            self._thread.join(max(0.0, (self._stop_at or 0.0) - now()))
        if not self._thread.is_alive():
            self._waker.close()
        self._outbox.close()
        self._connected = False

    def _stopping(self) -> bool:
        return self._stop_at is not None

    def _run(self) -> None:
        wait = _FIRST_WAIT_S / 2
        protocol = ProtocolChoice(self._mqtt.protocol)
        while not self._stopping():
            link: Link | None = None
            connected_at: float | None = None
            try:
                link = Link(
                    self._mqtt,
                    self.topics,
                    client_id=self._client_id,
                    password=self._password,
                    tls=self._tls,
                    version=protocol.version,
                    on_message=self._receive,
                )
                link.open(self._waker, self._stopping, protocol.accept_timeout_s)
                connected_at = now()
                protocol.accepted()
                self._log_connected(link)
                self._serve(link)
            except Exception as error:  # noqa: BLE001 (a dead thread would never publish again)
                self._connected = False
                self._sync = None
                if link is not None:
                    with contextlib.suppress(Exception):  # it is given up, whatever its state
                        link.abort()
                if isinstance(error, LinkLost) and error.too_large:
                    # The broker may have kept it, to send it again on every subscription.
                    self._no_commands_until = now() + _NO_COMMANDS_S
                if isinstance(error, LinkLost) and protocol.failed(try_older=error.try_older):
                    continue
                stable = connected_at is not None and now() - connected_at >= _STABLE_S
                self._log_failure(error, connected_at is not None, stable)
                if stable:
                    wait = _FIRST_WAIT_S / 2
            wait = min(2 * wait, self._mqtt.reconnect_max_s)
            self._pause(wait * random.uniform(0.8, 1.2))  # noqa: S311

    def _receive(self, message: Incoming) -> None:
        if message.topic == self._birth_topic:
            if message.payload == b"online" and not message.retained and self._sync:
                self._sync.resend()
        elif message.suffix:
            with self._receiving:
                self._handle(message)

    def _handle(self, message: Incoming) -> None:
        if self._held is not None:
            self._held.append(message)
        elif self._on_message is not None:
            try:
                self._on_message(message)
            except Exception:  # noqa: BLE001
                # Whatever was sent must not be able to end the connection.
                _log.exception("a message on %s could not be handled", message.suffix)

    def _log_connected(self, link: Link) -> None:
        self._connected = True
        self._connections += 1
        older = link.version == OLDER
        note = " (MQTT 3.1.1: it cannot expire decisions kept for absent receivers)"
        level = logging.DEBUG if self._brief >= _MOST_BRIEF else logging.INFO
        _log.log(level, "connected to the broker at %s%s", self._place, note if older else "")

    def _serve(self, link: Link) -> None:
        delivery = Delivery(link, self._outbox, self.topics)
        sync = self._sync = RetainedSync(link, self._to_retain)
        before = self._confirmed
        subscribed: list[str] = []
        while not self._stopping():
            filters = [*self._filters, *([self._birth_topic] if self._birth_topic else [])]
            if filters != subscribed and filters and now() >= self._no_commands_until:
                link.subscribe(filters)
                subscribed = filters
            wait = sync.step()
            wait = min(wait, delivery.step())
            self._confirmed = before + delivery.confirmed
            link.pump(wait, self._waker)
            if link.slowest_s >= SILENCE_S and not self._told_late:
                self._told_late = True
                _log.warning(
                    "the broker at %s took %.1f s to answer: decisions arrive as late; check the"
                    " network (a wireless one that saves power?) and the broker's load",
                    self._place,
                    link.slowest_s,
                )
        self._finish(link, delivery, before)

    def _to_retain(self) -> Mapping[str, str]:
        shown = self._shown
        return self._retained.current(self._outbox.dropped) if shown is None else shown

    def _finish(self, link: Link, delivery: Delivery, before: int) -> None:
        stop_at = self._stop_at or now()
        while len(self._outbox) and now() < stop_at - _OFFLINE_S:
            wait = delivery.step()
            if len(self._outbox):
                link.pump(min(wait, stop_at - _OFFLINE_S - now()), self._waker)
        self._confirmed = before + delivery.confirmed
        number = link.publish(self.topics.status, OFFLINE, retain=True)
        give_up_at = stop_at - 0.1
        while number not in link.answers:
            if now() >= give_up_at:
                raise LinkLost("the broker did not confirm the last message")
            link.pump(give_up_at - now(), self._waker)
        link.close()
        _log.info("disconnected from the broker at %s", self._place)

    def _pause(self, seconds: float) -> None:
        started = now()
        while not self._stopping():
            waited = now() - started
            # A decision does not wait for the back-off, which may be longer than its life.
            longest = min(seconds, _FIRST_WAIT_S) if len(self._outbox) else seconds
            if waited >= longest:
                return
            self._waker.wait(longest - waited)

    def _log_failure(self, error: Exception, was_connected: bool, stable: bool) -> None:
        if self._stopping():
            return
        if stable:
            self._brief = 0
            self._logged.clear()
        elif was_connected:
            self._brief += 1
        failure = _description(error)
        if self._brief >= _MOST_BRIEF and isinstance(error, LinkLost) and error.hung_up:
            failure = repeated_disconnection(failure, self._client_id)
        level = logging.DEBUG if failure in self._logged else logging.WARNING
        self._logged.add(failure)
        if was_connected:
            _log.log(level, "lost the broker at %s: %s; reconnecting", self._place, failure)
        else:
            _log.log(level, "cannot use the broker at %s: %s", self._place, failure)

    @property
    def _place(self) -> str:
        return f"{self._mqtt.host}:{self._mqtt.broker_port}"


def _about(device: DeviceConfig) -> dict[str, str]:
    return {"device": device.id, "name": device.name, "version": edge.__version__}


def _description(error: Exception) -> str:
    if isinstance(error, LinkLost):
        return str(error)
    _log.debug("unexpected error of the connection", exc_info=error)
    text = " ".join(str(error).split())[:200]
    return f"unexpected {type(error).__name__}: {text} (log_level: debug shows where)"
