from __future__ import annotations

import builtins
import dataclasses
import hashlib
import json
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.errors import ModelError
from edge.inference import Model, open_model, read_card
from edge.inference.model import _from_tensor, _to_tensor
from edge.resources import models_directory
from edge.types import FloatArray

pytestmark = pytest.mark.runtime

NAME = "phrase_embedding"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The phrase model and its card, to be damaged."""
    for suffix in (".tflite", ".json"):
        shutil.copy(models_directory() / f"{NAME}{suffix}", tmp_path)
    return tmp_path / f"{NAME}.tflite"


def frames(count: int) -> FloatArray:
    shape = (1, count, 32, 1)
    return np.random.default_rng(5).normal(0, 1, shape).astype(np.float32)


def fits(path: Path) -> None:
    """Make the card's hash that of the file."""
    card = path.with_suffix(".json")
    document = json.loads(card.read_text(encoding="utf-8"))
    document["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    card.write_text(json.dumps(document), encoding="utf-8")


def test_free_sizes_may_change_from_call_to_call(copy: Path) -> None:
    model = open_model(copy)
    assert model.sha256 == hashlib.sha256(copy.read_bytes()).hexdigest()
    first = model.run(frames(76))
    assert first.shape == (1, 1, 1, 96)
    assert model.run(frames(100)).shape == (1, 4, 1, 96)
    np.testing.assert_array_equal(model.run(frames(76)), first)


@pytest.mark.parametrize("shape", [(76, 32, 1), (1, 76, 31, 1), (2, 76, 32, 1), (1, 75, 32, 1)])
def test_wrong_shape_is_refused(copy: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="phrase-embedding takes"):
        open_model(copy).run(np.zeros(shape, dtype=np.float32))


def test_a_changed_file_is_refused(copy: Path) -> None:
    content = bytearray(copy.read_bytes())
    content[len(content) // 2] ^= 1
    copy.write_bytes(content)
    with pytest.raises(ModelError, match="not the file that its card describes") as caught:
        open_model(copy)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("keep", [0, 10, 100_000])
def test_a_truncated_file_is_refused_even_with_its_own_hash(copy: Path, keep: int) -> None:
    copy.write_bytes(copy.read_bytes()[:keep])
    fits(copy)
    with pytest.raises(ModelError) as caught:
        open_model(copy)
    assert f"{NAME}.tflite" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_model_is_refused(copy: Path) -> None:
    copy.write_bytes(bytes(range(256)) * 40)
    fits(copy)
    with pytest.raises(ModelError, match="cannot be opened"):
        open_model(copy)


def test_a_missing_file_is_refused(copy: Path) -> None:
    copy.unlink()
    with pytest.raises(ModelError, match="cannot be read"):
        open_model(copy)


def test_a_card_of_another_model_is_refused(copy: Path) -> None:
    renamed = copy.rename(copy.with_name("other.tflite"))
    shutil.copy(copy.with_suffix(".json"), renamed.with_suffix(".json"))
    with pytest.raises(ModelError, match=r"phrase_embedding\.tflite, not other\.tflite"):
        open_model(renamed)


def test_a_card_with_other_tensors_is_refused(copy: Path) -> None:
    card = read_card(copy.with_suffix(".json"))
    wrong = dataclasses.replace(card, input=dataclasses.replace(card.input, shape=(1, 300, 80)))
    with pytest.raises(ModelError, match="its input is float32"):
        Model(wrong, copy.read_bytes())


def test_without_any_runtime_the_error_says_what_to_install(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def refuse(name: str, *rest: Any, **named: Any) -> Any:
        if name.startswith(("ai_edge_litert", "tflite_runtime")):
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ModelError, match="pip install ai-edge-litert"):
        open_model(copy)


def test_opening_is_silent(copy: Path, capfd: pytest.CaptureFixture[str]) -> None:
    open_model(copy)
    assert capfd.readouterr().err == ""


def test_several_threads_may_call(copy: Path) -> None:
    model = open_model(copy)
    expected = {count: model.run(frames(count)) for count in (76, 92)}
    agreed: list[bool] = []

    def work(count: int) -> None:
        agreed.extend(np.array_equal(model.run(frames(count)), expected[count]) for _ in range(20))

    threads = [threading.Thread(target=work, args=(count,)) for count in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert agreed == [True] * 40


def test_int8_tensors_are_converted_by_their_own_scale() -> None:
    detail = {"dtype": np.int8, "quantization": (0.5, 10)}
    values = np.array([-100.0, -0.5, 0.0, 0.3, 1.0, 100.0], dtype=np.float32)
    stored = _to_tensor(values, detail)
    assert stored.dtype == np.int8
    assert stored.tolist() == [-128, 9, 10, 11, 12, 127]
    assert _from_tensor(stored, detail).tolist() == [-69.0, -0.5, 0.0, 0.5, 1.0, 58.5]
