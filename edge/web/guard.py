"""What holds for every request and answer, whatever interface it is for."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import math
import re
from collections.abc import Collection

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge.errors import EdgeVoiceError
from edge.web.refusal import Refused

MOST_BODY_BYTES = 24 << 20
"""The largest body, whatever it is for."""
MOST_BYTES_AT_ONCE = 64 << 20
"""Of all bodies that are being worked on."""
BODY_S = 120.0
"""Time for a body to come, whatever it is for."""
MOST_PATH = 2048
"""Characters of a path."""
MOST_QUERY = 10_240
"""Characters of what follows it: the ids of as many profiles as there can be."""
_HOST = re.compile(r"(?:\[(?P<inside>[0-9A-Za-z:.%]+)\]|(?P<name>[^\[\]:/?#@\s]+))(?::[0-9]{0,5})?")
_RETRY_S = 2.0
_YEAR_S = 31_536_000

HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self';"
    " img-src 'self' data:; connect-src 'self'; media-src 'self'; form-action 'self';"
    " frame-ancestors 'none'; base-uri 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "microphone=(self), camera=(), geolocation=()",
    "cache-control": "no-store",
}
"""On every answer; one that sets its own keeps it."""

_log = logging.getLogger(__name__)


class Guard:
    """Checks the Host header and the path, bounds bodies, and sets the headers of every answer.

    A page elsewhere that has its name lead here (DNS rebinding) sends that name as Host.

    Args:
        names: host names under which clients reach this server; addresses of its own always count.
    """

    def __init__(self, app: ASGIApp, names: Collection[str]) -> None:
        self._app = app
        self._names = {name.lower().rstrip(".") for name in names}
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        taken = 0
        begun = ended = False
        deadline = asyncio.get_running_loop().time() + BODY_S

        async def bounded() -> Message:
            nonlocal taken, ended
            if ended:  # it only says when the client goes away
                return await receive()
            message = await _within(receive, deadline)
            ended = not message.get("more_body", False)
            size = len(message.get("body", b""))
            taken += size
            self._held += size
            if taken > MOST_BODY_BYTES:
                raise too_large(MOST_BODY_BYTES)
            if self._held > MOST_BYTES_AT_ONCE:
                raise Refused(503, "Busy", "too much is being sent at once", _RETRY_S)
            return message

        async def headed(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                headers = MutableHeaders(scope=message)
                for name, value in headers_for(scope["scheme"]).items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            self._check(scope)
            await self._app(scope, bounded, headed)
        except ClientDisconnect:
            _log.debug("a client went away")
        except Refused as refusal:
            if begun:
                raise
            await _answer(headed, refusal)
        except Exception as error:
            said = fault(error)
            if begun:  # the connection is all that is left to end
                raise
            await _answer(headed, said)
        finally:
            self._held -= taken

    def _check(self, scope: Scope) -> None:
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1 or not self._is_own(hosts[0].decode("latin-1"), scope):
            raise Refused(
                421, "WrongHost", "not a name of this device: add it to http.names if it is one"
            )
        declared = _declared(scope)
        if declared > MOST_BODY_BYTES:
            raise too_large(MOST_BODY_BYTES)
        raw, query = scope.get("raw_path") or b"", scope.get("query_string") or b""
        if len(raw) > MOST_PATH or len(query) > MOST_QUERY:
            raise Refused(414, "TooLong", f"the address is longer than {MOST_PATH} characters")
        path = scope["path"]
        odd = not path.isprintable() or "\\" in path
        if odd or any(part in (".", "..") for part in path.split("/")):
            raise Refused(400, "BadRequest", "the path holds what no path here has")

    def _is_own(self, host: str, scope: Scope) -> bool:
        name = _name_in(host)
        if name in self._names:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        own = (scope.get("server") or ("",))[0].partition("%")[0]
        return address.is_loopback or name == str(_plain(own))


def too_large(most_bytes: int) -> Refused:
    """The refusal of a body that is larger than this."""
    return Refused(413, "TooLarge", f"the body is larger than {most_bytes} bytes")


def too_slow() -> Refused:
    """The refusal of a body that does not come in time."""
    return Refused(408, "Timeout", "the body did not come in time")


def headers_for(scheme: str | None) -> dict[str, str]:
    """What every answer has, over http or https."""
    if scheme != "https":
        return HEADERS
    return {**HEADERS, "strict-transport-security": f"max-age={_YEAR_S}"}


def fault(error: Exception) -> Refused:
    """What is said of an error; what nobody expected is logged, and said to nobody."""
    if isinstance(error, EdgeVoiceError):
        _log.warning("%s", error)
        return Refused(503, "Unavailable", "the device cannot do this now; its log says why", 5.0)
    _log.error("unexpected %s", type(error).__name__, exc_info=error)
    return Refused(500, "InternalServerError", "an error in this software; its log has it")


async def _answer(send: Send, refusal: Refused) -> None:
    body = json.dumps({"error": {"code": refusal.code, "message": refusal.message}}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    if refusal.retry_after_s is not None:
        headers.append((b"retry-after", str(math.ceil(refusal.retry_after_s)).encode()))
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _within(receive: Receive, deadline: float) -> Message:
    left_s = deadline - asyncio.get_running_loop().time()
    try:
        return await asyncio.wait_for(receive(), max(0.0, left_s))
    except asyncio.TimeoutError:
        raise too_slow() from None


def _declared(scope: Scope) -> int:
    """The length of the body as its header has it, 0 where that says nothing."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value[:20])
    return 0


def _name_in(host: str) -> str:
    """The name in a Host header, without its port and brackets; empty for what is none.

    Answers repeat the header in addresses, where `door:80@elsewhere` would lead elsewhere.
    """
    found = _HOST.fullmatch(host)
    return (found["inside"] or found["name"]).lower().rstrip(".") if found else ""


def _plain(address: str) -> str:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(found)
