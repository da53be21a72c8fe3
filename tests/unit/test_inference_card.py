from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from edge.errors import ModelError
from edge.inference import read_card
from edge.resources import models_directory

CARD = models_directory() / "speaker_embedding.json"
SOURCE = {"package": "p", "version": "1", "file": "f", "sha256": "a" * 64, "upstream": "u"}
TENSOR = {"name": "t", "shape": [1, None], "dtype": "int8", "meaning": "m"}


def changed(folder: Path, change: dict[str, Any], remove: str = "") -> Path:
    document = json.loads(CARD.read_text(encoding="utf-8"))
    document.update(change)
    document.pop(remove, None)
    path = folder / "card.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["speaker_embedding", "phrase_embedding"])
def test_shipped_cards(name: str) -> None:
    card = read_card(models_directory() / f"{name}.json")
    model = models_directory() / card.file
    assert card.size_bytes == model.stat().st_size
    assert card.license == "Apache-2.0"
    assert "int8" in card.quantization
    assert all(source.package for source in card.sources)
    assert -1 < card.threshold("enrollment") < 10
    assert "speechocean762" in card.credit
    assert "CC BY 4.0" in card.credit


def test_sizes_keep_their_limits() -> None:
    assert read_card(CARD).size_bytes <= 19_000_000
    assert read_card(models_directory() / "phrase_embedding.json").size_bytes < 1_000_000


@pytest.mark.parametrize(
    ("change", "remove", "words"),
    [
        ({}, "license", ["license", "missing"]),
        ({"color": "red"}, "", ["color", "not known"]),
        ({"size_bytes": "big"}, "", ["size_bytes", "an integer", "a string"]),
        ({"size_bytes": True}, "", ["size_bytes", "an integer"]),
        *(
            ({"sha256": digest}, "", ["sha256 must be a SHA-256 of 64 lower-case"])
            for digest in ("a" * 63, "a" * 65, "A" * 64, "g" * 64)
        ),
        ({"sources": [{"package": "x"}]}, "", [": sources[0].version is missing;"]),
        ({"sources": [SOURCE, {**SOURCE, "color": 1}]}, "", [": sources[1].color is not known;"]),
        ({"sources": [{**SOURCE, "sha256": "x"}]}, "", [": sources[0].sha256 must"]),
        ({"sources": 3}, "", ["sources must be a list, not an integer"]),
        ({"sources": [3]}, "", ["sources must be a list of an object"]),
        ({"sources": []}, "", ["sources is empty"]),
        ({"runtimes": [1]}, "", ["runtimes must be a list of a string"]),
        ({"credit": None}, "", ["credit must be a string, not null"]),
        ({"size_bytes": 1.5}, "", ["an integer, not a number"]),
        *(
            ({"input": {**TENSOR, "shape": [1, size]}}, "", ["shape must be a list of an integer"])
            for size in (True, 1.5, "2")
        ),
        ({"input": {**TENSOR, "color": 1}}, "", [": input.color is not known;"]),
        ({}, "calibration", ["calibration", "missing"]),
        ({"calibration": []}, "", ["calibration", "an object", "a list"]),
        ({"file": "../other.tflite"}, "", ["file", "without a folder"]),
        ({"output": {**TENSOR, "dtype": "int4"}}, "", [": output.dtype must be float32 or int8;"]),
    ],
)
def test_every_fault_is_named(
    tmp_path: Path, change: dict[str, Any], remove: str, words: list[str]
) -> None:
    path = changed(tmp_path, change, remove)
    with pytest.raises(ModelError) as caught:
        read_card(path)
    message = str(caught.value)
    assert "\n" not in message
    for word in [str(path), *words]:
        assert word in message


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "the model card is not JSON"),
        (b"{", "the model card is not JSON"),
        (b"[" * 100_000, "the model card is not JSON"),
        (b"\xff\xfe", "the model card cannot be read"),
        (b"[]", "the card must be an object, not a list"),
    ],
    ids=["empty", "cut", "deep", "no text", "a list"],
)
def test_not_a_card_at_all(tmp_path: Path, content: bytes, fault: str) -> None:
    path = tmp_path / "card.json"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=rf"card\.json: {fault}"):
        read_card(path)
    with pytest.raises(ModelError, match=r"other\.json"):
        read_card(tmp_path / "other.json")


def test_what_a_card_says(tmp_path: Path) -> None:
    changes = {"sources": [SOURCE], "input": TENSOR, "runtimes": ["one 1.0", "other 2.0"]}
    card = read_card(changed(tmp_path, changes))
    assert (card.input.shape, card.input.dtype) == ((1, None), "int8")
    assert (card.sources[0].sha256, card.sources[0].upstream) == ("a" * 64, "u")
    assert card.runtimes == ("one 1.0", "other 2.0")


@pytest.mark.parametrize(
    "points",
    [
        {},
        {"door": 3},
        {"door": {}},
        *(
            {"door": {"threshold": value}}
            for value in ("high", True, None, 1_000_000, -1_000_000.0, math.nan)
        ),
    ],
)
def test_missing_threshold(tmp_path: Path, points: dict[str, Any]) -> None:
    card = read_card(changed(tmp_path, {"operating_points": points}))
    with pytest.raises(ModelError, match="no threshold for 'door'"):
        card.threshold("door")


@pytest.mark.parametrize("value", [0, -0.5, 999_999, -999_999.5])
def test_threshold(tmp_path: Path, value: float) -> None:
    card = read_card(changed(tmp_path, {"operating_points": {"door": {"threshold": value}}}))
    assert card.threshold("door") == value
    assert isinstance(card.threshold("door"), float)
