"""What every request may use."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import HTTPConnection

from edge.config import Config
from edge.store import ProfileStore
from edge.store.api_keys import ApiKeys
from edge.store.audit import AuditTrail
from edge.store.device_state import DeviceState
from edge.web.attempts import Attempts
from edge.web.callers import Callers
from edge.web.recognizer import Recognizer


@dataclass(frozen=True)
class WebContext:
    """The parts of a running server; `request.app.state.context` holds it."""

    config: Config
    store: ProfileStore
    state: DeviceState
    trail: AuditTrail
    keys: ApiKeys
    callers: Callers
    recognizer: Recognizer
    attempts: Attempts


def context_of(request: HTTPConnection) -> WebContext:
    """The context of the server that a request came to."""
    context: WebContext = request.app.state.context
    return context
