from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edge.errors import ModelError
from edge.evaluation.corpus import CorpusFile
from edge.inference import read_card
from edge.recognition.scoring import require_calibrated
from edge.resources import demo_directory, models_directory
from tools import measure_quantization
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


def test_the_card_names_both_networks(tmp_path: Path) -> None:
    model = tmp_path / "speaker_embedding.tflite"
    model.write_bytes(b"a model")
    path = tmp_path / "card.json"
    cards.write(path, cards.card("speaker_embedding", model, {}, {}))
    card = read_card(path)
    assert len(card.sources) == 2
    assert card.output.shape == (1, 384)
    pinned = {digest for package in PACKAGES for _, digest in package.files}
    assert {source.sha256 for source in card.sources} <= pinned


@pytest.mark.parametrize("name", ["speaker_embedding", "phrase_embedding"])
def test_nothing_joins_more_tensors_than_the_fast_kernels_take(name: str) -> None:
    """One that does splits the graph, and the runtime keeps what crosses from part to part."""
    content = (models_directory() / f"{name}.tflite").read_bytes()
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
    joints = [
        operator
        for operator in model.subgraphs[0].operators
        if model.operatorCodes[operator.opcodeIndex].builtinCode
        == schema.BuiltinOperator.CONCATENATION
    ]
    assert max((len(joint.inputs) for joint in joints), default=0) <= 5


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


def test_a_model_compared_with_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From the command line to the file that goes into the card."""
    for name in ("ada_enroll_1", "ada_enroll_2", "robin_enroll_1", "robin_enroll_2"):
        folder = tmp_path / "speech" / name.split("_")[0]
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(demo_directory() / f"{name}.flac", folder)
    figures = tmp_path / "figures.json"
    same = models_directory() / "speaker_embedding.tflite"
    given = [tmp_path / "speech", "--float", same, "--json", figures]
    assert measure_quantization.main([str(each) for each in given]) == 0
    (part,) = json.loads(figures.read_text(encoding="utf-8"))["parts"].values()
    assert part["recordings"] == 4
    assert part["eer_points_worse"] == 0.0
    assert part["cosine_int8_float_min"] == pytest.approx(1.0, abs=1e-5)
    assert "equal error rate, int8, %" in capsys.readouterr().out
