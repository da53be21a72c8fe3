"""Versions 2.0 (`/speaker`) and 2021-09-05 (`/speaker-recognition`): two spellings of one."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from edge.cloud_api.audio import Limits
from edge.cloud_api.calls import Asked, Call, Parameter, Version, json_response, require_locale
from edge.cloud_api.core import core_of
from edge.cloud_api.faults import Fault
from edge.cloud_api.profiles import CloudProfile, Resource
from edge.cloud_api.recognition import Enrolled
from edge.cloud_api.spelling import IDENTIFIED_MOST, remaining_s, seconds, status_of
from edge.store.api_keys import ApiRole
from edge.types import ProfileKind
from edge.types.decision import utc

ENOUGH_S = 20.0
"""Speech that enrolls a profile of free speech."""
API_VERSION = "2021-09-05"
_LEAST_SPEECH_S = 4.0
_PHRASE = Limits(1.0, 10.0)
_SPEECH = Limits(1.0, 120.0)
_TOP, _MOST_TOP = 100, 500
_CODES = {
    400: "InvalidRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    408: "RequestTimeout",
    409: "Conflict",
    413: "RequestTooLarge",
    415: "UnsupportedMediaType",
    429: "RateLimit",
    503: "ServiceUnavailable",
}


@dataclass(frozen=True)
class Spelling:
    """What tells the two versions apart.

    Attributes:
        version_in_path: what stands between mode and kind.
        action: what stands before a verb.
        items, next_link: names of the parts of a list.
        top, token: the parameters of a list.
        in_seconds: whether lengths have a second name, with their unit.
    """

    prefix: str
    version_in_path: str
    action: str
    items: str
    next_link: str
    top: str
    token: str
    in_seconds: bool

    def path(self, resource: Resource) -> str:
        """Where the profiles of a resource are, below the prefix."""
        mode, kind = resource.value.split("/")
        return f"/{mode}{self.version_in_path}/{kind}"

    def lengths(self, **lengths: float) -> dict[str, float]:
        """Lengths in seconds under their names in this version."""
        named = {name: seconds(value) for name, value in lengths.items()}
        more = {f"{name}InSec": value for name, value in named.items() if self.in_seconds}
        return {**named, **more}


V2 = Spelling(
    "/speaker", "/v2.0", "/", "profiles", "@nextLink", "$top", "$continuationToken", False
)
V2021 = Spelling(
    "/speaker-recognition", "", ":", "value", "nextLink", "maxpagesize", "continuationToken", True
)


def spell(fault: Fault) -> tuple[dict[str, Any], dict[str, str]]:
    """A fault as the error of these versions; the message says what to do."""
    code = _CODES.get(fault.status, "InternalServerError" if fault.status >= 500 else "BadRequest")
    if fault.status == 400 and fault.argument:
        code = "InvalidArgument"
    message = f"{fault.message}: {fault.detail}" if fault.detail else fault.message
    error = {"code": code, "message": message, "reason": fault.reason}
    return {"error": error}, {"x-ms-error-code": code}


def require_api_version(asked: Asked) -> None:
    """Refuse a request for another version, or for none. Raises `Fault`."""
    named = asked.query.get("api-version", "").strip()
    if named != API_VERSION:
        reason = "api_version"
        message = "Unsupported api-version" if named else "Missing api-version"
        raise Fault(400, reason, message, f"add api-version={API_VERSION}", argument=True)


_Handler = Callable[[Spelling, Resource, Asked], Awaitable[Response]]


async def _create(spelling: Spelling, resource: Resource, asked: Asked) -> Response:
    made = await core_of(asked).create(asked, resource, ENOUGH_S)
    path = f"{spelling.prefix}{spelling.path(resource)}/profiles/{made.id}"
    headers = {"Location": asked.link(path)}
    return json_response(_shown(spelling, resource, made), 201, headers)


async def _list(spelling: Spelling, resource: Resource, asked: Asked) -> Response:
    top = _top(spelling, asked)
    after = _after(spelling, asked)
    there = [each for each in await core_of(asked).every(resource) if each.id > after]
    page = there[:top]
    content: dict[str, Any] = {spelling.items: [_shown(spelling, resource, one) for one in page]}
    if len(there) > top:
        token = base64.urlsafe_b64encode(uuid.UUID(page[-1].id).bytes).decode().rstrip("=")
        query = {spelling.top: top, spelling.token: token}
        if spelling is V2021:
            query = {"api-version": API_VERSION, **query}
        path = f"{spelling.prefix}{spelling.path(resource)}/profiles"
        content[spelling.next_link] = asked.link(f"{path}?{urlencode(query, safe='$')}")
    return json_response(content)


def _top(spelling: Spelling, asked: Asked) -> int:
    for name in (spelling.top, "$top"):
        text = asked.query.get(name)
        if text is None:
            continue
        if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= _MOST_TOP):
            raise Fault(400, "bad_parameter", f"Invalid {name}", f"1 to {_MOST_TOP}", argument=True)
        return int(text)
    return _TOP


def _after(spelling: Spelling, asked: Asked) -> str:
    """The id behind which a page begins; "" for the first page."""
    token = asked.query.get(spelling.token.lower())
    if token is None:
        return ""
    try:
        return str(uuid.UUID(bytes=base64.urlsafe_b64decode(f"{token}==")))
    except ValueError:
        raise Fault(
            400, "bad_parameter", f"Invalid {spelling.token}", "use the link of a page as it is",
            argument=True,
        ) from None  # fmt: skip


async def _get(spelling: Spelling, resource: Resource, asked: Asked) -> Response:
    found = await core_of(asked).get(resource, asked.id("profileId"))
    return json_response(_shown(spelling, resource, found))


async def _delete(_: Spelling, resource: Resource, asked: Asked) -> Response:
    await core_of(asked).delete(asked, resource, asked.id("profileId"))
    return Response(status_code=204)


async def _reset(_: Spelling, resource: Resource, asked: Asked) -> Response:
    await core_of(asked).reset(asked, resource, asked.id("profileId"))
    return Response(status_code=204)


async def _enroll(spelling: Spelling, resource: Resource, asked: Asked) -> Response:
    core = core_of(asked)
    by_phrase = resource.kind is ProfileKind.PHRASE
    waived = asked.flag("ignoreMinLength")
    shown = await core.get(resource, asked.id("profileId"))
    recording = await core.recording(asked, _PHRASE if by_phrase else _SPEECH)
    enrolled = await core.enroll(
        asked, resource, shown.id, recording, complete=waived and not by_phrase
    )
    return json_response(_enrolled(spelling, resource, enrolled), 201)


def _enrolled(spelling: Spelling, resource: Resource, enrolled: Enrolled) -> dict[str, Any]:
    shown = enrolled.shown
    content = _remaining(spelling, resource, shown)
    if resource.kind is ProfileKind.PHRASE:
        content["passPhrase"] = shown.profile.phrase
    return {
        **content,
        "profileId": shown.id,
        "enrollmentStatus": status_of(shown),
        "enrollmentsCount": shown.count,
        **spelling.lengths(
            enrollmentsLength=shown.audio_s,
            enrollmentsSpeechLength=shown.speech_s,
            audioLength=enrolled.audio_s,
            audioSpeechLength=enrolled.speech_s,
        ),
    }


async def _verify(_: Spelling, resource: Resource, asked: Asked) -> Response:
    core = core_of(asked)
    limits = _limits(resource, asked)
    shown = await core.get(resource, asked.id("profileId"))
    recording = await core.recording(asked, limits)
    found = await core.verify(asked, resource, shown.id, recording, limits)
    return json_response(
        {
            "recognitionResult": "Accept" if found.accepted else "Reject",
            "score": found.score,
            "reason": found.reason.value,
        }
    )


async def _identify(_: Spelling, resource: Resource, asked: Asked) -> Response:
    core = core_of(asked)
    limits = _limits(resource, asked)
    profile_ids = asked.ids("profileIds", IDENTIFIED_MOST)
    await core.require(resource, profile_ids)
    recording = await core.recording(asked, limits)
    found = await core.identify(asked, resource, profile_ids, recording, limits)
    return json_response(
        {
            "identifiedProfile": {"profileId": found.profile_id, "score": found.score},
            "profilesRanking": [
                {"profileId": profile_id, "score": score} for profile_id, score in found.ranking
            ],
            "reason": found.reason.value,
        }
    )


async def _phrases(spelling: Spelling, resource: Resource, asked: Asked) -> Response:
    require_locale(asked.part("locale"))
    by_phrase = resource.kind is ProfileKind.PHRASE
    # Whoever enrolls by free speech may say anything.
    phrases = await core_of(asked).phrases(asked) if by_phrase else []
    if spelling is V2:
        return json_response(phrases)
    return json_response({"value": [{"passPhrase": phrase} for phrase in phrases]})


def _limits(resource: Resource, asked: Asked) -> Limits:
    waived = asked.flag("ignoreMinLength")
    if resource.kind is ProfileKind.PHRASE:
        return _PHRASE
    return _SPEECH if waived else Limits(_SPEECH.least_s, _SPEECH.most_s, _LEAST_SPEECH_S)


def _shown(spelling: Spelling, resource: Resource, shown: CloudProfile) -> dict[str, Any]:
    profile = shown.profile
    content: dict[str, Any] = {
        "profileId": profile.id,
        "locale": shown.locale,
        "enrollmentStatus": status_of(shown),
        "createdDateTime": utc(profile.created_at),
        "lastUpdatedDateTime": utc(profile.updated_at),
        "enrollmentsCount": shown.count,
        **spelling.lengths(enrollmentsLength=shown.audio_s, enrollmentsSpeechLength=shown.speech_s),
        # Of a profile, older clients know it by this name.
        "enrollmentSpeechLength": seconds(shown.speech_s),
        **_remaining(spelling, resource, shown),
        "modelVersion": profile.speaker_model[:12] or None,
    }
    if resource.kind is ProfileKind.VOICE:
        content["profileStatus"] = "Active" if shown.count else "Inactive"
    return content


def _remaining(spelling: Spelling, resource: Resource, shown: CloudProfile) -> dict[str, Any]:
    if resource.kind is ProfileKind.PHRASE:
        return {"remainingEnrollmentsCount": round(shown.profile.remaining)}
    return dict(spelling.lengths(remainingEnrollmentsSpeechLength=remaining_s(shown)))


def _calls_of(spelling: Spelling, resource: Resource) -> list[Call]:
    path = spelling.path(resource)
    every, one = f"{path}/profiles", f"{path}/profiles/{{profileId}}"
    by_phrase = resource.kind is ProfileKind.PHRASE
    kind = "TextDependent" if by_phrase else "TextIndependent"
    suffix = "Speaker" if resource is Resource.IDENTIFICATION else kind
    lengths = "1 to 10 s" if by_phrase else "1 to 120 s"
    read, enroll, manage = ApiRole.VERIFY, ApiRole.ENROLL, ApiRole.MANAGE

    def call(
        method: str,
        path: str,
        what: str,
        text: str,
        role: ApiRole,
        handle: _Handler,
        answers: tuple[int, str],
        **more: Any,
    ) -> Call:
        handler = partial(handle, spelling, resource)
        return Call(method, path, f"{what}{suffix}", text, role, handler, answers, **more)

    waive = () if by_phrase else (_IGNORE_MIN_LENGTH,)
    calls = [
        call(
            "POST", every, "createProfile", "Create a profile.", enroll, _create,
            (201, f"{kind}Profile"), body="locale",
        ),
        call(
            "GET", every, "listProfiles", "Profiles by id, a page of them.", read, _list,
            (200, f"{kind}Profiles"), query=_paging(spelling),
        ),
        call("GET", one, "getProfile", "One profile.", read, _get, (200, f"{kind}Profile")),
        call("DELETE", one, "deleteProfile", "Delete a profile.", manage, _delete, (204, "")),
        call(
            "POST", f"{one}{spelling.action}reset", "resetProfile",
            "Remove what a profile was enrolled with.", manage, _reset, (204, ""),
        ),
        call(
            "POST", f"{one}/enrollments", "enrollProfile",
            f"Enroll a recording of {lengths}.", enroll, _enroll, (201, f"{kind}Enrollment"),
            body="audio", query=waive,
        ),
        call(
            "GET", f"{path}/phrases/{{locale}}", "listPhrases",
            "The household's phrases in writing, to keys with the role manage; none of free"
            " speech, for which any will do.",
            read, _phrases, (200, "Phrases"),
        ),
    ]  # fmt: skip
    if resource is Resource.IDENTIFICATION:
        group = Parameter(
            "profileIds", {"type": "string"},
            f"The group: 1 to {IDENTIFIED_MOST} ids, with commas between them.", required=True,
        )  # fmt: skip
        calls.append(
            call(
                "POST",
                f"{every}{spelling.action}identifySingleSpeaker",
                "identify",
                f"Who of a group speaks: a recording of {lengths}.",
                read,
                _identify,
                (200, "Identification"),
                body="audio",
                query=(group, *waive),
            )
        )  # fmt: skip
    else:
        calls.append(
            call(
                "POST",
                f"{one}{spelling.action}verify",
                "verify",
                f"Whether it is this person: a recording of {lengths}.",
                read,
                _verify,
                (200, "Verification"),
                body="audio",
                query=waive,
            )
        )  # fmt: skip
    return calls


_IGNORE_MIN_LENGTH = Parameter(
    "ignoreMinLength",
    {"type": "boolean", "default": False},
    "Whether any amount of speech is enough.",
)


def _paging(spelling: Spelling) -> tuple[Parameter, ...]:
    most = {"type": "integer", "minimum": 1, "maximum": _MOST_TOP, "default": _TOP}
    return (
        Parameter(spelling.top, most, "How many profiles a page has at most."),
        Parameter(spelling.token, {"type": "string"}, "Where the page begins; from the last one."),
    )


_RESOURCES = (Resource.TEXT_DEPENDENT, Resource.TEXT_INDEPENDENT, Resource.IDENTIFICATION)
CALLS_2 = tuple(call for each in _RESOURCES for call in _calls_of(V2, each))
CALLS_2021 = tuple(call for each in _RESOURCES for call in _calls_of(V2021, each))

ROUTE_2 = Version(V2.prefix, CALLS_2, spell)
ROUTE_2021 = Version(V2021.prefix, CALLS_2021, spell, require_api_version)
