from __future__ import annotations

import builtins
import contextlib
import dataclasses
import hashlib
import json
import os
import re
import shutil
import sys
import threading
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.errors import ModelError
from edge.inference import Model, ModelCard, TensorSpec, open_model, read_card
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
    original = copy.read_bytes()
    content = bytearray(original)
    content[len(content) // 2] ^= 1
    copy.write_bytes(content)
    found, wanted = (hashlib.sha256(each).hexdigest()[:12] for each in (content, original))
    with pytest.raises(
        ModelError, match=f"SHA-256 {found}[.]{{3}}, card {wanted}[.]{{3}}"
    ) as caught:
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


class Runtime:
    """In place of TensorFlow Lite: an interpreter whose output is the sum of each row."""

    def __init__(self, dtype: Any = np.float32, quantization: tuple[float, int] = (0.0, 0)) -> None:
        self.calls: list[Any] = []
        self.error: Exception | None = None
        self._dtype, self._quantization = dtype, quantization
        self._shape = [1, 3]

    def open(
        self, *, num_threads: int, model_content: bytes = b"", model_path: str = ""
    ) -> Runtime:
        """What `Interpreter` is called for."""
        content = Path(model_path).read_bytes() if model_path else model_content
        self.calls.append((bytes(memoryview(content)), num_threads))
        return self

    def allocate_tensors(self) -> None:
        self.calls.append("allocate")
        os.write(2, b"INFO: Created delegate.\nWARNING: look here\nnot INFO: this\n")
        if self.error:
            raise self.error

    def _details(self, index: int, shape: list[int]) -> list[dict[str, Any]]:
        one = {"index": index, "dtype": self._dtype, "quantization": self._quantization}
        return [{**one, "shape": np.asarray(shape)}, {}]

    def get_input_details(self) -> list[dict[str, Any]]:
        return self._details(5, self._shape)

    def get_output_details(self) -> list[dict[str, Any]]:
        return self._details(6, [1, 1])

    def resize_tensor_input(self, index: int, shape: list[int]) -> None:
        self.calls.append((index, shape))
        self._shape = shape

    def set_tensor(self, index: int, values: Any) -> None:
        assert (index, values.dtype) == (5, self._dtype)
        assert values.flags.c_contiguous
        self._values = values

    def invoke(self) -> None:
        if self.error:
            raise self.error

    def get_tensor(self, index: int) -> Any:
        assert index == 6
        return self._values.sum(axis=1, keepdims=True, dtype=self._dtype)


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Runtime:
    return installed(Runtime(), monkeypatch)


def installed(
    runtime: Runtime,
    monkeypatch: pytest.MonkeyPatch,
    name: str = "ai_edge_litert.interpreter",
) -> Runtime:
    module: Any = types.ModuleType(name)
    module.Interpreter = runtime.open
    monkeypatch.setitem(sys.modules, name.split(".", maxsplit=1)[0], types.ModuleType(name))
    monkeypatch.setitem(sys.modules, name, module)
    return runtime


def card_of(
    input_shape: tuple[int | None, ...] = (1, None),
    output_shape: tuple[int | None, ...] = (1, 1),
    dtype: str = "float32",
    **changes: Any,
) -> ModelCard:
    """The card of a file that holds `fake`."""
    card = read_card(models_directory() / f"{NAME}.json")
    return dataclasses.replace(
        card,
        sha256=hashlib.sha256(b"fake").hexdigest(),
        size_bytes=4,
        input=TensorSpec("in", input_shape, dtype, ""),
        output=TensorSpec("out", output_shape, dtype, ""),
        **changes,
    )


def test_tensors_are_allocated_anew_only_for_another_size(runtime: Runtime) -> None:
    model = Model(card_of(), b"fake", threads=3)
    for columns in (3, 3, 4, 4, 3):
        wide = np.ones((1, 2 * columns), np.float64)[:, ::2]
        found = model.run(wide)  # type: ignore[arg-type]
        assert found.dtype == np.float32
        assert found.tolist() == [[columns]]
    assert runtime.calls == [
        (b"fake", 3), "allocate", (5, [1, 4]), "allocate", (5, [1, 3]), "allocate",
    ]  # fmt: skip


def test_the_runtimes_notes_are_left_out_and_the_rest_is_not(
    runtime: Runtime, capfd: pytest.CaptureFixture[str]
) -> None:
    open_files = len(list(Path("/proc/self/fd").iterdir()))
    for error in (None, ValueError("no"), RuntimeError("no")):
        runtime.error = error
        with contextlib.suppress(ModelError):
            Model(card_of(), b"fake")
        assert capfd.readouterr().err == "WARNING: look here\nnot INFO: this\n"
    assert len(list(Path("/proc/self/fd").iterdir())) == open_files


def test_it_opens_without_standard_error(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", None)
    assert Model(card_of(), b"fake").run(np.ones((1, 3), np.float32)) == [[3.0]]


def test_what_was_written_before_comes_before(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with os.fdopen(os.dup(2), "w", encoding="utf-8") as buffered:
        monkeypatch.setattr("sys.stderr", buffered)
        buffered.write("INFO: of our own\n")
        Model(card_of(), b"fake")
        monkeypatch.undo()
    assert capfd.readouterr().err.startswith("INFO: of our own\nWARNING: look here\n")


def test_the_weights_are_kept_for_the_runtime(runtime: Runtime) -> None:
    content = bytes(bytearray(b"fake"))
    model = Model(card_of(), content)
    assert any(value is content for value in vars(model).values())


def resident_kb(path: Path) -> list[int]:
    """How much of each mapping of a file is in memory."""
    inode = str(path.stat().st_ino)
    found = []
    for line in Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines():
        fields = line.split()
        if "-" in fields[0]:
            mapped = fields[4] == inode
        elif mapped and fields[0] == "Rss:":
            found.append(int(fields[1]))
    return found


def test_a_model_file_is_mapped_and_takes_no_memory_once_it_is_open(copy: Path) -> None:
    model = open_model(copy)
    (resident,) = resident_kb(copy)
    assert resident < 200  # of 359
    expected = model.run(frames(100))
    copy.unlink()  # as when the software is updated
    np.testing.assert_array_equal(model.run(frames(100)), expected)
    assert not any(isinstance(value, bytes) for value in vars(model).values())


def test_one_thread_unless_told_otherwise(runtime: Runtime, copy: Path) -> None:
    for threads in ({}, {"threads": 3}):
        with pytest.raises(ModelError, match="its input is"):
            open_model(copy, **threads)
    assert [call[1] for call in runtime.calls if isinstance(call, tuple)] == [1, 3]


def test_the_older_runtime_does_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    older = installed(Runtime(), monkeypatch, "tflite_runtime.interpreter")
    Model(card_of(), b"fake")
    assert older.calls == [(b"fake", 1), "allocate"]


def test_int8_tensors_are_converted_by_their_own_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(Runtime(np.int8, (0.5, 10)), monkeypatch)
    model = Model(card_of(dtype="int8"), b"fake")
    for value, found in (
        (-100.0, -69.0), (-69.5, -69.0), (-0.5, -0.5), (0.3, 0.5), (0.2, 0.0), (1.0, 1.0),
        (58.5, 58.5), (100.0, 58.5),
    ):  # fmt: skip
        # The zeros beside it add their zero point, 10, twice.
        values = np.asarray([[value, -5.0, -5.0]], np.float32)
        assert model.run(values).tolist() == [[found]]


@pytest.mark.parametrize(
    ("error", "line"),
    [(RuntimeError("\nfirst\nsecond"), "(first)"), (ValueError(), "(ValueError)")],
)
def test_a_failure_is_told_in_one_line(runtime: Runtime, error: Exception, line: str) -> None:
    model = Model(card_of(), b"fake")
    runtime.error = error
    with pytest.raises(ModelError, match=f"failed while running {re.escape(line)}"):
        model.run(np.ones((1, 3), np.float32))
    with pytest.raises(ModelError, match=f"cannot be opened .*runtime {re.escape(line)}"):
        Model(card_of(), b"fake")


@pytest.mark.parametrize(
    ("card", "side"),
    [
        (card_of((1, 4)), "input"),
        (card_of((1, 3, 1)), "input"),
        (card_of((1, 3), (1, 2)), "output"),
        (card_of((None, None), (1,)), "output"),
        (card_of(dtype="int8"), "input"),
    ],
)
def test_a_card_with_other_tensors_is_refused(runtime: Runtime, card: ModelCard, side: str) -> None:
    with pytest.raises(ModelError, match=f"its {side} is float32"):
        Model(card, b"fake")


def test_another_size_than_the_cards_is_refused(runtime: Runtime) -> None:
    with pytest.raises(ModelError, match="it has 4 bytes and its card says 5"):
        Model(dataclasses.replace(card_of(), size_bytes=5), b"fake")


def test_one_inference_at_a_time(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = threading.Lock()
    with monkeypatch.context() as patched:
        patched.setattr("threading.Lock", lambda: lock)
        model = Model(card_of(), b"fake")
    held = []

    def watch(name: str) -> None:
        method = getattr(runtime, name)

        def watched(*given: Any) -> Any:
            held.append(lock.locked())
            return method(*given)

        monkeypatch.setattr(runtime, name, watched)

    for name in ("resize_tensor_input", "set_tensor", "invoke", "get_tensor"):
        watch(name)
    model.run(np.ones((1, 4), np.float32))
    assert held == [True] * 4
    assert not lock.locked()


def test_several_threads_may_call(copy: Path) -> None:
    model = open_model(copy)
    expected = {count: model.run(frames(count)) for count in (76, 92)}
    agreed: list[bool] = []

    def work(count: int) -> None:
        agreed.extend(np.array_equal(model.run(frames(count)), expected[count]) for _ in range(5))

    threads = [threading.Thread(target=work, args=(count,)) for count in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert agreed == [True] * 10
