"""Answers to commands that came together with a reload, where the new configuration fails."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from edge.cli import run
from edge.errors import EnvironmentFault

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

    def build(_: object, config: Any, _on: bool, answers: Sequence[Mapping[str, Any]]) -> Any:
        given.append((config, answers))
        if config == "new":
            raise EnvironmentFault("no models")
        successor = "new" if len(given) == 1 else None
        control = SimpleNamespace(successor=successor, answers=[RELOADED, DELETED, REFUSED])
        return SimpleNamespace(
            control=control, listening=SimpleNamespace(on=True), run=lambda: None
        )

    monkeypatch.setattr(run._Runner, "_build", build)
    monkeypatch.setattr(run._Runner, "_read", lambda _: "former")
    run._Runner(argparse.Namespace(input=None), None).run()
    assert given[:2] == [("former", []), ("new", [RELOADED, DELETED, REFUSED])]
    failed = {"id": "1", "command": "reload", "ok": False, "reason": "failed"}
    assert given[2] == ("former", [failed, DELETED, REFUSED])
