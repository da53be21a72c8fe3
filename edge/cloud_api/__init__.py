"""The interface of the cloud service that this software replaces, in each of its versions."""

from __future__ import annotations

from starlette.routing import BaseRoute


def routes() -> list[BaseRoute]:
    """What it serves."""
    return []
