"""The calibration that a model's card holds: there, whole, and of that very model; or refused."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.config import Config
from edge.errors import ModelError
from edge.inference import ModelCard, read_card
from edge.recognition import Engine
from edge.recognition.embedders import Models
from edge.recognition.scoring import (
    Scorer,
    phrase_calibration,
    require_calibrated,
    voice_calibration,
)
from edge.resources import models_directory

SPEAKER, PHRASE = "speaker_embedding", "phrase_embedding"
READERS: dict[str, Callable[[ModelCard], object]] = {
    SPEAKER: voice_calibration,
    PHRASE: phrase_calibration,
}
RATIO_KEYS = [
    *((SPEAKER, key) for key in ("offset", "similarity", "speech", "enrollments")),
    *((PHRASE, key) for key in ("offset", "distance", "snr", "echo")),
]
NO_NUMBERS: list[Any] = [None, "3", True, [], {}, math.nan, math.inf, -math.inf, 10**400]


def document_of(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(
        (models_directory() / f"{name}.json").read_text(encoding="utf-8")
    )
    return document


def card_of(folder: Path, document: dict[str, Any]) -> ModelCard:
    path = folder / "card.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return read_card(path)


def refused(name: str, card: ModelCard, key: str) -> None:
    with pytest.raises(ModelError) as caught:
        READERS[name](card)
    message = str(caught.value)
    assert "\n" not in message
    assert f"{name}.tflite" in message
    assert key in message
    assert "reinstall the software, or run tools/calibrate_models.py" in message


@pytest.mark.parametrize("name", [SPEAKER, PHRASE])
def test_shipped_models_are_calibrated(name: str) -> None:
    card = read_card(models_directory() / f"{name}.json")
    assert require_calibrated(card)["made_for"] == card.sha256
    calibration = READERS[name](card)
    curve = calibration.curve  # type: ignore[attr-defined]
    # Each preset lies on what was measured, not on what is guessed beyond it.
    assert curve.points[0][0] >= 0.01
    assert curve.points[-1][0] <= 0.0001
    thresholds = [curve.threshold(rate) for rate in (0.01, 0.001, 0.0001)]
    assert thresholds == sorted(thresholds)


def test_the_signs_are_as_they_must_be() -> None:
    voice = voice_calibration(read_card(models_directory() / f"{SPEAKER}.json"))
    phrase = phrase_calibration(read_card(models_directory() / f"{PHRASE}.json"))
    assert voice.similarity > 0.0
    assert voice.speech >= 0.0
    assert phrase.distance < 0.0
    assert phrase.snr <= 0.0
    assert phrase.echo >= 0.0


@pytest.mark.parametrize("name", [SPEAKER, PHRASE])
def test_a_missing_calibration(tmp_path: Path, name: str) -> None:
    card = card_of(tmp_path, {**document_of(name), "calibration": {}})
    refused(name, card, "holds none in place of a calibration")


@pytest.mark.parametrize("name", [SPEAKER, PHRASE])
@pytest.mark.parametrize("made_for", ["0" * 64, "", None, 3, {}, "F" * 64])
def test_a_calibration_of_another_model(tmp_path: Path, name: str, made_for: object) -> None:
    document = document_of(name)
    document["calibration"]["made_for"] = made_for
    said = f"one for the model {str(made_for)[:12]}... in place of a calibration for this model"
    refused(name, card_of(tmp_path, document), f"{said} ({document['sha256'][:12]}...)")


@pytest.mark.parametrize("name", [SPEAKER, PHRASE])
def test_the_least_that_is_a_calibration(tmp_path: Path, name: str) -> None:
    document = document_of(name)
    weak = {SPEAKER: ("similarity", 0.01), PHRASE: ("distance", -0.01)}[name]
    document["calibration"]["ratio"].update([weak])
    document["calibration"]["operating_curve"] = [[0.9, -0.1], [0.1, 0.1]]
    calibration: Any = READERS[name](card_of(tmp_path, document))
    assert getattr(calibration, weak[0]) == weak[1]
    assert calibration.curve.points == ((0.9, -0.1), (0.1, 0.1))


@pytest.mark.parametrize(("name", "key"), RATIO_KEYS)
@pytest.mark.parametrize("value", [*NO_NUMBERS, "absent"], ids=lambda value: str(value)[:9])
def test_a_damaged_ratio(tmp_path: Path, name: str, key: str, value: object) -> None:
    document = document_of(name)
    document["calibration"]["ratio"][key] = value
    if value == "absent":
        del document["calibration"]["ratio"][key]
    refused(name, card_of(tmp_path, document), f"calibration.ratio.{key}")


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        (SPEAKER, "similarity", -32.0),
        (SPEAKER, "similarity", 0.0),
        (SPEAKER, "speech", -0.01),
        (PHRASE, "distance", 17.7),
        (PHRASE, "distance", 0.0),
    ],
)
def test_a_calibration_that_prefers_the_wrong_one(
    tmp_path: Path, name: str, key: str, value: float
) -> None:
    document = document_of(name)
    document["calibration"]["ratio"][key] = value
    refused(name, card_of(tmp_path, document), f"calibration.ratio.{key}")


@pytest.mark.parametrize("name", [SPEAKER, PHRASE])
@pytest.mark.parametrize("value", [None, [], 3, "ratio"])
def test_no_ratio_at_all(tmp_path: Path, name: str, value: object) -> None:
    document = document_of(name)
    document["calibration"]["ratio"] = value
    refused(name, card_of(tmp_path, document), "calibration.ratio")


@pytest.mark.parametrize("name", [SPEAKER, PHRASE])
@pytest.mark.parametrize(
    "curve",
    [
        pytest.param(None, id="none"),
        pytest.param({}, id="an object"),
        pytest.param([], id="no point"),
        pytest.param([[0.1, 1.0]], id="one point"),
        pytest.param([[0.1, 1.0], [0.01]], id="half a point"),
        pytest.param([[0.1, 1.0], 3], id="no pair"),
        pytest.param([[0.1, 1.0], [0.01, 2.0, 3.0]], id="a triple"),
        pytest.param([[0.1, 1.0], [0.01, "2"]], id="text"),
        pytest.param([[0.1, 1.0], [0.01, math.nan]], id="nan ratio"),
        pytest.param([[0.1, 1.0], [math.nan, 2.0]], id="nan rate"),
        pytest.param([[0.1, 1.0], [0.01, math.inf]], id="infinite ratio"),
        pytest.param([[0.1, 1.0], [0.01, 10**400]], id="immense ratio"),
        pytest.param([[0.1, 1.0], [0.1, 2.0]], id="a rate twice"),
        pytest.param([[0.01, 1.0], [0.1, 2.0]], id="rates rise"),
        pytest.param([[0.1, 1.0], [0.01, 1.0]], id="ratios stay"),
        pytest.param([[0.1, 1.0], [0.01, 2.0], [0.001, 1.5]], id="ratios fall"),
        pytest.param([[1.0, 1.0], [0.01, 2.0]], id="rate one"),
        pytest.param([[0.1, 1.0], [0.0, 2.0]], id="rate nought"),
        pytest.param([[0.1, 1.0], [-0.1, 2.0]], id="rate below nought"),
    ],
)
def test_a_damaged_curve(tmp_path: Path, name: str, curve: object) -> None:
    document = document_of(name)
    document["calibration"]["operating_curve"] = curve
    refused(name, card_of(tmp_path, document), "calibration.operating_curve")


@pytest.mark.parametrize("name", [SPEAKER, PHRASE])
def test_a_changed_model_does_not_open_with_the_old_calibration(tmp_path: Path, name: str) -> None:
    """The model and its hash in the card were changed together; the calibration was not."""
    models = tmp_path / "models"
    shutil.copytree(models_directory(), models)
    model = models / f"{name}.tflite"
    # Behind the end of a flat buffer nobody reads: the model still runs, but it is another file.
    model.write_bytes(model.read_bytes() + bytes(16))
    document = document_of(name)
    document["sha256"] = hashlib.sha256(model.read_bytes()).hexdigest()
    document["size_bytes"] = model.stat().st_size
    (models / f"{name}.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(
        ModelError, match=rf"{name}\.tflite holds .* in place of a calibration for this model"
    ):
        Engine.open(Config(models_directory=models))
    document["calibration"]["made_for"] = document["sha256"]
    (models / f"{name}.json").write_text(json.dumps(document), encoding="utf-8")
    Engine.open(Config(models_directory=models))  # and calibrated for it, it opens


def having(engine: Engine, **calibration: object) -> Models:
    """The models, with this in the calibration of the speaker model's card."""
    card = engine.models.speaker.card
    speaker = copy.copy(engine.models.speaker)
    speaker.card = replace(card, calibration={**card.calibration, **calibration})
    return replace(engine.models, speaker=speaker)


def scorer_of(engine: Engine, center: object) -> Scorer:
    """What is made of a card with this center of all voices."""
    return Scorer.of(having(engine, center=center), 0.001)


def test_allowances(engine: Engine) -> None:
    models = having(engine, allowances=[[0.0, 0.1, 0.0], [-0.19, 0.19, 0.05]])
    found = Scorer.of(models, 0.001).allowances
    assert found == pytest.approx(np.asarray([[0.0, 0.1, 0.0], [-0.19, 0.19, 0.05]]))


@pytest.mark.parametrize("damaged", [None, "0.1", True, math.nan, 0.2, -0.2, [0.1]])
def test_damaged_allowances(engine: Engine, damaged: object) -> None:
    good = [0.0, 0.1, 0.1]
    for allowances in (
        damaged,
        [good, [0.1, 0.1, damaged]],
        [good, damaged],
        [good, good[:2]],
        [good],
        [good] * 3,
    ):
        with pytest.raises(ModelError, match=r"calibration\.allowances; reinstall the software"):
            Scorer.of(having(engine, allowances=allowances), 0.001)


@pytest.mark.parametrize("value", [0.0, 0.1, -0.19])
def test_a_stretch_allowance(engine: Engine, value: float) -> None:
    assert Scorer.of(having(engine, stretch_allowance=value), 0.001).stretch_allowance == value


@pytest.mark.parametrize("damaged", [None, "0.1", True, math.nan, 0.2, -0.2, [0.1]])
def test_a_damaged_stretch_allowance(engine: Engine, damaged: object) -> None:
    with pytest.raises(ModelError, match=r"calibration\.stretch_allowance; reinstall"):
        Scorer.of(having(engine, stretch_allowance=damaged), 0.001)


def test_a_center(engine: Engine) -> None:
    center = [0.1, -0.2, *[0.0] * 382]
    assert scorer_of(engine, center).center.tolist() == pytest.approx(center)


@pytest.mark.parametrize(
    "center",
    [
        pytest.param(None, id="none"),
        pytest.param({}, id="an object"),
        pytest.param([], id="nothing"),
        pytest.param([0.0] * 383, id="another model's"),
        pytest.param([0.0] * 385, id="too long"),
        pytest.param([[0.0] * 384], id="two dimensions"),
        pytest.param([math.nan, *[0.0] * 383], id="nan"),
        pytest.param([math.inf, *[0.0] * 383], id="infinite"),
        pytest.param(["0.1", *[0.0] * 383], id="text"),
        pytest.param([True, *[0.0] * 383], id="a truth value"),
        pytest.param([1.0, *[0.0] * 383], id="as long as a voice"),
    ],
)
def test_a_damaged_center(engine: Engine, center: object) -> None:
    with pytest.raises(
        ModelError, match=r"^[^\n]*calibration\.center; reinstall the software[^\n]*$"
    ):
        scorer_of(engine, center)
