"""The README and the examples in the docs are true: they run, and print what they promise."""

from __future__ import annotations

import contextlib
import io
import json
import re
from dataclasses import replace

from edge.access.decider import Decider
from edge.recognition import Engine
from edge.types import AccessDecision, Confidence, Outcome, Quality, ReasonCode
from tests.conftest import REPOSITORY
from tests.unit.voices import enrolled, recording
from tools.topics import read_schema

DECISIONS = (REPOSITORY / "docs" / "decisions.md").read_text(encoding="utf-8")
PYTHON = (REPOSITORY / "docs" / "python.md").read_text(encoding="utf-8")


def block(page: str, language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)
    return str(found)


def test_the_python_example_runs_and_prints_what_it_says() -> None:
    example = block(PYTHON, "python")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(example, "python.md", "exec"), {"__name__": "readme"})  # noqa: S102
    promised = re.findall(r"print\(.*\)  # (.+)", example)
    assert printed.getvalue().splitlines() == promised


def test_the_example_payload_is_a_decision() -> None:
    decision = json.loads(block(DECISIONS, "json"))
    assert decision["decision"] == "granted"
    assert decision["reason"] == ReasonCode.RECOGNIZED.value
    plain = AccessDecision(
        "", 0.0, "", Outcome.DENIED, ReasonCode.NO_MATCH, Confidence.HIGH,
        quality=Quality(0.0, 0.0, 0.0, 0.0, 0.0),
    )  # fmt: skip
    assert list(decision) == list(replace(plain, counter=1, issued_at=0.0).as_dict())
    assert list(decision["quality"]) == list(plain.as_dict()["quality"])


def test_the_example_payload_has_the_scores_of_a_decision() -> None:
    scores = read_schema("details")["examples"][0]["scores"]
    engine = Engine.open()
    ada = enrolled(engine, "ada")
    decision = Decider(engine, engine.config).decide(recording("ada_right_phrase"), [ada]).decision
    found = decision.as_dict()["scores"]
    assert list(scores) == list(found)
    assert scores["joint_threshold"] == found["joint_threshold"]
    for name in ("joint", "voice", "phrase"):
        assert scores[name] >= scores[f"{name}_threshold"]


def test_decisions_have_every_reason() -> None:
    for reason in ReasonCode:
        assert f"`{reason.value}`" in DECISIONS
