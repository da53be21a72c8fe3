"""Version 1.0 of the API, `/spid/v1.0`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any

from starlette.responses import Response

from edge.cloud_api.audio import Limits
from edge.cloud_api.calls import (
    LOCALE,
    Asked,
    Call,
    Parameter,
    Version,
    json_response,
    require_locale,
)
from edge.cloud_api.core import SentRecording, core_of
from edge.cloud_api.faults import Fault, of_refusal
from edge.cloud_api.operations import Operation
from edge.cloud_api.profiles import CloudProfile, Resource
from edge.cloud_api.spelling import IDENTIFIED_MOST, remaining_s, seconds, status_of, ticks
from edge.store.api_keys import ApiRole
from edge.types.decision import utc
from edge.web.guard import fault as unexpected
from edge.web.refusal import Refused

PREFIX = "/spid/v1.0"
ENOUGH_S = 30.0
"""Speech that enrolls a profile for identification."""
_PHRASE = Limits(1.0, 15.0)
_SPEECH, _SHORT = Limits(5.0, 300.0), Limits(1.0, 300.0)
_CODES = {404: "NotFound", 401: "Unspecified", 403: "Unspecified", 429: "Unspecified"}


@dataclass(frozen=True)
class _Kind:
    """One of the two kinds of profiles."""

    name: str
    resource: Resource
    shown: Callable[[CloudProfile], dict[str, Any]]

    @property
    def id_name(self) -> str:
        return f"{self.name}ProfileId"

    @property
    def path(self) -> str:
        return f"/{self.name}Profiles"


def spell(fault: Fault) -> tuple[dict[str, Any], dict[str, str]]:
    """A fault as this version's error: the cloud's code and message, and why in fields beside."""
    code = _CODES.get(fault.status, "InternalServerError" if fault.status >= 500 else "BadRequest")
    error = {
        "code": code,
        "message": fault.message,
        "reason": fault.reason,
        "detail": fault.detail or fault.message,
    }
    return {"error": error}, {}


async def _create(kind: _Kind, asked: Asked) -> Response:
    made = await core_of(asked).create(asked, kind.resource, ENOUGH_S)
    return json_response({kind.id_name: made.id})


async def _list(kind: _Kind, asked: Asked) -> Response:
    return json_response([kind.shown(each) for each in await core_of(asked).every(kind.resource)])


async def _get(kind: _Kind, asked: Asked) -> Response:
    found = await core_of(asked).get(kind.resource, asked.id(kind.id_name))
    return json_response(kind.shown(found))


async def _delete(kind: _Kind, asked: Asked) -> Response:
    await core_of(asked).delete(asked, kind.resource, asked.id(kind.id_name))
    return Response()


async def _reset(kind: _Kind, asked: Asked) -> Response:
    await core_of(asked).reset(asked, kind.resource, asked.id(kind.id_name))
    return Response()


def _verification(shown: CloudProfile) -> dict[str, Any]:
    profile = shown.profile
    return {
        "verificationProfileId": profile.id,
        "locale": shown.locale,
        "enrollmentsCount": shown.count,
        "remainingEnrollmentsCount": round(profile.remaining),
        "createdDateTime": utc(profile.created_at),
        "lastActionDateTime": utc(shown.used_at),
        "enrollmentStatus": status_of(shown),
    }


def _identification(shown: CloudProfile) -> dict[str, Any]:
    return {
        "identificationProfileId": shown.id,
        "locale": shown.locale,
        "enrollmentSpeechTime": seconds(shown.speech_s),
        "remainingEnrollmentSpeechTime": remaining_s(shown),
        "createdDateTime": utc(shown.profile.created_at),
        "lastActionDateTime": utc(shown.used_at),
        "enrollmentStatus": status_of(shown),
    }


_VERIFICATION = _Kind("verification", Resource.TEXT_DEPENDENT, _verification)
_IDENTIFICATION = _Kind("identification", Resource.IDENTIFICATION, _identification)


async def _phrases(asked: Asked) -> Response:
    require_locale(asked.query.get("locale", "").strip())
    return json_response([{"phrase": each} for each in await core_of(asked).phrases(asked)])


async def _enroll_verification(asked: Asked) -> Response:
    core, resource = core_of(asked), Resource.TEXT_DEPENDENT
    shown = await core.get(resource, asked.id("verificationProfileId"))
    recording = await core.recording(asked, _PHRASE)
    enrolled = await core.enroll(asked, resource, shown.id, recording, complete=False)
    profile = enrolled.shown.profile
    return json_response(
        {
            "enrollmentStatus": status_of(enrolled.shown),
            "enrollmentsCount": enrolled.shown.count,
            "remainingEnrollments": round(profile.remaining),
            "phrase": profile.phrase,
        }
    )


async def _verify(asked: Asked) -> Response:
    core, resource = core_of(asked), Resource.TEXT_DEPENDENT
    (profile_id,) = asked.ids("verificationProfileId", 1)
    await core.get(resource, profile_id)
    recording = await core.recording(asked, _PHRASE)
    found = await core.verify(asked, resource, profile_id, recording, _PHRASE)
    return json_response(
        {
            "result": "Accept" if found.accepted else "Reject",
            "confidence": found.confidence.value.capitalize(),
            "phrase": found.phrase,
            "reason": found.reason.value,
        }
    )


async def _enroll_identification(asked: Asked) -> Response:
    core = core_of(asked)
    short = asked.flag("shortAudio")
    shown = await core.get(Resource.IDENTIFICATION, asked.id("identificationProfileId"))
    recording = await core.recording(asked, _SHORT if short else _SPEECH)
    return _begin(asked, _enrollment(asked, shown.id, recording, short=short))


async def _enrollment(
    asked: Asked, profile_id: str, recording: SentRecording, *, short: bool
) -> dict[str, Any]:
    enrolled = await core_of(asked).enroll(
        asked, Resource.IDENTIFICATION, profile_id, recording, complete=short
    )
    return {
        "enrollmentStatus": status_of(enrolled.shown),
        "remainingEnrollmentSpeechTime": remaining_s(enrolled.shown),
        "speechTime": seconds(enrolled.speech_s),
        "enrollmentSpeechTime": seconds(enrolled.shown.speech_s),
    }


async def _identify(asked: Asked) -> Response:
    core = core_of(asked)
    limits = _SHORT if asked.flag("shortAudio") else _SPEECH
    profile_ids = asked.ids("identificationProfileIds", IDENTIFIED_MOST)
    await core.require(Resource.IDENTIFICATION, profile_ids)
    recording = await core.recording(asked, limits)
    return _begin(asked, _speaker(asked, profile_ids, recording, limits))


async def _speaker(
    asked: Asked, profile_ids: list[str], recording: SentRecording, limits: Limits
) -> dict[str, Any]:
    found = await core_of(asked).identify(
        asked, Resource.IDENTIFICATION, profile_ids, recording, limits
    )
    return {
        "identifiedProfileId": found.profile_id,
        "confidence": found.confidence.value.capitalize(),
        "reason": found.reason.value,
    }


def _begin(asked: Asked, work: Coroutine[Any, Any, dict[str, Any]]) -> Response:
    operations = core_of(asked).operations
    try:
        operation = operations.begin(asked.key.id)
    except Fault:
        work.close()
        raise
    operations.carry_out(operation, _with_faults(work))
    location = asked.link(f"{PREFIX}/operations/{operation.id}")
    return Response(status_code=202, headers={"Operation-Location": location})


async def _with_faults(work: Coroutine[Any, Any, dict[str, Any]]) -> dict[str, Any]:
    try:
        return await work
    except Fault:
        raise
    except Refused as refused:
        raise of_refusal(refused) from None
    except Exception as error:  # noqa: BLE001 (nobody else would learn of it)
        raise of_refusal(unexpected(error)) from None


async def _operation(asked: Asked) -> Response:
    operation = core_of(asked).operations.get(asked.id("operationId"), asked.key.id)
    return json_response(_shown(operation))


def _shown(operation: Operation) -> dict[str, Any]:
    content: dict[str, Any] = {
        "status": operation.status,
        "createdDateTime": ticks(operation.created_at),
        "lastActionDateTime": ticks(operation.changed_at),
    }
    if operation.fault is not None:
        content["message"] = operation.fault.message
        content["reason"] = operation.fault.reason
        content["detail"] = operation.fault.detail or operation.fault.message
    if operation.result is not None:
        content["processingResult"] = operation.result
    return content


_Handler = Callable[[_Kind, Asked], Awaitable[Response]]


def _calls_of(kind: _Kind) -> list[Call]:
    one = f"{kind.path}/{{{kind.id_name}}}"
    name = kind.name.capitalize()

    def call(
        method: str, path: str, what: str, text: str, role: ApiRole, handle: _Handler, **more: Any
    ) -> Call:
        return Call(method, path, f"{what}{name}Profile", text, role, partial(handle, kind), **more)

    read, enroll, manage = ApiRole.VERIFY, ApiRole.ENROLL, ApiRole.MANAGE
    every = f"{name}Profiles"
    return [
        call(
            "POST", kind.path, "create", "Create a profile.", enroll, _create,
            answers=(200, f"Created{name}Profile"), body="locale",
        ),
        call("GET", kind.path, "list", "All profiles.", read, _list, answers=(200, every)),
        call("GET", one, "get", "One profile.", read, _get, answers=(200, f"{name}Profile")),
        call("DELETE", one, "delete", "Delete a profile.", manage, _delete),
        call(
            "POST", f"{one}/reset", "reset", "Remove what a profile was enrolled with.", manage,
            _reset,
        ),
    ]  # fmt: skip


_SHORT_AUDIO = Parameter(
    "shortAudio",
    {"type": "boolean", "default": False},
    "Whether recordings from 1 s on are taken; enrolling, whether any speech is enough.",
)

CALLS = (
    *_calls_of(_VERIFICATION),
    Call(
        "POST", "/verificationProfiles/{verificationProfileId}/enroll", "enrollVerificationProfile",
        "Enroll a repetition of the phrase: a recording of 1 to 15 s.",
        ApiRole.ENROLL, _enroll_verification, answers=(200, "VerificationEnrollment"), body="audio",
    ),
    Call(
        "POST", "/verify", "verify",
        "Whether it is this person and their phrase: a recording of 1 to 15 s.",
        ApiRole.VERIFY, _verify, answers=(200, "Verification"), body="audio",
        query=(
            Parameter(
                "verificationProfileId", {"type": "string", "format": "uuid"},
                "Who claims to speak.", required=True,
            ),
        ),
    ),
    Call(
        "GET", "/verificationPhrases", "listVerificationPhrases",
        "The household's phrases in writing, to keys with the role manage.",
        ApiRole.VERIFY, _phrases, answers=(200, "Phrases"),
        query=(
            Parameter(
                "locale", {"type": "string", "pattern": LOCALE}, "Any language.", required=True
            ),
        ),
    ),
    *_calls_of(_IDENTIFICATION),
    Call(
        "POST", "/identificationProfiles/{identificationProfileId}/enroll",
        "enrollIdentificationProfile", "Enroll free speech: a recording of 5 s to 5 min.",
        ApiRole.ENROLL, _enroll_identification, answers=(202, ""), body="audio",
        query=(_SHORT_AUDIO,),
    ),
    Call(
        "POST", "/identify", "identify", "Who of a group speaks: a recording of 5 s to 5 min.",
        ApiRole.VERIFY, _identify, answers=(202, ""), body="audio",
        query=(
            Parameter(
                "identificationProfileIds", {"type": "string"},
                f"The group: 1 to {IDENTIFIED_MOST} ids, with commas between them.", required=True,
            ),
            _SHORT_AUDIO,
        ),
    ),
    Call(
        "GET", "/operations/{operationId}", "getOperation",
        "What came of an enrollment or identification, to the key that began it, for a day.",
        ApiRole.VERIFY, _operation, answers=(200, "Operation"),
    ),
)  # fmt: skip

ROUTE = Version(PREFIX, CALLS, spell)
