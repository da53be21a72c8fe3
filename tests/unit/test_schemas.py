"""The schemas of the topics: strict, in step with the code, and able to say no."""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import jsonschema
import pytest

from edge.config import CommandsConfig, Config, IdentificationConfig, UnsignedConfig
from edge.crypto.signing import ALGORITHMS, PrivateKey
from edge.mqtt import OFFLINE, command_queue, commands
from edge.mqtt.commands import COMMANDS, command_message
from edge.mqtt.discovery import (
    EVENT_TYPES,
    UTTERANCE_TYPES,
    announcement,
    announcement_of_people,
)
from edge.service import command_handlers, enrollment
from edge.types import AccessDecision, Confidence, Outcome, ProfileKind, Quality, ReasonCode
from tests.contract import complaint, complaint_about, schema_of
from tools import make_asyncapi
from tools.topics import REPOSITORY, TOPICS, UNSIGNED, read_schema, schema_names

KEY = PrivateKey(bytes(range(32)))
SENT = {"device": "hall", "counter": 1, "issued_at": "2026-03-01T12:00:00.000Z"}
ENDING = {"expires_at": "2026-03-01T12:00:05.000Z"}
STATES = ["started", "accepted", "refused", "unconfirmed", "complete", "canceled", "timed_out",
          "failed"]  # fmt: skip
ENUMS = {
    "decision/decision": [each.value for each in Outcome],
    "decision/reason": [each.value for each in ReasonCode],
    "decision/confidence": [each.value for each in Confidence],
    "details/confidence": [each.value for each in Confidence],
    "utterance/confidence": [each.value for each in Confidence],
    "speaker/confidence": [*(each.value for each in Confidence), None],
    "common/algorithm": list(ALGORITHMS),
    "command/command": list(COMMANDS),
    "command-result/command": list(COMMANDS),
    "command-result/kind": [each.value for each in ProfileKind],
    "discovery/items": [*EVENT_TYPES, *UTTERANCE_TYPES],
    "enrollment/state": STATES,
    "status/state": STATES,
}
"""Every enumeration in the schemas, and what it is in the code."""


TIME = "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{1,6})?Z$"
UNANSWERED = {"retained", "too_many", "no_person"}
"""Why a message is refused that nobody waits for an answer to: kept by the broker, or unsigned."""


def reasons_in_the_code() -> set[str]:
    """What the commands' code raises or returns as a reason."""
    found: set[str] = set()
    for module in (commands, command_queue, enrollment, command_handlers):
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                if node.func.id in ("CommandRefused", "_refusal", "CommandFailed") and node.args:
                    found |= words(node.args[0])
            elif isinstance(node, ast.Return) and module in (commands, command_queue):
                found |= words(node.value)
    return found


def words(value: ast.expr | None) -> set[str]:
    """The reasons that an expression may be: a text, one of two, or the first of several."""
    if isinstance(value, ast.IfExp):
        return words(value.body) | words(value.orelse)
    if isinstance(value, ast.Tuple):
        return words(value.elts[0])
    if isinstance(value, ast.Constant) and isinstance(value.value, str) and value.value:
        return {value.value}
    return set()


def made(**changes: Any) -> AccessDecision:
    plain = AccessDecision(
        id="c9df935d-454b-4a40-b7f7-3ba0d1e453f1",
        time=1772366400.0,
        device="hall",
        outcome=Outcome.GRANTED,
        reason=ReasonCode.RECOGNIZED,
        confidence=Confidence.HIGH,
        profile_id="8bcf84cc-405d-47a6-9747-388267218030",
        name="Ada",
        quality=Quality(-23.3, -62.1, 38.8, 0.0, 2.4),
        counter=1,
        issued_at=1772366400.1,
    )
    return replace(plain, **changes)


def parts(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Everything within a schema, with the way to it."""
    yield path, value
    if isinstance(value, dict):
        for name, each in value.items():
            yield from parts(each, (*path, name))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from parts(each, (*path, str(index)))


@pytest.mark.parametrize("name", schema_names())
def test_is_a_schema_and_says_what_it_is_for(name: str) -> None:
    content = read_schema(name)
    jsonschema.Draft202012Validator.check_schema(content)
    assert content["$id"] == f"{name}.schema.json"
    assert content["title"]
    assert content["description"]
    for path, value in parts(content):
        asked = {"if", "then", "else", "allOf", "examples"} & set(path)
        if not isinstance(value, dict) or asked:
            continue
        if "properties" in value:
            assert value["additionalProperties"] is False, path
        if path and path[-2:-1] == ("properties",) and "$ref" not in value:
            assert value["description"], path
            if re.search(r"_(dbfs|db|s|ms)$", path[-1]) and value.get("type") == "number":
                assert re.search(r"\bdB\b|second|milliseconds", value["description"]), path
            elif value.get("type") == "number":
                assert not re.search(r"seconds?\.?$", value["description"]), path
            if re.search(r"(^|_)(time|at|until)$", path[-1]):
                assert value["pattern"] == TIME, path


@pytest.mark.parametrize("name", sorted({*schema_names()} - {"common"}))
def test_examples_keep_to_their_schema(name: str) -> None:
    examples = read_schema(name)["examples"]
    assert examples
    for example in examples:
        assert complaint(name, example) is None


def test_every_enumeration_is_that_of_the_code() -> None:
    found = {}
    for name in schema_names():
        for path, value in parts(read_schema(name)):
            if path and path[-1] == "enum" and not {"if", "then", "else"} & set(path):
                found["/".join((name, *path[-2:-1]))] = value
    assert found.pop("set-listening") == found.pop("set-identification") == ["ON", "OFF"]
    assert set(found.pop("command-result/reason")) == reasons_in_the_code() - UNANSWERED
    assert found.pop("status/microphone") == ["listening", "lost"]
    assert found == ENUMS


def test_the_states_of_an_enrollment_are_those_that_are_said() -> None:
    code = inspect.getsource(enrollment)
    assert set(re.findall(r"_(?:report|end)\(session, \"(\w+)\"", code)) == set(STATES)


def test_details_have_schemas() -> None:
    rules = read_schema("command-result")["allOf"][2:]
    names = [rule["if"]["properties"]["command"] for rule in rules]
    told = [name for each in names for name in each.get("enum", [each.get("const")])]
    assert sorted(told) == sorted(set(COMMANDS) - {"ping"})


def test_every_unsigned_command_has_a_schema() -> None:
    settings = {each.name for each in fields(UnsignedConfig)}
    assert set(UNSIGNED) == settings


def test_every_schema_is_that_of_a_topic() -> None:
    assert {topic.schema for topic in TOPICS} == {*schema_names()} - {"common"}


def test_the_asyncapi_document_is_current() -> None:
    assert make_asyncapi.FILE.read_text("utf-8") == make_asyncapi.text()


def test_every_reference_of_the_asyncapi_document_leads_somewhere() -> None:
    document = make_asyncapi.document()
    for path, value in parts(document):
        if path and path[-1] == "$ref":
            target: Any = document
            for name in value[2:].split("/"):
                target = target[name]
            assert target, value
    for topic in TOPICS:
        for name in re.findall(r"{(\w+)}", topic.address):
            assert any(name in each["parameters"] for each in document["channels"].values())


def test_topics_have_schemas() -> None:
    assert schema_of("edge-voice/hall/decision") == "decision"
    assert schema_of("my/house/hall/command/result") == "command-result"
    assert schema_of("homeassistant/sensor/edge_voice_hall/person/config") == "discovery"
    # Home Assistant's own birth, and what others say to the device.
    for topic in ("homeassistant/status", "edge-voice/hall/command", "edge-voice/hall/set/enroll"):
        assert schema_of(topic) is None


@pytest.mark.parametrize(
    "decision",
    [
        made(),
        made(quality=None),
        made(phrase="open the door", scores={"joint": 1.5}).for_everybody(),
        made(outcome=Outcome.DENIED, reason=ReasonCode.LOCKED_OUT, profile_id=None, name=None),
        made(signature={"algorithm": "ed25519", "key_id": "3b1c", "value": "YWJj"}),
    ],
)
def test_decisions_keep_to_their_schema(decision: AccessDecision) -> None:
    assert complaint_about("edge-voice/hall/decision", decision.to_json()) is None


def test_details_keep_to_their_schema() -> None:
    decision = made(phrase="open the door", scores={"joint": 1.5, "answer_voice": 2.0})
    assert complaint_about("edge-voice/hall/details/ada", json.dumps(decision.details())) is None
    pitched = replace(decision, scores={"pitch": 1.0}).details()
    assert "pitch" in str(complaint("details", pitched))


def test_the_documented_decision_keeps_to_its_schema() -> None:
    readme = (REPOSITORY / "docs" / "decisions.md").read_text("utf-8")
    (example,) = re.findall(r"```json\n(.*?)```", readme, re.DOTALL)
    assert complaint("decision", json.loads(example)) is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"reason": "no_match"}, "recognized"),
        ({"decision": "denied"}, "reason"),
        ({"decision": "maybe"}, "decision"),
        ({"profile_id": None}, "profile_id"),
        ({"id": "7"}, "id"),
        ({"time": "2026-03-01 12:00"}, "time"),
        ({"counter": 1.5}, "counter"),
        ({"counter": 2**53}, "counter"),
        ({"device": "a/b"}, "device"),
        ({"lifetime_s": 0}, "lifetime_s"),
        ({"scores": {"joint": 1.0}}, "joint"),
        ({"phrase": "open the door"}, "phrase"),
        ({"quality": {"level_dbfs": -20.0}}, "quality"),
        ({"embedding": [0.1]}, "embedding"),
        ({"signature": {"algorithm": "none", "key_id": "x", "value": "YQ=="}}, "none"),
    ],
)
def test_other_decisions_do_not(change: dict[str, Any], said: str) -> None:
    wrong = complaint("decision", {**made().as_dict(), **change})
    assert wrong is not None
    assert said in wrong


def test_a_decision_that_lacks_a_member_does_not() -> None:
    whole = made().as_dict()
    for name in whole:
        assert complaint("decision", {key: whole[key] for key in whole if key != name})


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_as_the_product_sends_it(name: str) -> None:
    people = dict.fromkeys(COMMANDS[name].arguments, "Ada")
    message = command_message(name, people, "hall", KEY)
    assert complaint("command", message) is None
    assert complaint("command", {**message, "arguments": {**people, "more": 1}})
    for argument in people:
        fewer = {key: people[key] for key in people if key != argument}
        assert complaint("command", {**message, "arguments": fewer})
        assert complaint("command", {**message, "arguments": {**people, argument: ""}})
    for argument in COMMANDS[name].optional:
        assert complaint("command", {**message, "arguments": {**people, argument: "x"}}) is None
        assert complaint("command", {**message, "arguments": {**people, argument: 1}})
    assert complaint("command", {**message, "counter": 0})
    assert complaint("command", {**message, "id": "a b"})
    assert complaint("command", {key: message[key] for key in message if key != "signature"})


def test_status() -> None:
    there: dict[str, Any] = {"state": "online", "device": "hall", "name": "Hall", "version": "1"}
    there["dropped_decisions"] = 0
    topic = "edge-voice/hall/status"
    assert complaint_about(topic, OFFLINE) is None
    assert complaint_about(topic, json.dumps(there)) is None
    assert complaint("status", {**there, "state": "offline"})
    assert complaint("status", {**there, "microphone": "deaf"})
    assert complaint("status", {**there, "problem": None})
    assert complaint("status", {"state": "online"})
    assert "no JSON" in str(complaint_about(topic, "online"))


def test_a_challenge_has_digits_or_is_over() -> None:
    identity = made().id
    whole = {**SENT, **ENDING}
    assert complaint("challenge", {"id": identity, "digits": "4172", **whole}) is None
    assert complaint("challenge", {"id": None, "digits": None, **whole}) is None
    assert complaint("challenge", {"id": identity, "digits": None, **whole})
    assert complaint("challenge", {"id": None, "digits": "4172", **whole})
    assert complaint("challenge", {"id": identity, "digits": "4 1 7 2", **whole})


def test_a_refused_repetition_says_why() -> None:
    step: dict[str, Any] = {
        "id": made().id,
        "state": "refused",
        "person": "Ada",
        "profile_id": None,
        "done": 1,
    }
    step.update(required=3, reason="too_quiet", message="once more", **SENT, **ENDING)
    assert complaint("enrollment", step) is None
    assert complaint("enrollment", {**step, "reason": None})
    assert complaint("enrollment", {**step, "state": "accepted", "reason": None}) is None
    assert complaint("enrollment", {**step, "state": "half"})


@pytest.mark.parametrize("allowed", [False, True])
def test_what_home_assistant_is_told_keeps_to_its_schema(allowed: bool) -> None:
    unsigned = UnsignedConfig(**{each.name: allowed for each in fields(UnsignedConfig)})
    config = replace(
        Config(),
        identification=IdentificationConfig(enabled=allowed),
        commands=CommandsConfig(unsigned=unsigned),
    )
    told = announcement(config)
    assert told
    people = [("8bcf84cc-405d-47a6-9747-388267218030", "Ada"), ("0f8fad5b", "山田")]
    told.update(announcement_of_people(config, people))
    for topic, text in told.items():
        assert schema_of(topic) == "discovery"
        assert complaint_about(topic, text) is None
    assert allowed == all(told.values())


def test_an_answer_is_done_or_says_why_not() -> None:
    answer = {"id": "1", "command": "ping", "ok": True, "reason": "done", **SENT, **ENDING}
    assert complaint("command-result", answer) is None
    assert complaint("command-result", {**answer, "reason": "late"})
    assert complaint("command-result", {**answer, "ok": False})
    assert complaint("command-result", {**answer, "ok": False, "reason": "late"}) is None
    refused = {key: answer[key] for key in answer if key != "command"}
    assert complaint("command-result", refused)
    assert complaint("command-result", {**refused, "ok": False, "reason": "unknown_key"}) is None


def test_the_other_messages() -> None:
    identity = made().id
    assert complaint("duress", {"decision": identity, "profile_id": identity, **SENT}) is None
    assert complaint("duress", {"decision": identity, **SENT})
    assert complaint("sound", {"level_dbfs": -43.2, "peak_dbfs": -20.1}) is None
    assert complaint("sound", {"level_dbfs": "-43.2", "peak_dbfs": -20.1})
    assert complaint("set-listening", "ON") is None
    assert complaint("set-listening", "on")
    assert complaint("set-enroll", "PRESS") is None
    assert complaint("set-enroll_person", "A" * 65)
