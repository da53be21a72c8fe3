"""OpenAPI 3.1 documents of the versions that are served, from the tables of their calls."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge.cloud_api import v1, v2
from edge.cloud_api.audio import MEDIA_TYPES
from edge.cloud_api.calls import LOCALE, LONGEST_LOCALE, Call, Version
from edge.store.api_keys import ApiRole
from edge.web.callers import HEADER

_Schema = dict[str, Any]

_NUMBER: _Schema = {"type": "number", "minimum": 0}
_COUNT: _Schema = {"type": "integer", "minimum": 0}
_TEXT: _Schema = {"type": "string"}
_GUID: _Schema = {"type": "string", "format": "uuid"}
_LOCALE: _Schema = {"type": "string", "pattern": LOCALE, "maxLength": LONGEST_LOCALE}
_TIME: _Schema = {"type": "string", "format": "date-time"}
_STATUS: _Schema = {"enum": ["Enrolling", "Training", "Enrolled"]}
_SCORE: _Schema = {"type": "number", "minimum": 0, "maximum": 1}
_RESULT: _Schema = {"enum": ["Accept", "Reject"]}
_CONFIDENCE: _Schema = {"enum": ["Low", "Normal", "High"]}
_REASON: _Schema = {"type": "string", "description": "One word for programs: why."}
_FAULTS = {
    400: "The request or its recording cannot be used.",
    401: "No key, or a wrong one.",
    403: "The key's role does not do, or a limit of the device is reached.",
    404: "There is no such thing, or none of this kind.",
    408: "The body did not come in time.",
    409: "Something changed meanwhile, or the profile is of another model.",
    413: "The body is too large.",
    415: "The body is something else.",
    429: "Locked out, or too much at once; Retry-After says for how long.",
    503: "Busy, or the store cannot be used now.",
}
_ROLES = {
    ApiRole.VERIFY: "For keys of every role.",
    ApiRole.ENROLL: "For keys with the role enroll or manage.",
    ApiRole.MANAGE: "For keys with the role manage.",
}


def _object(optional: Mapping[str, _Schema] | None = None, /, **parts: _Schema) -> _Schema:
    """An object that has exactly these parts, and may have the optional ones."""
    return {
        "type": "object",
        "properties": {**parts, **(optional or {})},
        "required": list(parts),
        "additionalProperties": False,
    }


def _list(schema: _Schema) -> _Schema:
    return {"type": "array", "items": schema}


def _reference(name: str) -> _Schema:
    return {"$ref": f"#/components/schemas/{name}"}


_SCHEMAS_1: dict[str, _Schema] = {
    "CreatedVerificationProfile": _object(verificationProfileId=_GUID),
    "CreatedIdentificationProfile": _object(identificationProfileId=_GUID),
    "VerificationProfile": _object(
        verificationProfileId=_GUID,
        locale=_TEXT,
        enrollmentsCount=_COUNT,
        remainingEnrollmentsCount=_COUNT,
        createdDateTime=_TIME,
        lastActionDateTime=_TIME,
        enrollmentStatus=_STATUS,
    ),
    "VerificationProfiles": _list(_reference("VerificationProfile")),
    "IdentificationProfile": _object(
        identificationProfileId=_GUID,
        locale=_TEXT,
        enrollmentSpeechTime=_NUMBER,
        remainingEnrollmentSpeechTime=_NUMBER,
        createdDateTime=_TIME,
        lastActionDateTime=_TIME,
        enrollmentStatus=_STATUS,
    ),
    "IdentificationProfiles": _list(_reference("IdentificationProfile")),
    "VerificationEnrollment": _object(
        enrollmentStatus=_STATUS,
        enrollmentsCount=_COUNT,
        remainingEnrollments=_COUNT,
        phrase=_TEXT,
    ),
    "Verification": _object(result=_RESULT, confidence=_CONFIDENCE, phrase=_TEXT, reason=_REASON),
    "Phrases": _list(_object(phrase=_TEXT)),
    "IdentificationEnrollment": _object(
        enrollmentStatus=_STATUS,
        enrollmentSpeechTime=_NUMBER,
        remainingEnrollmentSpeechTime=_NUMBER,
        speechTime=_NUMBER,
    ),
    "Identification": _object(identifiedProfileId=_GUID, confidence=_CONFIDENCE, reason=_REASON),
    "Operation": _object(
        {
            "message": _TEXT,
            "reason": _REASON,
            "detail": _TEXT,
            "processingResult": {
                "oneOf": [_reference("IdentificationEnrollment"), _reference("Identification")]
            },
        },
        status={"enum": ["notstarted", "running", "failed", "succeeded"]},
        createdDateTime=_TIME,
        lastActionDateTime=_TIME,
    ),
    "Error": _object(
        error=_object(
            {
                "reason": _REASON,
                "detail": {"type": "string", "description": "What is wrong, and what to do."},
            },
            code={
                "type": "string",
                "examples": ["BadRequest", "Unspecified", "NotFound", "InternalServerError"],
            },
            message=_TEXT,
        )
    ),
}


def _schemas_2(spelling: v2.Spelling) -> dict[str, _Schema]:
    def lengths(*names: str) -> dict[str, _Schema]:
        return dict.fromkeys(spelling.lengths(**dict.fromkeys(names, 0.0)), _NUMBER)

    profile: dict[str, _Schema] = {
        "profileId": _GUID,
        "locale": _TEXT,
        "enrollmentStatus": _STATUS,
        "createdDateTime": _TIME,
        "lastUpdatedDateTime": _TIME,
        "enrollmentsCount": _COUNT,
        **lengths("enrollmentsLength", "enrollmentsSpeechLength"),
        "enrollmentSpeechLength": _NUMBER,
        "modelVersion": {"type": ["string", "null"]},
    }
    enrollment: dict[str, _Schema] = {
        "profileId": _GUID,
        "enrollmentStatus": _STATUS,
        "enrollmentsCount": _COUNT,
        **lengths(
            "enrollmentsLength", "enrollmentsSpeechLength", "audioLength", "audioSpeechLength"
        ),
    }
    remaining = lengths("remainingEnrollmentsSpeechLength")
    next_link = {spelling.next_link: _TEXT}
    by_phrase, free = "TextDependent", "TextIndependent"
    phrase = _TEXT if spelling is v2.V2 else _object(passPhrase=_TEXT)
    phrases = _list(phrase)
    ranked = _object(profileId=_GUID, score=_SCORE)
    return {
        f"{by_phrase}Profile": _object(**profile, remainingEnrollmentsCount=_COUNT),
        f"{free}Profile": _object(
            **profile, **remaining, profileStatus={"enum": ["Active", "Inactive"]}
        ),
        **{
            f"{kind}Profiles": _object(
                next_link, **{spelling.items: _list(_reference(f"{kind}Profile"))}
            )
            for kind in (by_phrase, free)
        },
        f"{by_phrase}Enrollment": _object(
            **enrollment, remainingEnrollmentsCount=_COUNT, passPhrase=_TEXT
        ),
        f"{free}Enrollment": _object(**enrollment, **remaining),
        "Verification": _object(recognitionResult=_RESULT, score=_SCORE, reason=_REASON),
        "Identification": _object(
            identifiedProfile=ranked, profilesRanking=_list(ranked), reason=_REASON
        ),
        "Phrases": phrases if spelling is v2.V2 else _object(value=phrases),
        "Error": _object(error=_object({"reason": _REASON}, code=_TEXT, message=_TEXT)),
    }


@dataclass(frozen=True)
class Served:
    """A version that is served, with what its document says."""

    name: str
    title: str
    route: Version
    schemas: Mapping[str, _Schema]
    api_version: str = ""

    @property
    def path(self) -> str:
        """Where its document is served."""
        return f"{self.route.prefix}/openapi.json"

    def document(self) -> dict[str, Any]:
        """The document."""
        paths: dict[str, Any] = {}
        for call in self.route.calls:
            paths.setdefault(call.path, {})[call.method.lower()] = self._operation(call)
        return {
            "openapi": "3.1.0",
            "info": {
                "title": self.title,
                "version": self.name,
                "summary": "Served on the device by Edge Voice.",
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "servers": [{"url": self.route.prefix}],
            "security": [{"key": []}],
            "paths": paths,
            "components": {
                "schemas": dict(self.schemas),
                "responses": {f"Fault{status}": _fault(status) for status in _FAULTS},
                "requestBodies": {"audio": _audio_body(), "locale": _locale_body()},
                "securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": HEADER}},
            },
        }

    def _operation(self, call: Call) -> dict[str, Any]:
        named = re.findall(r"\{(\w+)\}", call.path)
        status, schema = call.answers
        operation: dict[str, Any] = {
            "operationId": call.name,
            "summary": call.text,
            "description": _ROLES[call.role],
            "parameters": [*map(_path_parameter, named), *self._query(call)],
            "responses": {
                str(status): _answer(status, schema),
                **{
                    str(each): {"$ref": f"#/components/responses/Fault{each}"}
                    for each in _faults_of(call, named)
                },
            },
        }
        if call.body:
            operation["requestBody"] = {"$ref": f"#/components/requestBodies/{call.body}"}
        return operation

    def _query(self, call: Call) -> list[dict[str, Any]]:
        found = [
            {
                "name": each.name,
                "in": "query",
                "required": each.required,
                "description": each.text,
                "schema": dict(each.schema),
            }
            for each in call.query
        ]
        if self.api_version:
            version = {"name": "api-version", "in": "query", "required": True}
            found.insert(0, {**version, "schema": {"const": self.api_version}})
        return found


def _path_parameter(name: str) -> dict[str, Any]:
    schema = _LOCALE if name == "locale" else _GUID
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _faults_of(call: Call, named: list[str]) -> list[int]:
    found = {400, 401, 403, 429, 503}
    if any(name != "locale" for name in named) or call.body == "audio":
        found.add(404)
    if call.body:
        found |= {408, 413, 415}
    if call.body == "audio":
        found.add(409)
    return sorted(found)


def _fault(status: int) -> dict[str, Any]:
    return {
        "description": _FAULTS[status],
        "content": {"application/json": {"schema": _reference("Error")}},
    }


def _answer(status: int, schema: str) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": "Done."}
    if schema:
        answer["content"] = {"application/json": {"schema": _reference(schema)}}
    if status == 202:
        answer["description"] = "Begun."
        answer["headers"] = {"Operation-Location": {"required": True, "schema": _TEXT}}
    return answer


def _locale_body() -> dict[str, Any]:
    schema = {"type": "object", "properties": {"locale": _LOCALE}, "required": ["locale"]}
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _audio_body() -> dict[str, Any]:
    form = {
        "type": "object",
        "properties": {"file": {"type": "string", "contentMediaType": "audio/wav"}},
        "required": ["file"],
    }
    content: dict[str, Any] = {kind: {} for kind in MEDIA_TYPES}
    content["multipart/form-data"] = {"schema": form}
    text = "A recording: WAV, PCM, 16 kHz, 16 bit, mono."
    return {"required": True, "description": text, "content": content}


SERVED = (
    Served("1.0", "Speaker Recognition 1.0", v1.ROUTE, _SCHEMAS_1),
    Served("2.0", "Speaker Recognition 2.0", v2.ROUTE_2, _schemas_2(v2.V2)),
    Served(
        v2.API_VERSION,
        f"Speaker Recognition {v2.API_VERSION}",
        v2.ROUTE_2021,
        _schemas_2(v2.V2021),
        v2.API_VERSION,
    ),
)
