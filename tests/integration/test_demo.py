"""`edge-voice demo` as a person runs it: real models, a real service, a real broker."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from edge.demo.show import Show
from edge.demo.story import load_play, run_recorded
from tests.integration.waiting import PATIENCE

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("amqtt") is None, reason="amqtt is not installed"
)


@pytest.mark.slow
def test_every_decision_is_as_expected() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edge.cli", "demo", "--json"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    outcome = json.loads(done.stdout)
    assert (outcome["passed"], outcome["failed"], outcome["unexpected"]) == (6, 0, 0)
    decisions = [result["decision"] for result in outcome["results"]]
    assert [decision["decision"] for decision in decisions].count("granted") == 2
    assert len({decision["id"] for decision in decisions}) == 6
    # Most of them are denials, and the wait for silence is a part of those.
    assert outcome["median_after_speech_s"] >= outcome["end_silence_s"] - 0.1


def test_a_decision_that_is_not_as_expected_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.demo.story._ANSWER_TIMEOUT_S", PATIENCE)
    play = load_play()
    stranger = next(scene for scene in play.scenes if scene.reason == "unknown_speaker")
    welcome = replace(stranger, decision="granted", reason="recognized", name="Ada")
    with (tmp_path / "screen.txt").open("w") as screen:
        show = Show(Console(file=screen, width=100))
        outcome = run_recorded(tmp_path, show, replace(play, scenes=(welcome,)))
    assert not outcome.as_expected
    assert "0 of 1 decisions as expected" in str(outcome)
    said = (tmp_path / "screen.txt").read_text()
    assert "denied, unknown_speaker" in said
    assert "EXPECTED granted, recognized" in said
