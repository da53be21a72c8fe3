"""Calls of a version of the API: a table of them, and the route that serves the table.

The same tables make the OpenAPI documents (`edge.cloud_api.openapi`).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar
from urllib.parse import parse_qs, parse_qsl

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, NoMatchFound
from starlette.types import Receive, Scope, Send

from edge.cloud_api.faults import Fault, of_refusal
from edge.recognition import Engine
from edge.store.api_keys import ApiKey, ApiRole
from edge.types import Detail, Event, EventKind
from edge.web.bodies import MOST_JSON_BYTES, read_audio, read_body
from edge.web.callers import waiting_as
from edge.web.context import WebContext, context_of
from edge.web.guard import fault as unexpected
from edge.web.refusal import Refused

T = TypeVar("T")

LOCALE = r"^[A-Za-z]{2,8}([-_][A-Za-z0-9]{1,8}){0,8}$"
LONGEST_LOCALE = 35
"""The longest language tag that anybody needs, RFC 5646 section 4.4.1."""
_LOOSE_LOCALE = re.compile(r"""["']?locale["']?\s*:\s*(["'])(.*?)\1""", re.IGNORECASE)
_GUID = re.compile(r"([0-9a-f]{8})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{12})")
_FORMS = ("", "application/json", "application/x-www-form-urlencoded", "application/octet-stream")


@dataclass(frozen=True)
class Parameter:
    """A parameter of the query, with its JSON Schema."""

    name: str
    schema: Mapping[str, Any]
    text: str
    required: bool = False


@dataclass(frozen=True)
class Call:
    """One call.

    Attributes:
        path: below the version's, with the names of its parts that vary in braces.
        answers: what succeeds: the status, and the name of the answer's schema; "" for no body.
        body: "audio", "locale", or "" for none.
    """

    method: str
    path: str
    name: str
    text: str
    role: ApiRole
    handle: Callable[[Asked], Awaitable[Response]] = field(repr=False)
    answers: tuple[int, str] = (200, "")
    query: tuple[Parameter, ...] = ()
    body: str = ""

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """What a path of it looks like."""
        parts = re.split(r"\{(\w+)\}", self.path)
        for index in range(1, len(parts), 2):
            parts[index] = f"(?P<{parts[index]}>[^/:]+)"
        parts[::2] = [re.escape(part) for part in parts[::2]]
        return re.compile("".join(parts), re.IGNORECASE)


class Asked:
    """A request that a key may make."""

    def __init__(self, request: Request, key: ApiKey, parts: Mapping[str, str]) -> None:
        self.request = request
        self.key = key
        self.context: WebContext = context_of(request)
        self._parts = parts
        query = request.scope.get("query_string", b"").decode("latin-1")
        self.query: dict[str, str] = {}
        for name, value in parse_qsl(query, keep_blank_values=True):
            self.query.setdefault(name.lower(), value)

    @property
    def media_type(self) -> str:
        """What the client says that it sends."""
        return str(self.request.headers.get("content-type", ""))

    def part(self, name: str) -> str:
        """A part of the path."""
        return self._parts[name]

    def id(self, name: str) -> str:
        """A part of the path that is a GUID, in its usual form. Raises `Fault`."""
        return guid(self._parts[name])

    def flag(self, name: str) -> bool:
        """A parameter that is true or false, false where it is missing. Raises `Fault`."""
        text = self.query.get(name.lower(), "").strip().lower()
        if text not in ("", "true", "false", "1", "0"):
            raise Fault(
                400, "bad_parameter", f"Invalid {name}", "it is true or false", argument=True
            )
        return text in ("true", "1")

    def ids(self, name: str, most: int) -> list[str]:
        """A parameter that lists GUIDs, each once. Raises `Fault`."""
        words = [word for word in self.query.get(name.lower(), "").split(",") if word.strip()]
        found = list(dict.fromkeys(guid(word.strip()) for word in words))
        if not 1 <= len(found) <= most:
            raise Fault(
                400,
                "bad_parameter",
                f"Invalid {name}",
                f"{len(found)} profiles are given: give 1 to {most}, with commas between them",
                argument=True,
            )
        return found

    async def audio(self) -> bytes:
        """The recording in the body."""
        return await read_audio(self.request)

    async def locale(self) -> str:
        """The locale that the body names. Raises `Fault`."""
        data = await read_body(self.request, MOST_JSON_BYTES)
        return require_locale(_locale_in(data, self.media_type))

    async def run(self, work: Callable[[Engine], T]) -> T:
        """What a work gives, once it was this caller's turn at the recognizer."""
        return await self.context.recognizer.run(waiting_as(self.request, self.key), work)

    def record(self, kind: EventKind, profile_id: str | None, **detail: Detail) -> None:
        """Put what was done into the audit trail, under the key's id."""
        event = Event(kind, {**detail, "by": "http", "key": self.key.id}, profile_id)
        self.context.trail.record(event)

    def link(self, path: str) -> str:
        """An address of this server, as the client reached it."""
        url = self.request.url
        return f"{url.scheme}://{url.netloc}{path}"


class Version(BaseRoute):
    """The route of one version.

    Trailing and doubled slashes make no difference, nor does the case of letters: clients put
    addresses together in many ways. Whatever goes wrong is answered in the version's own JSON.

    Args:
        prefix: where its paths begin.
        calls: those it has.
        spell: a fault as the version's error, with headers of its own.
        before: looks at every request that a key may make; raises `Fault`.
    """

    def __init__(
        self,
        prefix: str,
        calls: Sequence[Call],
        spell: Callable[[Fault], tuple[dict[str, Any], dict[str, str]]],
        before: Callable[[Asked], None] = lambda _: None,
    ) -> None:
        self.prefix = prefix
        self.calls = tuple(calls)
        self._spell = spell
        self._before = before

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether a request is for this version."""
        if scope["type"] != "http":
            return Match.NONE, {}
        inside = f"{_plain(scope['path'])}/".lower().startswith(f"{self.prefix}/")
        return (Match.FULL if inside else Match.NONE), {}

    def url_path_for(self, name: str, /, **path_params: Any) -> Any:
        """Nothing here has a name."""
        raise NoMatchFound(name, path_params)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        try:
            response = await self._answer(Request(scope, receive))
        except ClientDisconnect:
            raise
        except Fault as fault:
            response = self._refuse(fault)
        except Refused as refused:
            response = self._refuse(of_refusal(refused))
        except Exception as error:  # noqa: BLE001 (a client expects JSON)
            response = self._refuse(of_refusal(unexpected(error)))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        call, parts = self._find(request)
        callers = context_of(request).callers
        key = await run_in_threadpool(callers.check, request, call.role)
        asked = Asked(request, key, parts)
        self._before(asked)
        return await call.handle(asked)

    def _find(self, request: Request) -> tuple[Call, dict[str, str]]:
        path = _plain(request.scope["path"])[len(self.prefix) :]
        found = [(call, match) for call in self.calls if (match := call.pattern.fullmatch(path))]
        # What is spelled out comes before what may be anything.
        found = [each for each in found if not each[1].groupdict()] or found
        method = "GET" if request.method == "HEAD" else request.method
        for call, match in found:
            if call.method == method:
                return call, match.groupdict()
        if found:
            raise Fault(
                405,
                "method",
                "Method not allowed",
                f"{method[:16]} does not go with this path",
                allow=", ".join(sorted({call.method for call, _ in found})),
            )
        raise Fault(404, "no_such_path", "Resource not found", "no call has this path")

    def _refuse(self, fault: Fault) -> Response:
        content, headers = self._spell(fault)
        if fault.retry_after_s is not None:
            headers["Retry-After"] = str(math.ceil(fault.retry_after_s))
        if fault.allow:
            headers["Allow"] = fault.allow
        return json_response(content, fault.status, headers)


def json_response(
    content: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """An answer in JSON, as the cloud's was."""
    body = json.dumps(content, ensure_ascii=False, allow_nan=False).encode()
    return Response(body, status, headers, media_type="application/json; charset=utf-8")


def guid(text: str) -> str:
    """A GUID in its usual form: small letters, with hyphens. Raises `Fault`."""
    match = _GUID.fullmatch(text.lower().strip("{}"))
    if match is None:
        raise Fault(400, "bad_id", "SpeakerInvalid", f"{text[:50]!r} is not a GUID", argument=True)
    return "-".join(match.groups())


def require_locale(text: str) -> str:
    """A locale, any that can be one. Raises `Fault`."""
    if len(text) > LONGEST_LOCALE or re.fullmatch(LOCALE, text) is None:
        raise Fault(
            400,
            "bad_locale",
            "Invalid locale",
            "give a language tag such as en-US; every language will do",
            argument=True,
        )
    return text


def _locale_in(data: bytes, media_type: str) -> str:
    """The locale in JSON, also the loose kind that samples have (single quotes), or in a form."""
    if not data.strip():
        raise Fault(400, "no_body", "Request body is missing", 'send {"locale": "en-US"}')
    text = data.decode(errors="replace").removeprefix("\ufeff")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        loose = _LOOSE_LOCALE.search(text)
        if loose is not None:
            return loose[2]
        named = parse_qs(text.strip(), max_num_fields=20) if "=" in text else {}
        if "locale" in named:
            return named["locale"][0]
        kind = media_type.partition(";")[0].strip().lower()
        if kind not in _FORMS:
            raise Fault(
                415, "media_type", "Unsupported media type", "send application/json"
            ) from None
        raise Fault(
            400, "bad_json", "Invalid JSON", 'send an object such as {"locale": "en-US"}'
        ) from None
    found = content.get("locale") if isinstance(content, dict) else None
    if not isinstance(found, str):
        raise Fault(
            400, "no_locale", "Locale is missing", 'send {"locale": "en-US"}', argument=True
        )
    return found


def _plain(path: str) -> str:
    """A path without doubled slashes and one at its end."""
    return re.sub("/{2,}", "/", path).rstrip("/")
