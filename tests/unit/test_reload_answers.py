"""Answers to commands that came together with a reload: who sends them, and what they say."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge.cli import run
from edge.cli.main import main
from edge.config import Config
from edge.errors import EnvironmentFault, StoreError
from edge.mqtt.link import Incoming
from edge.private_files import hold
from edge.service import build
from edge.service.context import Handover, RunControl
from edge.service.door import Door
from tests.unit.commands import Capture

RELOADED = {
    "id": "1", "command": "reload", "ok": True, "reason": "done",
    "detail": {"message": "reloading the configuration"},
}  # fmt: skip
DELETED = {"id": "2", "command": "delete", "ok": True, "reason": "done", "detail": {"seq": 1}}
MESSAGE = Incoming("command", b"left", retained=False)
REFUSED = {"id": "3", "ok": False, "reason": "repeated"}


def test_only_the_reload_has_failed_when_the_former_configuration_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: list[tuple[Any, Any]] = []
    left = Handover(answers=[RELOADED, DELETED, REFUSED], messages=[MESSAGE])

    def made(_: object, config: Any, before: Mapping[str, Handover] | None) -> Any:
        given.append((config, before))
        if config == "new":
            raise EnvironmentFault("no models")
        successor = "new" if len(given) == 1 else None
        control = SimpleNamespace(successor=successor)
        return SimpleNamespace(control=control, run=lambda: None, hand_over=lambda: {"red": left})

    monkeypatch.setattr(run._Runner, "_build", made)
    monkeypatch.setattr(run._Runner, "_read", lambda _: "former")
    run._Runner(argparse.Namespace(input=None), None).run()
    assert given[:2] == [("former", None), ("new", {"red": left})]
    failed = {"id": "1", "command": "reload", "ok": False, "reason": "failed"}
    assert given[2] == ("former", {"red": replace(left, answers=[failed, DELETED, REFUSED])})


@pytest.mark.parametrize("stopped", [True, False])
def test_where_no_service_follows_the_device_is_offline(
    monkeypatch: pytest.MonkeyPatch, stopped: bool
) -> None:
    closed: list[str] = []
    publisher: Any = SimpleNamespace(close=lambda: closed.append("offline"))
    runner = run._Runner(argparse.Namespace(input=None), None)
    built: list[Any] = []

    def made(_: object, config: Any, __: Mapping[str, Handover] | None) -> Any:
        built.append(config)
        if len(built) > 1:  # neither the new configuration nor the former one, now
            raise EnvironmentFault("no models")
        return SimpleNamespace(
            control=SimpleNamespace(successor="new", stop=lambda: None),
            run=runner.stop if stopped else lambda: None,
            hand_over=lambda: {"red": Handover(publisher=publisher)},
        )

    monkeypatch.setattr(run._Runner, "_build", made)
    monkeypatch.setattr(run._Runner, "_read", lambda _: "former")
    if stopped:  # while it reloads
        runner.run()
    else:
        with pytest.raises(EnvironmentFault):
            runner.run()
    assert closed == ["offline"]


class Commands:
    """A command queue that writes down what it receives."""

    def __init__(self) -> None:
        self.received: list[Incoming] = []

    def receive(self, message: Incoming) -> None:
        self.received.append(message)


@pytest.mark.parametrize("same", [True, False])
def test_what_was_left_is_received_before_what_came_in_since(same: bool) -> None:
    commands = Commands()
    steps: list[str] = []
    since = Incoming("command", b"since", retained=False)

    def publisher(name: str) -> Any:
        return SimpleNamespace(
            close=lambda: steps.append(f"{name} closed"),
            take_held=lambda: [since],
            start=lambda: steps.append(f"{name} started, {len(commands.received)} received"),
        )

    before = publisher("old")
    now = before if same else publisher("new")
    context: Any = SimpleNamespace(
        config=Config(), control=RunControl(), publisher=now, profiles=None, listening=None
    )
    parts: Any = SimpleNamespace(
        context=context, commands=commands, observers=SimpleNamespace(blocks=None, decisions=None)
    )
    source: Any = object()
    Door(parts, source, Handover(publisher=before, messages=[MESSAGE])).take_over()
    if same:
        assert steps == ["old started, 1 received"]
        assert commands.received == [MESSAGE]
    else:
        assert steps == ["old closed", "new started, 2 received"]
        assert commands.received == [MESSAGE, since]


@pytest.mark.parametrize(
    ("changed", "at_once"),
    [
        (lambda config: config, False),
        (lambda config: replace(config, log_level="debug"), False),
        (lambda config: replace(config, device=replace(config.device, name="Red")), False),
        (lambda config: replace(config, mqtt=replace(config.mqtt, keepalive_s=60)), False),
        (lambda config: replace(config, mqtt=replace(config.mqtt, port=1884)), True),
        (lambda config: replace(config, mqtt=replace(config.mqtt, host="other")), True),
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
        control=SimpleNamespace(successor=changed(Config())),
        answers=[],
        messages=SimpleNamespace(command_result=sent.append),
    )
    build._answer(context, RELOADED)
    assert (sent, context.answers) == (([RELOADED], []) if at_once else ([], [RELOADED]))


def test_a_second_service_with_the_same_state_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(build, "MqttPublisher", lambda *_: pytest.fail("it is refused at once"))
    state = tmp_path / "state"
    config = tmp_path / "config.yaml"
    config.write_text(f"state_directory: {state}\n")
    state.mkdir()
    held = hold(state / "run.lock")
    assert main(["run", "--config", str(config), "--input", "x.wav"]) == 3
    os.close(held)
    assert (
        f"{state}: another 'edge-voice run' is using it; stop that one" in capsys.readouterr().err
    )


@pytest.mark.parametrize("error", [OSError("read-only"), StoreError("a link")])
def test_a_state_that_cannot_be_held_keeps_no_door_shut(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception
) -> None:
    def fail(_: Path) -> int:
        raise error

    monkeypatch.setattr(run, "hold", fail)
    runner = run._Runner(argparse.Namespace(input=None), None)
    runner._hold(tmp_path)
    monkeypatch.setattr(run, "hold", lambda _: pytest.fail("held already"))
    runner._hold(tmp_path)
