"""The page: pages for a browser, to enroll, look and manage."""

from __future__ import annotations

from starlette.routing import BaseRoute


def routes() -> list[BaseRoute]:
    """What it serves."""
    return []
