from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from edge.errors import ModelError
from edge.evaluation.corpus import CorpusFile
from edge.inference import read_card
from edge.recognition.scoring import require_calibrated
from tools.build_models import BuildError, expect
from tools.measure_quantization import compare
from tools.models import cards
from tools.models.sources import PACKAGES


def test_a_source_of_another_hash_stops_the_build(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    with pytest.raises(BuildError, match="missing"):
        expect(path, "0" * 64)
    path.write_bytes(b"weights")
    expect(path, hashlib.sha256(b"weights").hexdigest())
    with pytest.raises(BuildError, match="not the pinned"):
        expect(path, "0" * 64)


def test_thresholds_stay_only_with_the_very_same_file(tmp_path: Path) -> None:
    model = tmp_path / "phrase_embedding.tflite"
    model.write_bytes(b"a model")
    former = {
        "sha256": hashlib.sha256(b"a model").hexdigest(),
        "operating_points": {"enrollment": {"threshold": 0.5}},
        "calibration": {"made_for": hashlib.sha256(b"a model").hexdigest()},
    }
    kept = cards.card("phrase_embedding", model, former, {})
    assert kept["operating_points"] == former["operating_points"]
    model.write_bytes(b"another model")
    changed = cards.card("phrase_embedding", model, former, {})
    assert changed["operating_points"] == {}
    # A calibration says itself which file it was made for, so the old one is refused by name.
    assert changed["calibration"].get("made_for") != changed["sha256"]
    path = tmp_path / "card.json"
    cards.write(path, changed)
    with pytest.raises(ModelError, match="one for the model"):
        require_calibrated(read_card(path))
    assert cards.card("phrase_embedding", model, {}, {})["calibration"] == {}


@pytest.mark.parametrize(("joined", "sources", "dimensions"), [(False, 1, 192), (True, 2, 384)])
def test_the_card_of_one_network_and_of_two(
    tmp_path: Path, joined: bool, sources: int, dimensions: int
) -> None:
    model = tmp_path / "speaker_embedding.tflite"
    model.write_bytes(b"a model")
    path = tmp_path / "card.json"
    cards.write(path, cards.card("speaker_embedding", model, {}, {}, joined=joined))
    card = read_card(path)
    assert len(card.sources) == sources
    assert card.output.shape == (1, dimensions)
    pinned = {digest for package in PACKAGES for _, digest in package.files}
    assert {source.sha256 for source in card.sources} <= pinned


def test_comparison_of_models() -> None:
    items = [CorpusFile(Path(f"{n}.flac"), "ab"[n // 2], "", "") for n in range(4)]
    exact = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], dtype=np.float32)
    mixed = exact[[0, 2, 1, 3]]  # every speaker split in two
    figures = compare(items, mixed, exact)
    assert figures["pairs_same"] == 2
    assert figures["pairs_different"] == 4
    assert figures["eer_percent_float"] == 0.0
    assert figures["eer_percent_int8"] > 50.0
    assert figures["eer_points_worse"] == figures["eer_percent_int8"]
    assert figures["cosine_int8_float_min"] == 0.0
    with pytest.raises(ValueError, match="same and of different"):
        compare(items[:1], exact[:1], exact[:1])
