"""The running server: its parts, its sockets, its end."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ipaddress
import logging
import os
import socket
from collections import Counter
from collections.abc import Mapping
from typing import Any

from edge.assistants.announcing import Announcement
from edge.assistants.assistant import Assistant
from edge.assistants.enrolling import LOCK, AssistantEnrollment
from edge.assistants.events import MOST_HEADER_BYTES, BadEvent, Wire
from edge.assistants.listening import EnrolledPeople
from edge.assistants.publishing import AssistantMessages, of_assistant
from edge.assistants.relay import Relay
from edge.config import Config
from edge.errors import ConfigError, EdgeVoiceError, EnvironmentFault, ProfileError, StoreError
from edge.mqtt import MqttPublisher
from edge.notify import Notifier
from edge.private_files import hold_alone
from edge.recognition import Engine
from edge.store import ProfileStore, open_store
from edge.store.audit import AUDIT_KEY, AuditTrail
from edge.store.device_state import DeviceState
from edge.web.addresses import network_of
from edge.web.recognizer import Recognizer
from edge.web.refusal import Refused

MOST = 64
"""Connections in all."""
MOST_OF_ONE = 32
"""Connections of one address: each utterance takes one."""
_BUSY_S = 1.0
"""How long to wait for another process that writes."""
_ALIVE_S = 10.0
_TICK_S = 0.5

_log = logging.getLogger(__name__)


class WyomingServer:
    """A server that is about to run; made, it holds the ports and the state, but does not answer.

    Raises:
        EdgeVoiceError: there is no assistant, or a port, the store or a model cannot be used.
    """

    def __init__(self, config: Config) -> None:
        settings = config.wyoming
        if not settings.assistants:
            raise ConfigError(
                "there is no assistant: add one to wyoming.assistants in the configuration, such as"
                " 'kitchen:' with its port and its speech_to_text"
            )
        self._config = config
        self._notifier = Notifier()
        self._counts: Counter[str] = Counter()
        self._connections: set[asyncio.Task[Any]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped = asyncio.Event()
        self._stop_requested = False
        self._publishers: list[MqttPublisher] = []
        self._enrollments: list[AssistantEnrollment] = []
        with contextlib.ExitStack() as opened:
            opened.callback(os.close, hold_alone(config.state_path / LOCK, "edge-voice wyoming"))
            self._sockets = {
                name: opened.enter_context(_listener(settings.address, assistant.port, name))
                for name, assistant in settings.assistants.items()
            }
            store = open_store(config.state_path, busy_s=_BUSY_S, settings=config.store)
            opened.enter_context(store)
            state = DeviceState(config.state_path, busy_s=_BUSY_S)
            opened.callback(state.close)
            self._trail = opened.enter_context(
                AuditTrail(
                    config.state_path,
                    store.derive_key(AUDIT_KEY),
                    state,
                    config.audit,
                    busy_s=_BUSY_S,
                )
            )
            self._recognizer = Recognizer(Engine.open(config))
            opened.callback(self._recognizer.close)
            people = EnrolledPeople(store)
            self._assistants: dict[str, Assistant] = {}
            for name, assistant in settings.assistants.items():
                own = of_assistant(config, name, assistant.name or name)
                messages = AssistantMessages(own)
                opened.callback(messages.publisher.close)
                enrollment = AssistantEnrollment(
                    own, store, state, messages.publisher, self._trail.record
                )
                self._assistants[name] = Assistant(
                    own, assistant, self._recognizer, people, messages, enrollment
                )
                self._publishers.append(messages.publisher)
                self._enrollments.append(enrollment)
            _check_people(store, config)
            self._open = opened.pop_all()

    @property
    def ports(self) -> Mapping[str, int]:
        """The port of each assistant, by its id."""
        return {name: listener.getsockname()[1] for name, listener in self._sockets.items()}

    def run(self) -> None:
        """Serve until stopped."""
        try:
            asyncio.run(self._run())
        finally:
            self._notifier.stopping()

    def stop(self) -> None:
        """Have `run` return; may be called from a signal handler."""
        self._stop_requested = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stopped.set)

    def close(self) -> None:
        """Let go of what it holds; a second call does nothing."""
        self._open.close()

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        settings = self._config.wyoming
        servers = [
            await asyncio.start_server(
                functools.partial(self._serve, self._assistants[name]),
                sock=listener,
                limit=MOST_HEADER_BYTES,
            )
            for name, listener in self._sockets.items()
        ]
        announcement = None
        if settings.announce and not settings.stays_here:
            device = self._config.device.id
            announcement = Announcement(
                settings.address,
                {f"{device}-{name}"[:63]: port for name, port in self.ports.items()},
            )
        announcing = asyncio.create_task(announcement.open()) if announcement else None
        for publisher in self._publishers:
            publisher.start()
        self._notifier.ready(f"serving {len(servers)} assistants at {settings.address}")
        alive_s = 0.0
        while not (self._stop_requested or self._stopped.is_set()):
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._stopped.wait(), _TICK_S)
            await self._tick()
            alive_s += _TICK_S
            if alive_s >= _ALIVE_S:
                self._notifier.watchdog()
                alive_s = 0.0
        for server in servers:
            server.close()
        for connection in list(self._connections):
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        with contextlib.suppress(EdgeVoiceError, Refused):
            await self._recognizer.run("stop", lambda _: self._stop_enrolling())
        if announcement is not None and announcing is not None:
            await announcing
            await announcement.close()

    async def _tick(self) -> None:
        try:
            await self._recognizer.run("tick", lambda _: self._look_after_enrollments())
        except Refused as error:
            _log.debug("nothing is looked after at present: %s", error)

    def _look_after_enrollments(self) -> None:
        """In the recognizer's thread."""
        try:
            for enrollment in self._enrollments:
                enrollment.tick()
            self._trail.work()
        except StoreError as error:
            _log.debug("enrollments are not looked after at present: %s", error)

    def _stop_enrolling(self) -> None:
        for enrollment in self._enrollments:
            enrollment.close()

    async def _serve(
        self, assistant: Assistant, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """One connection of an assistant."""
        wire = Wire(reader, writer)
        peer = network_of(str((writer.get_extra_info("peername") or ("",))[0]))
        if self._counts.total() >= MOST or self._counts[peer] >= MOST_OF_ONE:
            _log.info("%s: hung up on %s: too many connections", assistant.name, peer)
            wire.close()
            return
        self._counts[peer] += 1
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 (for mypy)
        self._connections.add(task)
        try:
            await Relay(assistant, wire).run()
        except BadEvent as error:
            _log.info("%s: hung up on %s: %s", assistant.name, peer, error)
        except (TimeoutError, OSError) as error:
            _log.debug("%s: %s has gone: %s", assistant.name, peer, error)
        except Exception:  # noqa: BLE001 (the others go on)
            _log.exception("%s: a connection failed", assistant.name)
        finally:
            wire.close()
            self._connections.discard(task)
            self._counts[peer] -= 1
            if not self._counts[peer]:
                del self._counts[peer]


def _check_people(store: ProfileStore, config: Config) -> None:
    for name, assistant in config.wyoming.assistants.items():
        for person in assistant.names:
            try:
                store.find(person)
            except ProfileError as error:  # noqa: PERF203 (each is told of)
                _log.warning("wyoming.assistants.%s.people: %s", name, error)


def _listener(address: str, port: int, name: str) -> socket.socket:
    version = ipaddress.ip_address(address).version
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if version == 6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind((address, port))
        listener.listen()
    except OSError as error:
        listener.close()
        what = (error.strerror or str(error)).lower()
        raise EnvironmentFault(
            f"cannot serve at {address}, port {port} ({what}): set another wyoming.address or"
            f" wyoming.assistants.{name}.port"
        ) from None
    return listener
