"""Signing in and out."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from edge.page import words
from edge.page.visits import (
    SIGN_IN,
    Forged,
    Pages,
    Visit,
    cookie_name,
    read_form,
    require_own,
)
from edge.store.api_keys import ApiKey, ApiRole
from edge.types import Event, EventKind
from edge.web.context import context_of
from edge.web.refusal import Refused

FIRST = "/people"
"""Where somebody who signs in arrives."""


def routes(pages: Pages) -> list[BaseRoute]:
    """What this part serves."""

    async def start(_: Request) -> Response:
        return RedirectResponse(FIRST, 303)

    async def form(request: Request) -> Response:
        if await run_in_threadpool(pages.session_of, request) is not None:
            return RedirectResponse(FIRST, 303)
        return _form(pages, request)

    async def sign_in(request: Request) -> Response:
        try:
            require_own(request)
            text = (await read_form(request)).get("key", "")
            key = await run_in_threadpool(_key, request, text if isinstance(text, str) else "")
        except Forged:
            return _form(pages, request, 403, "Refused: this came from another page. Try again.")
        except Refused as refused:
            return _form(pages, request, refused.status, words.sentence(refused.message))
        # Whoever put a cookie into this browser before does not share the session.
        pages.sessions.end(request.cookies.get(cookie_name(request), ""))
        answer = RedirectResponse(FIRST, 303)
        answer.set_cookie(
            cookie_name(request),
            pages.sessions.begin(key),
            path="/",
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )
        return answer

    return [
        Route("/", start, methods=["GET"]),
        Route(SIGN_IN, form, methods=["GET"]),
        Route(SIGN_IN, sign_in, methods=["POST"]),
        pages.action("/sign-out", _sign_out),
    ]


def _key(request: Request, text: str) -> ApiKey:
    context = context_of(request)
    try:
        key = context.callers.check_text(request, text, ApiRole.MANAGE)
    except Refused as refused:
        if refused.status == 403:
            raise Refused(
                403, refused.code, "this key may not manage the device: use one of the role manage"
            ) from None
        if refused.status == 401:
            raise Refused(
                401,
                refused.code,
                "this is no key of this device: type all 32 characters of it",
                refused.retry_after_s,
            ) from None
        raise
    context.trail.record(Event(EventKind.COMMAND, {"by": "page", "key": key.id, "what": "sign in"}))
    context.trail.work()
    return key


def _sign_out(visit: Visit) -> Response:
    name = cookie_name(visit.request)
    visit.pages.sessions.end(visit.request.cookies.get(name, ""))
    answer = RedirectResponse(SIGN_IN, 303)
    answer.delete_cookie(
        name, path="/", secure=visit.request.url.scheme == "https", httponly=True, samesite="strict"
    )
    return answer


def _form(pages: Pages, request: Request, status: int = 200, error: str = "") -> Response:
    device = context_of(request).config.device.name
    return pages.html("sign_in.html", {"device": device, "error": error}, status)
