"""A request to the page: who is signed in, what was sent, and what is answered.

Every change is a POST that must come from a page of this server (Sec-Fetch-Site, or Origin where a
browser does not send that), with the token of its session.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from python_multipart.multipart import parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import Message

from edge.enrollment.process import DURESS
from edge.errors import EdgeVoiceError, InputError, ProfileError
from edge.page import words
from edge.page.sessions import BrowserSession, Sessions
from edge.store.names import name_key
from edge.types import Detail, Event, EventKind, Profile
from edge.web.bodies import MOST_AUDIO_BYTES, read_body
from edge.web.context import WebContext, context_of
from edge.web.refusal import Refused

SIGN_IN = "/sign-in"
_MOST_FORM_BYTES = 64 << 10
_MOST_FIELDS = 64
_TEMPLATES = Path(__file__).parent / "templates"
_COOKIE = "edge-voice"
_REFRESH = "page-refresh"
"""The header of a request that a page makes by itself; it does not keep the session."""

_log = logging.getLogger(__name__)


class _InMemory(MultiPartParser):
    """A form that is never on a disk, from which a voice could be read after its end."""

    spool_max_size = MOST_AUDIO_BYTES + 1


class Forged(Exception):
    """A change that did not come from a page of this server, or from an earlier session."""


@dataclass(frozen=True)
class Visit:
    """A request of somebody who is signed in.

    Attributes:
        form: what was sent with a change; empty for a page.
    """

    request: Request
    context: WebContext
    pages: Pages
    session: BrowserSession
    form: FormData

    def field(self, name: str) -> str:
        """A text in the form or, for a page, in its address; empty where there is none."""
        value = self.form.get(name, self.request.query_params.get(name, ""))
        return value.strip() if isinstance(value, str) else ""

    def person(self) -> Profile:
        """The person that the path names by id.

        Raises:
            ProfileError: there is none; a duress phrase's own profile is nobody.
        """
        profile_id = self.request.path_params["person"]
        # Not the store's own error: it names the nearest names, also that of a duress phrase.
        with contextlib.suppress(ProfileError):
            profile = self.context.store.get(profile_id)
            if profile.duress_of is None and profile.id == profile_id:
                return profile
        raise ProfileError("nobody has this address: it may be of somebody who was deleted")

    def people(self) -> list[Profile]:
        """Everybody, without the profiles of duress phrases."""
        return [each for each in self.context.store.list() if each.duress_of is None]

    def record(self, kind: EventKind, profile_id: str | None = None, **detail: Detail) -> None:
        """Put a change into the audit trail, under the key that was signed in with."""
        told: dict[str, Detail] = {"by": "page", "key": self.session.key.id, **detail}
        self.context.trail.record(Event(kind, told, profile_id))
        self.context.trail.work()

    def show(self, template: str, title: str, *, status: int = 200, **values: Any) -> Response:
        """A page."""
        notice, self.session.notice = self.session.notice, ""
        values = {
            "title": title,
            "notice": notice,
            "forgery_token": self.session.forgery_token,
            "key_name": self.session.key.name,
            "device": self.context.config.device.name,
            "here": self.request.url.path,
            **values,
        }
        return self.pages.html(template, values, status)

    def go(self, path: str, notice: str = "") -> Response:
        """Answer a change: on to a page, which says what was done."""
        self.session.notice = notice
        return RedirectResponse(path, 303)


View = Callable[[Visit], Response | Awaitable[Response]]


class Pages:
    """What all requests to the page share: sessions and templates."""

    def __init__(self) -> None:
        self.sessions = Sessions()
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_TEMPLATES),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters.update(
            day=words.day, moment=words.moment, ago=words.ago, figure=words.figure
        )

    def html(self, template: str, values: Mapping[str, Any], status: int = 200) -> HTMLResponse:
        """A page; whatever is put into it is escaped."""
        content = self._templates.get_template(template).render(values)
        # Without a referrer some browsers would not say that a form is of this server.
        return HTMLResponse(content, status, {"referrer-policy": "same-origin"})

    def page(self, path: str, view: View) -> Route:
        """A page for who is signed in; a long one runs in a thread of its own."""

        async def endpoint(request: Request) -> Response:
            context = context_of(request)
            touch = _REFRESH not in request.headers
            session = await run_in_threadpool(self.session_of, request, touch=touch)
            if session is None:
                return RedirectResponse(SIGN_IN, 303)
            return await self._answer(view, Visit(request, context, self, session, FormData()))

        return Route(path, endpoint, methods=["GET"])

    def action(self, path: str, view: View, *, recording: bool = False) -> Route:
        """A change by who is signed in; with a `recording` its form may be large."""

        async def endpoint(request: Request) -> Response:
            context = context_of(request)
            session = await run_in_threadpool(self.session_of, request)
            if session is None:
                return self.refusal(request, 403, "You are signed out. Sign in and try again.")
            try:
                require_own(request)
                most = MOST_AUDIO_BYTES if recording else _MOST_FORM_BYTES
                form = await read_form(request, most)
                require_token(session, form)
            except Forged:
                _log.warning("a change that came from elsewhere was refused")
                return self.refusal(
                    request,
                    403,
                    "Refused: this did not come from a page of this device, or from one that was"
                    " opened before you last signed in. Go back, reload the page, and try again.",
                )
            except Refused as refused:
                return self.refusal(request, refused.status, refused.message, refused.retry_after_s)
            return await self._answer(view, Visit(request, context, self, session, form))

        return Route(path, endpoint, methods=["POST"])

    def session_of(self, request: Request, *, touch: bool = True) -> BrowserSession | None:
        """The session of a request, None where nobody is signed in."""
        cookie = request.cookies.get(cookie_name(request), "")
        return self.sessions.find(cookie, context_of(request).keys, touch=touch) if cookie else None

    def refusal(
        self, request: Request, status: int, message: str, retry_after_s: float | None = None
    ) -> Response:
        """A page that says what is wrong."""
        values = {"message": message, "device": context_of(request).config.device.name}
        headers = {} if retry_after_s is None else {"retry-after": f"{retry_after_s:.0f}"}
        answer = self.html("refusal.html", values, status)
        answer.headers.update(headers)
        return answer

    async def _answer(self, view: View, visit: Visit) -> Response:
        try:
            answer = await run_in_threadpool(view, visit)
            return answer if isinstance(answer, Response) else await answer
        except ProfileError as error:
            return self.refusal(visit.request, 404, words.sentence(str(error)))
        except InputError as error:
            return self.refusal(visit.request, 400, words.sentence(str(error)))
        except EdgeVoiceError as error:
            _log.warning("%s", error)
            return self.refusal(visit.request, 503, words.sentence(str(error)))
        except Refused as refused:
            return self.refusal(
                visit.request,
                refused.status,
                words.sentence(refused.message),
                refused.retry_after_s,
            )


def cookie_name(request: Request) -> str:
    """With TLS a name that no other host or path can set a cookie for."""
    return f"__Host-{_COOKIE}" if request.url.scheme == "https" else _COOKIE


def require_own(request: Request) -> None:
    """Raise `Forged` for a request that no page of this server made."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        if site != "same-origin":
            raise Forged
        return
    own = f"{request.url.scheme}://{request.headers.get('host', '')}"
    if request.headers.get("origin") != own:
        raise Forged


def require_token(session: BrowserSession, form: FormData) -> None:
    """Raise `Forged` for a form without the token of its session."""
    token = form.get("token")
    if not isinstance(token, str) or not session.knows(token):
        raise Forged


async def read_form(request: Request, most_bytes: int = _MOST_FORM_BYTES) -> FormData:
    """A form, with one file at most. Raises `Refused`."""
    body = await read_body(request, most_bytes)

    async def received() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    sent = Request(request.scope, received)
    kind, _ = parse_options_header(request.headers.get("content-type", ""))
    most = {"max_files": 1, "max_fields": _MOST_FIELDS, "max_part_size": _MOST_FORM_BYTES}
    try:
        if kind == b"multipart/form-data":
            return await _InMemory(sent.headers, sent.stream(), **most).parse()
        return await sent.form(**most)
    except (MultiPartException, ValueError, KeyError, UnicodeError):
        raise Refused(400, "BadRequest", "the form cannot be read") from None


def refuse_duress(name: str) -> None:
    """Refuse the name of a duress phrase, whether it exists or not, as that would reveal it."""
    if name_key(name).endswith(DURESS):
        raise ProfileError(f"a name cannot end in {DURESS}")
