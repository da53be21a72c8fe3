"""Answers to commands that came together with a reload: who sends them, and what they say."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge.cli import run
from edge.config import Config
from edge.errors import EnvironmentFault
from edge.service import build

RELOADED = {
    "id": "1", "command": "reload", "ok": True, "reason": "done",
    "detail": {"message": "reloading the configuration"},
}  # fmt: skip
DELETED = {"id": "2", "command": "delete", "ok": True, "reason": "done", "detail": {"seq": 1}}
REFUSED = {"id": "3", "ok": False, "reason": "repeated"}


def test_only_the_reload_has_failed_when_the_former_configuration_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: list[tuple[Any, Sequence[Mapping[str, Any]]]] = []

    def made(_: object, config: Any, _on: bool, answers: Sequence[Mapping[str, Any]]) -> Any:
        given.append((config, answers))
        if config == "new":
            raise EnvironmentFault("no models")
        successor = "new" if len(given) == 1 else None
        control = SimpleNamespace(successor=successor, answers=[RELOADED, DELETED, REFUSED])
        return SimpleNamespace(
            control=control, listening=SimpleNamespace(on=True), run=lambda: None
        )

    monkeypatch.setattr(run._Runner, "_build", made)
    monkeypatch.setattr(run._Runner, "_read", lambda _: "former")
    run._Runner(argparse.Namespace(input=None), None).run()
    assert given[:2] == [("former", []), ("new", [RELOADED, DELETED, REFUSED])]
    failed = {"id": "1", "command": "reload", "ok": False, "reason": "failed"}
    assert given[2] == ("former", [failed, DELETED, REFUSED])


@pytest.mark.parametrize(
    ("changed", "at_once"),
    [
        (lambda config: config, False),
        (lambda config: replace(config, log_level="debug"), False),
        (lambda config: replace(config, device=replace(config.device, name="Red")), False),
        (lambda config: replace(config, device=replace(config.device, id="red")), True),
        (lambda config: replace(config, mqtt=replace(config.mqtt, base_topic="home")), True),
        (lambda config: replace(config, mqtt=replace(config.mqtt, enabled=False)), True),
        (lambda config: replace(config, signing=replace(config.signing, key_file=Path("k"))), True),
    ],
)
def test_who_answers_where_another_service_would_not_be_heard(
    changed: Callable[[Config], Config], at_once: bool
) -> None:
    sent: list[Mapping[str, Any]] = []
    context: Any = SimpleNamespace(
        config=Config(),
        control=SimpleNamespace(successor=changed(Config()), answers=[]),
        messages=SimpleNamespace(command_result=sent.append),
    )
    build._answer(context, RELOADED)
    assert (sent, context.control.answers) == (([RELOADED], []) if at_once else ([], [RELOADED]))
