"""Opens and runs a TFLite model, checked against its card."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import io
import mmap
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from edge.errors import ModelError
from edge.inference.card import ModelCard, TensorSpec, read_card
from edge.types import FloatArray

_RUNTIMES = ("ai_edge_litert.interpreter", "tflite_runtime.interpreter")


def new_interpreter(model: bytes | Path, threads: int) -> Any:
    """Open a model with LiteRT, or else its predecessor, and allocate its tensors.

    `model` is the file, which is mapped into memory, or its bytes, which the caller keeps alive as
    long as the interpreter.

    Raises:
        ModelError: no runtime is installed.
        ValueError: the model cannot be opened (or RuntimeError, by the runtime's choice).
    """
    given = {"model_path": str(model)} if isinstance(model, Path) else {"model_content": model}
    for name in _RUNTIMES:
        try:
            module = __import__(name, fromlist=["Interpreter"])
        except ImportError:
            continue
        with _quiet():
            interpreter = module.Interpreter(**given, num_threads=threads)
            interpreter.allocate_tensors()
        return interpreter
    raise ModelError(
        "no TensorFlow Lite runtime can be imported; "
        "install one: pip install ai-edge-litert (or tflite-runtime on 32-bit systems)"
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the runtime's notes ("INFO: Created ... delegate") off standard error.

    C++ writes them to the file descriptor. Whatever else is written meanwhile is passed on later.
    """
    try:
        sys.stderr.flush()
        original = os.dup(2)
    except (AttributeError, OSError, ValueError):  # no standard error, as under some supervisors
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(original, 2)
            os.close(original)
            held.seek(0)
            for line in held:
                if not line.startswith(b"INFO: "):
                    os.write(2, line)


class Model:
    """A model ready to run. One inference runs at a time, from any thread.

    Attributes:
        card: its card.
        sha256: hash of the file, the same as the card's.
    """

    def __init__(self, card: ModelCard, model: bytes | IO[bytes], threads: int = 1) -> None:
        """Open a model; `open_model` is the usual way.

        `model` is the open file, which is mapped into memory, or its bytes, which are kept.

        Raises:
            OSError: the file cannot be read.
            ModelError: it is not the one that the card describes, or no runtime opens it.
        """
        self.card = card
        self.sha256, size = _digest(io.BytesIO(model) if isinstance(model, bytes) else model)
        if self.sha256 != card.sha256:
            raise ModelError(
                f"{card.file} is not the file that its card describes "
                f"(SHA-256 {self.sha256[:12]}..., card {card.sha256[:12]}...); "
                "reinstall the software, or put back the model that belongs to the card"
            )
        if size != card.size_bytes:
            # tflite-runtime reads past the end of a file that is cut short, and may crash.
            raise ModelError(
                f"{card.file} cannot be opened: it has {size} bytes and its card says "
                f"{card.size_bytes}; reinstall the software"
            )
        self._lock = threading.Lock()
        # By its descriptor: what is mapped is what was read, whatever has its name by now.
        source = model if isinstance(model, bytes) else Path(f"/proc/self/fd/{model.fileno()}")
        self._source = source  # the interpreter reads the weights out of it
        try:
            self._interpreter = new_interpreter(source, threads)
        except (ValueError, RuntimeError) as error:
            raise ModelError(
                f"{card.file} cannot be opened by the TensorFlow Lite runtime "
                f"({_first_line(error)}); reinstall the software"
            ) from error
        if not isinstance(model, bytes):
            _release_pages(os.fstat(model.fileno()).st_ino)
        self._read_details()
        self._least = tuple(int(size) for size in self._input["shape"])
        _check(card, "input", card.input, self._input)
        _check(card, "output", card.output, self._output)

    def run(self, values: FloatArray) -> FloatArray:
        """One inference, from an input to an output of the card's shapes.

        Sizes that the card leaves free may differ from call to call, from the file's own upwards.
        int8 tensors are converted by scale and zero point.

        Raises:
            ValueError: the input has another shape.
            ModelError: the runtime failed.
        """
        wanted = self.card.input.shape
        # tflite-runtime crashes, rather than fails, where a free size is too small for the layers.
        if len(values.shape) != len(wanted) or any(
            given < least if size is None else given != size
            for size, least, given in zip(wanted, self._least, values.shape)
        ):
            raise ValueError(
                f"{self.card.name} takes {wanted}, at least {self._least}, not {values.shape}"
            )
        with self._lock:
            try:
                if tuple(self._input["shape"]) != values.shape:
                    self._interpreter.resize_tensor_input(self._input["index"], list(values.shape))
                    self._interpreter.allocate_tensors()
                    self._read_details()
                self._interpreter.set_tensor(self._input["index"], _to_tensor(values, self._input))
                self._interpreter.invoke()
                result = self._interpreter.get_tensor(self._output["index"])
            except (ValueError, RuntimeError) as error:
                raise ModelError(
                    f"{self.card.file} failed while running ({_first_line(error)})"
                ) from error
            return _from_tensor(result, self._output)

    def _read_details(self) -> None:
        self._input = self._interpreter.get_input_details()[0]
        self._output = self._interpreter.get_output_details()[0]


def open_model(path: Path, threads: int = 1) -> Model:
    """Open a model file with the card beside it (`name.tflite` and `name.json`).

    Raises:
        ModelError: the file or its card is missing or damaged, the file is not the one that the
            card describes, or no runtime opens it.
    """
    card = read_card(path.with_suffix(".json"))
    if card.file != path.name:
        raise ModelError(f"{path.with_suffix('.json')}: file is {card.file}, not {path.name}")
    try:
        with path.open("rb") as file:
            return Model(card, file, threads)
    except OSError as error:
        raise ModelError(
            f"{path}: the model cannot be read ({error.strerror}); reinstall the software"
        ) from error


def _digest(file: IO[bytes]) -> tuple[str, int]:
    """The SHA-256 of a file and its size, without holding all of it."""
    digest, size = hashlib.sha256(), 0
    while part := file.read(1 << 16):
        digest.update(part)
        size += len(part)
    return digest.hexdigest(), size


def _release_pages(inode: int) -> None:
    """Give back the memory that a mapped file takes; what is read again is loaded again.

    The runtime has packed the weights of its own by now, and does not look at the file's any more.
    """
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        place, _, _, _, number, *_ = line.split(maxsplit=5)
        if number == str(inode):
            start, end = (int(address, 16) for address in place.split("-"))
            ctypes.CDLL(None).madvise(
                ctypes.c_void_p(start), ctypes.c_size_t(end - start), mmap.MADV_DONTNEED
            )


def _to_tensor(values: FloatArray, detail: dict[str, Any]) -> Any:
    if detail["dtype"] is not np.int8:
        return np.ascontiguousarray(values, dtype=np.float32)
    scale, zero_point = detail["quantization"]
    return np.clip(np.rint(values / scale) + zero_point, -128, 127).astype(np.int8)


def _from_tensor(values: Any, detail: dict[str, Any]) -> FloatArray:
    if detail["dtype"] is not np.int8:
        return np.asarray(values, dtype=np.float32)
    scale, zero_point = detail["quantization"]
    return np.asarray((values.astype(np.float32) - zero_point) * scale, dtype=np.float32)


def _check(card: ModelCard, side: str, spec: TensorSpec, detail: dict[str, Any]) -> None:
    shape = tuple(int(size) for size in detail["shape"])
    dtype = np.dtype(detail["dtype"]).name
    same = len(shape) == len(spec.shape) and all(
        size is None or size == given for size, given in zip(spec.shape, shape)
    )
    if not same or dtype != spec.dtype:
        raise ModelError(
            f"{card.file}: its {side} is {dtype} {shape}, "
            f"but its card says {spec.dtype} {spec.shape}; reinstall the software"
        )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
