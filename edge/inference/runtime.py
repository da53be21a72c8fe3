"""Whichever TensorFlow Lite interpreter is installed, made quiet and its failures told."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import Any, Protocol

from edge.errors import ModelError

_RUNTIMES = ("ai_edge_litert.interpreter", "tflite_runtime.interpreter")


class Interpreter(Protocol):
    """The part of the interpreter that both runtimes share and that is used here."""

    def allocate_tensors(self) -> None: ...  # noqa: D102
    def get_input_details(self) -> list[dict[str, Any]]: ...  # noqa: D102
    def get_output_details(self) -> list[dict[str, Any]]: ...  # noqa: D102
    def resize_tensor_input(self, index: int, size: list[int]) -> None: ...  # noqa: D102
    def set_tensor(self, index: int, value: Any) -> None: ...  # noqa: D102
    def get_tensor(self, index: int) -> Any: ...  # noqa: D102
    def invoke(self) -> None: ...  # noqa: D102


def new_interpreter(content: bytes, threads: int) -> Interpreter:
    """Open a model with the runtime that is installed: LiteRT, else its predecessor.

    Args:
        content: the model file's bytes; the caller keeps them alive as long as the interpreter.
        threads: how many threads an inference may use.

    Returns:
        The interpreter, its tensors allocated.

    Raises:
        ModelError: no runtime is installed.
        ValueError: the model cannot be opened (or RuntimeError, by the runtime's choice).
    """
    for name in _RUNTIMES:
        try:
            module = __import__(name, fromlist=["Interpreter"])
        except ImportError:
            continue
        with _quiet():
            interpreter: Interpreter = module.Interpreter(
                model_content=content, num_threads=threads
            )
            interpreter.allocate_tensors()
        return interpreter
    raise ModelError(
        "no TensorFlow Lite runtime can be imported; "
        "install one: pip install ai-edge-litert (or tflite-runtime on 32-bit systems)"
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the runtime's own notes ("INFO: Created ... delegate") off standard error.

    They are written by C++ to the file descriptor, so nothing in Python can filter them. Whatever
    else is written meanwhile is passed on afterwards.
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
