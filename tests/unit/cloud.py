"""The cloud's API in tests: recordings as clients send them, answers held against the documents."""

from __future__ import annotations

import functools
import io
import itertools
import json
import time
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import numpy as np
from starlette.testclient import TestClient

from edge.cloud_api.openapi import SERVED
from edge.config import Config
from edge.recognition import Engine
from edge.store.api_keys import ApiRole
from edge.types import SAMPLE_RATE, FloatArray, Profile, ProfileKind
from edge.web.callers import HEADER
from edge.web.context import WebContext
from tests.unit.voices import enrolled, quiet, samples_of
from tests.unit.web import client_of, close_context, key_header, make_context

NOBODY = "00000000-0000-0000-0000-000000000000"
UNKNOWN = "49a36324-fc4b-4387-aa06-090cfbf0064f"
V1 = "/spid/v1.0"
API = "api-version=2021-09-05"


def wav(samples: FloatArray, rate: int = SAMPLE_RATE, channels: int = 1, width: int = 2) -> bytes:
    """A WAV file with these samples."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(channels)
        writer.setsampwidth(width)
        writer.setframerate(rate)
        whole = np.clip(np.rint(samples * 32767), -32768, 32767).astype("<i2")
        writer.writeframes(whole.tobytes())
    return file.getvalue()


@functools.cache
def said(name: str) -> bytes:
    """A recording of the demo as WAV."""
    return wav(samples_of(name))


@functools.cache
def silence(seconds: float) -> bytes:
    """Room tone as WAV."""
    return wav(quiet(seconds))


@functools.cache
def noisy(name: str) -> bytes:
    """A recording of the demo in much noise, as WAV."""
    samples = samples_of(name)
    noise = 0.05 * np.random.default_rng(5).standard_normal(len(samples)).astype(np.float32)
    return wav(samples + noise)


_numbers = itertools.count()


class Cloud:
    """A server with one client of it, whose answers are held against the OpenAPI documents."""

    def __init__(self, folder: Path, engine: Engine, config: Config | None = None) -> None:
        self.context: WebContext = make_context(folder, engine, config)
        self.client: TestClient = client_of(self.context)
        self.client.headers.update(key_header(self.context))
        self.client.event_hooks["response"].append(hold_against_document)

    def key(self, role: ApiRole) -> dict[str, str]:
        """The header with a new key of a role."""
        text = self.context.keys.new(f"another {next(_numbers)}", role)
        return {HEADER: text}

    def at_the_door(self, profile: Profile, name: str, phrase: str = "") -> Profile:
        """A profile as if it had been enrolled at the door."""
        return self.context.store.create(
            name,
            profile.kind,
            phrase,
            required=profile.required,
            samples=profile.samples,
            speaker_model=profile.speaker_model,
            phrase_model=profile.phrase_model,
        )

    def operation(self, response: httpx.Response) -> dict[str, Any]:
        """What came of an operation that was begun."""
        assert response.status_code == 202, response.text
        assert response.content == b""
        while True:
            answer: dict[str, Any] = self.client.get(response.headers["Operation-Location"]).json()
            if answer["status"] in ("failed", "succeeded"):
                return answer
            time.sleep(0.01)

    def events(self) -> list[tuple[str, dict[str, Any]]]:
        """What is in the audit trail: kind and detail of each entry."""
        self.context.trail.flush()
        return [(entry.kind, json.loads(entry.detail)) for entry in self.context.trail.entries()]


@contextmanager
def serving(folder: Path, engine: Engine, config: Config | None = None) -> Iterator[Cloud]:
    """A server in a folder of its own."""
    cloud = Cloud(folder, engine, config)
    try:
        with cloud.client:
            yield cloud
    finally:
        close_context(cloud.context)


@functools.cache
def ada_speaking(engine: Engine) -> Profile:
    """Ada of the demo, known by free speech."""
    return enrolled(engine, "ada", ProfileKind.VOICE)


@functools.cache
def robin_speaking(engine: Engine) -> Profile:
    """Robin of the demo, known by free speech."""
    return enrolled(engine, "robin", ProfileKind.VOICE)


def hold_against_document(response: httpx.Response) -> None:
    """Fail for an answer that its version's document does not have."""
    path = response.request.url.path
    for served in SERVED:
        if not path.lower().startswith(f"{served.route.prefix}/"):
            continue
        below = path[len(served.route.prefix) :].rstrip("/")
        document = _document(served.name)
        for call in served.route.calls:
            if call.method == response.request.method and call.pattern.fullmatch(below):
                answers = document["paths"][call.path][call.method.lower()]["responses"]
                _hold(document, answers[str(response.status_code)], response)
                return


def _hold(document: dict[str, Any], answer: dict[str, Any], response: httpx.Response) -> None:
    if "$ref" in answer:
        answer = document["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    response.read()
    for name in answer.get("headers", {}):
        assert name in response.headers
    if "content" not in answer:
        assert response.content == b""
        return
    assert response.headers["content-type"] == "application/json; charset=utf-8"
    schema = answer["content"]["application/json"]["schema"]
    jsonschema.validate(
        response.json(),
        {**schema, "components": document["components"]},
        jsonschema.Draft202012Validator,
        format_checker=jsonschema.FormatChecker(),
    )


@functools.cache
def _document(name: str) -> dict[str, Any]:
    return next(served.document() for served in SERVED if served.name == name)
