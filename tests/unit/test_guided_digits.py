"""Digits at the microphone: what is said, and what is kept."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from edge.cli.enroll_digits import summary_line
from edge.cli.main import main
from edge.recognition import Engine
from edge.store import open_store
from edge.types import FloatArray, Profile, ProfileKind
from tests.integration.scripted_microphone import Part, ScriptedMicrophone, hear_by_script
from tests.unit.commands import Capture
from tests.unit.made_digits import made_rounds
from tests.unit.spoken_digits import (
    ADA,
    PACES,
    ROBIN,
    WORDS,
    needs_flite,
    person,
    recording_of,
)

pytestmark = needs_flite


@pytest.fixture(scope="module")
def ada(engine: Engine) -> Profile:
    return person(engine, ADA)


Say = Callable[..., tuple[int, str]]


@pytest.fixture
def say(
    engine: Engine, ada: Profile, config: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: Capture,
) -> Say:  # fmt: skip
    """Runs the command with what is said; digits are asked for from 0 to 9."""
    hear_by_script(monkeypatch)
    monkeypatch.setattr(Engine, "open", lambda _config: engine)
    monkeypatch.setattr(secrets.SystemRandom, "sample", lambda _self, digits, _count: list(digits))
    with open_store(tmp_path / "state") as store:
        store.create(
            "Ada",
            ProfileKind.PHRASE,
            required=3,
            samples=ada.samples,
            speaker_model=ada.speaker_model,
            phrase_model=ada.phrase_model,
        )

    def said(*parts: FloatArray | Part, options: Sequence[str] = ()) -> tuple[int, str]:
        monkeypatch.setattr(ScriptedMicrophone, "script", [2.0, *parts])
        capsys.readouterr()
        code = main(["enroll", "Ada", "--digits", "--wait", "6", *options])
        return code, capsys.readouterr().err

    return said


def _digits(numbers: Sequence[int], voice: str, pace: float) -> list[FloatArray]:
    return [recording_of([WORDS[number]], voice, pace) for number in numbers]


def test_what_is_kept_when_it_is_broken_off(say: Say) -> None:
    stop = KeyboardInterrupt()
    code, shown = say(*_digits([0, 1], ADA, PACES[0]), stop)
    assert code == 130
    assert "The room is quiet enough (-70 dB)." in shown
    assert "Ada, say each digit as it appears, on its own, in your language." in shown
    assert "Say   0   (round 1 of 3, digit 1 of 10)" in shown
    assert "No round is complete, so nothing was stored." in shown
    code, shown = say(*_digits(range(10), ADA, PACES[0]), *_digits([0], ADA, PACES[1]), stop)
    assert "Round 1 of 3 is complete." in shown
    assert "1 of 3 rounds kept: run the command again to continue." in shown
    assert "The unfinished round starts over." in shown
    assert "1 of 3 rounds are already enrolled." in say(1.0, stop)[1]
    code, shown = say(stop, options=["--again"])
    assert "Ada keeps the old digits: nothing new was stored." in shown


def test_another_voice_starts_the_round_again(say: Say) -> None:
    code, shown = say(*_digits(range(10), ROBIN, PACES[0]))
    assert code == 2
    assert "Rejected: not the voice of the passphrase of Ada (similarity" in shown
    assert "This round starts over: all ten digits." in shown


def test_digits_that_come_near_each_other_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for strong, told in (
        (tuple(range(10)), "3 rounds, all distinct"),
        (tuple(range(1, 10)), "3 rounds, never asked: 0 (sounds like "),
    ):
        monkeypatch.setattr("edge.challenge.rounds.strong_digits", lambda _, found=strong: found)
        assert summary_line(made_rounds()).startswith(told)
    assert summary_line(made_rounds()[:2]) == "2 of 3 rounds"
