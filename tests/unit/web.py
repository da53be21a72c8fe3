"""An HTTP server's parts for tests, on a store of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from edge.config import Config
from edge.serve.application import build_application
from edge.store import open_store
from edge.store.api_keys import ApiKeys, ApiRole
from edge.store.audit import AUDIT_KEY, AuditTrail
from edge.store.device_state import DeviceState
from edge.web.attempts import Attempts
from edge.web.callers import HEADER, Callers
from edge.web.context import WebContext
from edge.web.recognizer import Recognizer


def make_context(folder: Path, engine: Any, config: Config | None = None) -> WebContext:
    """The parts; `engine` may be anything that a test's own works take."""
    config = config or Config(state_directory=folder)
    store = open_store(folder)
    state = DeviceState(folder)
    trail = AuditTrail(folder, store.derive_key(AUDIT_KEY), state, config.audit)
    keys = ApiKeys(store)
    return WebContext(
        config,
        store,
        state,
        trail,
        keys,
        Callers(keys, state, trail.record),
        Recognizer(engine),
        Attempts(config.lockout, state, trail.record),
    )


def close_context(context: WebContext) -> None:
    """Close what `make_context` opened."""
    context.recognizer.close()
    context.trail.close()
    context.state.close()
    context.store.close()


def client_of(context: WebContext) -> TestClient:
    """A client of the server that a context makes, over TLS as far as the server can tell."""
    return TestClient(build_application(context), base_url="https://localhost")


def key_header(context: WebContext, role: ApiRole = ApiRole.MANAGE) -> dict[str, str]:
    """The header with a new key."""
    return {HEADER: context.keys.new(f"{role.value} key", role)}
