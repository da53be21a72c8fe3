"""The models of this release, and others in their place."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from edge.errors import ModelError
from edge.inference.release import altered
from edge.recognition import open_models
from edge.resources import models_directory
from tools import make_manifest

CARDS = ("phrase_embedding.json", "speaker_embedding.json")


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    shutil.copytree(models_directory(), folder)
    return folder


def add_sixty(card: Path) -> None:
    """What somebody who can write a card would do: now every score is high enough."""
    content = json.loads(card.read_text())
    content["calibration"]["ratio"]["offset"] += 60.0
    card.write_text(json.dumps(content))


def test_the_hashes_are_those_of_the_cards() -> None:
    assert make_manifest.main(["--check"]) == 0, "run python -m tools.make_manifest"
    assert altered(models_directory()) == []


def test_a_stale_manifest_is_noticed(
    copied: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(make_manifest, "FILE", copied / "released.py")
    monkeypatch.setattr(make_manifest, "models_directory", lambda: copied)
    assert make_manifest.main([]) == 0
    assert make_manifest.main(["--check"]) == 0
    add_sixty(copied / CARDS[0])
    assert make_manifest.main(["--check"]) == 1
    assert "is out of date: run python -m tools.make_manifest" in capsys.readouterr().err
    assert make_manifest.main([]) == make_manifest.main(["--check"]) == 0


@pytest.mark.parametrize("name", CARDS)
def test_a_calibration_that_was_changed_is_refused(
    copied: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("edge.resources.models_directory", lambda: copied)
    add_sixty(copied / name)
    assert altered(copied) == [copied / name]
    with pytest.raises(ModelError, match=f"{name} is not the card that came with this release"):
        open_models()


@pytest.mark.runtime
def test_models_of_ones_own_are_used_and_that_is_said(
    copied: Path, caplog: pytest.LogCaptureFixture
) -> None:
    open_models(copied)
    assert caplog.messages == []
    add_sixty(copied / CARDS[1])
    assert open_models(copied).speaker.card.calibration["ratio"]["offset"] > 40.0
    assert caplog.messages == [f"the models in {copied} are not those of this release"]


def test_a_card_that_is_missing_or_cannot_be_read(copied: Path) -> None:
    (copied / CARDS[0]).unlink()
    (copied / CARDS[1]).unlink()
    (copied / CARDS[1]).mkdir()
    assert altered(copied) == [copied / CARDS[1]]
