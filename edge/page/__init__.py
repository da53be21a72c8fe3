"""The page: pages for a browser, to enroll, look and manage."""

from __future__ import annotations

from pathlib import Path

from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles

from edge.page import api_keys, checks, door, enrolling, history, people, sign_in
from edge.page.visits import Pages

_STATIC = Path(__file__).parent / "static"
_PARTS = (sign_in, people, enrolling, history, door, checks, api_keys)


def routes() -> list[BaseRoute]:
    """What it serves."""
    pages = Pages()
    return [
        *(route for part in _PARTS for route in part.routes(pages)),
        Mount("/static", StaticFiles(directory=_STATIC)),
    ]
