"""The door just now: its state, the level at its microphone, the lock-out; and the live stream."""

from __future__ import annotations

from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from edge.access.lockout import as_shown, lockout_keys, request_lift, stored_record
from edge.errors import StoreError
from edge.monitor.client import NoService, candidates
from edge.page import words
from edge.page.live import Feed, events, look
from edge.page.visits import Pages, Visit
from edge.types import EventKind
from edge.web.callers import LIFT_KEY as CALLERS_LIFT_KEY
from edge.web.context import context_of

_STATES = {
    "starting": ("wait", "starting"),
    "listening": ("good", "listening"),
    "off": ("off", "not listening: switched off"),
    "locked_out": ("bad", "locked out"),
    "asking": ("wait", "asking for digits"),
    "enrolling": ("wait", "somebody is being enrolled; nobody can open"),
    "no_microphone": ("bad", "without a microphone"),
}
_NOT_RUNNING = ("bad", "not running")


def routes(pages: Pages) -> list[BaseRoute]:
    """What this part serves."""
    feeds: list[Feed] = []

    async def follow(request: Request) -> Response:
        if await run_in_threadpool(pages.session_of, request, touch=False) is None:
            return PlainTextResponse("signed out", 403)
        if not feeds:
            feeds.append(Feed(candidates(context_of(request).config)))
        if feeds[0].full:
            return PlainTextResponse("too many browsers follow already", 503)

        def signed_in() -> bool:
            try:
                return pages.session_of(request, touch=False) is not None
            except StoreError:
                return False

        return StreamingResponse(events(feeds[0], signed_in), media_type="text/event-stream")

    return [
        pages.page("/door", _show),
        pages.action("/door/lift", _lift),
        Route("/events", follow, methods=["GET"]),
    ]


def state_of(visit: Visit) -> tuple[tuple[str, str], dict[str, Any]]:
    """What the door does, as a style and words, and the service's message about it."""
    try:
        told = look(visit.context.config)
    except NoService as error:
        return _NOT_RUNNING, {"detail": str(error)}
    message = next((each for each in reversed(told) if each["type"] == "state"), {})
    return _STATES.get(str(message.get("state")), _STATES["starting"]), message


def _show(visit: Visit) -> Response:
    context = visit.context
    settings = context.config.lockout
    problem, lockout = "", {}
    try:
        lockout = as_shown(stored_record(context.state), settings)
    except StoreError as error:
        problem = words.sentence(str(error))
    state, message = state_of(visit)
    return visit.show(
        "door.html",
        "Door",
        state_now=state,
        detail=words.sentence(str(message.get("detail") or message.get("problem") or "")),
        settings=settings,
        lockout=lockout,
        problem=problem,
        left=words.duration(float(lockout.get("left_s", 0.0))),
        http_left_s=context.attempts.lockout.left_s,
        http_left=words.duration(context.attempts.lockout.left_s),
    )


def _lift(visit: Visit) -> Response:
    """End the lock-outs of all doors and of this server, as `edge-voice lockout lift` does."""
    for key in lockout_keys(visit.context.config):
        request_lift(visit.context.state, "page", key)
    visit.context.attempts.lockout.lift("page")
    visit.context.state.put(CALLERS_LIFT_KEY, "page")
    visit.record(EventKind.COMMAND, what="lift_lockout")
    return visit.go("/door", "The lock-out is over, and earlier rejections are forgotten.")
