"""The running server: its parts, its socket, its clock, its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import ssl
import threading
from collections.abc import Iterator
from typing import Any

import uvicorn

from edge.config import Config
from edge.notify import Notifier
from edge.private_files import hold_alone
from edge.recognition import Engine
from edge.serve.application import build_application
from edge.store import open_store
from edge.store.api_keys import ApiKeys
from edge.store.audit import AUDIT_KEY, AuditTrail
from edge.store.device_state import DeviceState
from edge.web.attempts import Attempts
from edge.web.callers import Callers
from edge.web.certificate import ServerCertificate
from edge.web.connections import BoundedProtocol, ListeningSocket
from edge.web.context import WebContext
from edge.web.recognizer import Recognizer

LOCK = "serve.lock"
"""Held in the state directory while a server runs."""
_BUSY_S = 1.0
"""How long a request waits for another process that writes."""
_TICK_S = 1.0
_CERTIFICATE_S = 3600.0
_HANDSHAKE_S = 10.0
_KEEP_ALIVE_S = 5
_ALIVE_S = 10
_GRACE_S = 0.5
"""Time for answers that are being sent, when the server is to stop."""
_MOST_HEADER_BYTES = 16384

_log = logging.getLogger(__name__)


class HttpServer:
    """A server that is about to run; made, it holds the port and the state, but does not answer.

    Raises:
        EdgeVoiceError: the port, the certificate, the store or a model cannot be used.
    """

    def __init__(self, config: Config, *, tls: bool) -> None:
        self._config = config
        self._open = contextlib.ExitStack()
        self._wake = threading.Event()
        self._stopped = False
        with contextlib.ExitStack() as opened:
            # Each of two would count the wrong keys for itself.
            self._lock = hold_alone(config.state_path / LOCK, "edge-voice serve")
            opened.callback(os.close, self._lock)
            self._listener = opened.enter_context(
                ListeningSocket(config.http.address, config.http.port)
            )
            self.certificate = ServerCertificate(config.http, config.state_path) if tls else None
            self._context = self._parts(opened)
            self._open = opened.pop_all()
        self._server = _Server(self._settings(), self._ready)
        self._notifier = Notifier()

    @property
    def port(self) -> int:
        """The port that it serves at."""
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def has_keys(self) -> bool:
        """Whether there is anyone whom it would serve."""
        return bool(self._context.keys.list())

    def run(self) -> None:
        """Serve until stopped."""
        ticking = threading.Thread(target=self._tick, name="tick", daemon=True)
        ticking.start()
        try:
            self._server.run(sockets=[self._listener])
        finally:
            self._notifier.stopping()
            self._stopped = True
            self._wake.set()
            ticking.join(_TICK_S)

    def close(self) -> None:
        """Let go of what it holds; a second call does nothing."""
        self._open.close()

    def stop(self) -> None:
        """Have `run` return; may be called from a signal handler."""
        self._server.should_exit = True

    def _parts(self, opened: contextlib.ExitStack) -> WebContext:
        config, folder = self._config, self._config.state_path
        store = opened.enter_context(open_store(folder, busy_s=_BUSY_S, settings=config.store))
        state = DeviceState(folder, busy_s=_BUSY_S)
        opened.callback(state.close)
        trail = opened.enter_context(
            AuditTrail(
                folder,
                store.derive_key(AUDIT_KEY),
                state,
                config.audit,
                busy_s=_BUSY_S,
                on_urgent=self._wake.set,
            )
        )
        keys = ApiKeys(store)
        callers = Callers(keys, state, trail.record)
        attempts = Attempts(config.lockout, state, trail.record)
        opened.callback(attempts.close)
        recognizer = Recognizer(Engine.open(config))
        opened.callback(recognizer.close)
        return WebContext(config, store, state, trail, keys, callers, recognizer, attempts)

    def _settings(self) -> uvicorn.Config:
        certificate = self.certificate
        # Typed as whole seconds, and passed to asyncio as it is.
        more: dict[str, Any] = {"timeout_graceful_shutdown": _GRACE_S}
        if certificate is not None:
            more["ssl_context_factory"] = lambda *_: certificate.context
        return uvicorn.Config(
            build_application(self._context),
            http=BoundedProtocol,
            loop="asyncio",
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            h11_max_incomplete_event_size=_MOST_HEADER_BYTES,
            callback_notify=self._alive,
            timeout_notify=_ALIVE_S,
            **more,
        )

    def _ready(self) -> None:
        self._notifier.ready(f"serving at {self._config.http.address}, port {self.port}")

    async def _alive(self) -> None:
        self._notifier.watchdog()

    def _tick(self) -> None:
        since_s = 0.0
        context = self._context
        while not self._stopped:
            self._wake.wait(_TICK_S)
            self._wake.clear()
            context.attempts.tick()
            context.callers.tick()
            context.trail.work()
            since_s += _TICK_S
            if self.certificate is not None and since_s >= _CERTIFICATE_S:
                since_s = 0.0
                self.certificate.refresh()


class _Server(uvicorn.Server):
    """uvicorn's, with a limit of time for the TLS handshake, and without its exit by a signal."""

    def __init__(self, config: uvicorn.Config, ready: Any) -> None:
        super().__init__(config)
        self._ready = ready

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the command."""
        yield

    async def startup(self, sockets: Any = None) -> None:
        """Begin to serve."""
        (listener,) = sockets
        context: ssl.SSLContext | None = self.config.ssl
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: BoundedProtocol(self.config, self.server_state, {}),
            sock=listener,
            ssl=context,
            ssl_handshake_timeout=None if context is None else _HANDSHAKE_S,
        )
        self.servers = [server]
        self.started = True
        self._ready()
