"""The interface of the cloud service that this software replaces, in each of its versions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from edge.cloud_api.calls import json_response
from edge.cloud_api.openapi import SERVED, Served


def routes() -> list[BaseRoute]:
    """What it serves: each version, and what describes it."""
    documents = [Route(served.path, _document(served)) for served in SERVED]
    return [*documents, *(served.route for served in SERVED)]


def _document(served: Served) -> Callable[[Request], Awaitable[Response]]:
    async def answer(_: Request) -> Response:
        return json_response(served.document())

    return answer
