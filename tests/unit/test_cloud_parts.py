"""Parts of the cloud's API: operations, scores, moments, its documents."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from edge.cloud_api import operations as module
from edge.cloud_api.faults import Fault
from edge.cloud_api.openapi import SERVED, Served
from edge.cloud_api.operations import Operation, Operations
from edge.cloud_api.recognition import score_of
from edge.cloud_api.spelling import ticks
from edge.recognition import Engine
from tests.unit.cloud import V1, serving
from tools.make_openapi import file_of, text_of

EVERY = pytest.mark.parametrize("served", SERVED, ids=lambda served: served.name)


@pytest.mark.parametrize(
    ("margin", "accepted", "score"),
    [
        (0.0, True, 0.5),
        (1e-9, True, 0.5),
        (-1e-9, True, 0.5),
        (-1e-9, False, 0.4999),
        (1e-9, False, 0.4999),
        (math.log(9.0), True, 0.9),
        (-math.log(9.0), False, 0.1),
        (1e9, True, 1.0),
        (-1e9, False, 0.0),
    ],
)
def test_a_score_is_the_probability_at_the_limits_odds(
    margin: float, accepted: bool, score: float
) -> None:
    assert score_of(margin, accepted=accepted) == score


def test_moments_of_operations_have_seven_digits() -> None:
    assert ticks(1_580_428_079.8780883) == "2020-01-30T23:47:59.8780882Z"
    assert ticks(0.0) == "1970-01-01T00:00:00.0000000Z"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def finish(operations: Operations, operation: Operation, fault: Fault | None = None) -> None:
    async def work() -> dict[str, Any]:
        if fault is not None:
            raise fault
        return {"speechTime": 1.0}

    async def carry_out() -> None:
        await operations.carry_out(operation, work())

    asyncio.run(carry_out())


def test_the_states_of_an_operation() -> None:
    clock = Clock()
    operations = Operations(clock)
    operation = operations.begin("a key")
    assert (operation.status, operation.over) == ("notstarted", False)
    clock.now += 5.0
    finish(operations, operation)
    found = operations.get(operation.id, "a key")
    assert (found.status, found.result) == ("succeeded", {"speechTime": 1.0})
    assert (found.created_at, found.changed_at) == (1000.0, 1005.0)
    other = operations.begin("a key")
    finish(operations, other, Fault(400, "too_short", "Audio too short"))
    assert (other.status, other.over, other.result) == ("failed", True, None)


def test_while_it_goes_on_an_operation_is_running() -> None:
    operations = Operations()
    seen: list[str] = []

    async def carry_out() -> None:
        operation = operations.begin("a key")

        async def work() -> dict[str, Any]:
            seen.append(operation.status)
            return {}

        await operations.carry_out(operation, work())

    asyncio.run(carry_out())
    assert seen == ["running"]


def test_operations_are_forgotten_after_a_day() -> None:
    clock = Clock()
    operations = Operations(clock)
    operation = operations.begin("a key")
    clock.now += 24 * 3600.0
    assert operations.get(operation.id, "a key") is operation
    clock.now += 1.0
    with pytest.raises(Fault, match="no operation of this key"):
        operations.get(operation.id, "a key")


def test_operations_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 10)
    operations = Operations()
    mine = [operations.begin("mine") for _ in range(8)]
    with pytest.raises(Fault, match="wait until an operation is over") as refused:
        operations.begin("mine")
    assert (refused.value.status, refused.value.message) == (429, "Rate limit is exceeded")
    operations.begin("other")
    operations.begin("other")
    with pytest.raises(Fault):
        operations.begin("third")
    finish(operations, mine[3])
    operations.begin("third")
    with pytest.raises(Fault, match="no operation of this key"):
        operations.get(mine[3].id, "mine")
    assert operations.get(mine[0].id, "mine") is mine[0]


@EVERY
def test_the_documents_in_the_repository_are_current(served: Served) -> None:
    assert file_of(served).read_text(encoding="utf-8") == text_of(served)


@EVERY
def test_the_documents_are_valid(served: Served) -> None:
    validator = pytest.importorskip("openapi_spec_validator")
    validator.validate(served.document())


@EVERY
def test_the_schemas_in_the_documents_are_valid_and_used(served: Served) -> None:
    document = served.document()
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    text = str(document)
    for name in document["components"]["schemas"]:
        assert f"'#/components/schemas/{name}'" in text
    names = [call.name for call in served.route.calls]
    assert len(set(names)) == len(names)


@EVERY
def test_the_documents_are_served_without_a_key(
    tmp_path: Path, engine: Engine, served: Served
) -> None:
    with serving(tmp_path / "state", engine) as cloud:
        del cloud.client.headers["Ocp-Apim-Subscription-Key"]
        answer = cloud.client.get(served.path)
        assert answer.status_code == 200
        assert answer.json() == served.document()
        assert cloud.client.get(f"{V1}/verificationProfiles").status_code == 401
