"""The interface of the cloud service that this software replaces, in each of its versions."""

from __future__ import annotations

from starlette.routing import BaseRoute

from edge.cloud_api import v1, v2


def routes() -> list[BaseRoute]:
    """What it serves."""
    return [v1.ROUTE, v2.ROUTE_2, v2.ROUTE_2021]
