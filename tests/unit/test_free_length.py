"""Two conversions of one graph, joined into one that takes any length."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edge.inference.model import new_interpreter
from edge.types import FloatArray
from tools.models.free_length import join

FLOAT, INT = schema.TensorType.FLOAT32, schema.TensorType.INT32
RESHAPE, SLICE = schema.BuiltinOperator.RESHAPE, schema.BuiltinOperator.SLICE


class Graph:
    """A small model, tensor by tensor."""

    def __init__(self) -> None:
        self.model = schema.ModelT()
        self.model.version = 3
        self.model.buffers = [schema.BufferT()]
        self.model.operatorCodes = []
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.model.subgraphs = [self.graph]

    def tensor(self, shape: list[int], values: list[int] | None = None) -> int:
        """The index of a new tensor, constant if it has values."""
        tensor = schema.TensorT()
        tensor.name = f"tensor {len(self.graph.tensors)}".encode()
        tensor.shape, tensor.type = shape, FLOAT if values is None else INT
        tensor.buffer = 0
        if values is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.asarray(values, np.int32).tobytes(), np.uint8)
            self.model.buffers.append(buffer)
            tensor.buffer = len(self.model.buffers) - 1
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def operator(self, code: int, inputs: list[int], shape: list[int]) -> int:
        """The index of what a new operator computes, of a shape."""
        kind = schema.OperatorCodeT()
        kind.builtinCode = kind.deprecatedBuiltinCode = code
        kind.version = 1
        self.model.operatorCodes.append(kind)
        operator = schema.OperatorT()
        operator.opcodeIndex = len(self.model.operatorCodes) - 1
        operator.inputs, operator.outputs = inputs, [self.tensor(shape)]
        if code == RESHAPE:
            operator.builtinOptionsType = schema.BuiltinOptions.ReshapeOptions
            operator.builtinOptions = schema.ReshapeOptionsT()
            operator.builtinOptions.newShape = shape
        else:
            operator.builtinOptionsType = schema.BuiltinOptions.SliceOptions
            operator.builtinOptions = schema.SliceOptionsT()
        self.graph.operators.append(operator)
        return int(operator.outputs[0])

    def file(self, first: int, last: int) -> bytes:
        """The model file, from its input to its output."""
        self.graph.inputs, self.graph.outputs = [first], [last]
        builder = flatbuffers.Builder(0)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def middle_columns(frames: int, *, columns: int = 2, again: bool = False) -> bytes:
    """Columns 1 and 2 of `frames` rows of four, as one row each."""
    graph = Graph()
    first = graph.tensor([1, frames, 4])
    sizes = graph.tensor([2], [frames, 4])
    rows = graph.operator(RESHAPE, [first, sizes], [frames, 4])
    begin, size = graph.tensor([2], [0, 1]), graph.tensor([2], [frames, columns])
    last = graph.operator(SLICE, [rows, begin, size], [frames, columns])
    if again:
        last = graph.operator(RESHAPE, [last, size], [frames, columns])
    return graph.file(first, last)


def run(model: bytes, values: FloatArray, tmp_path: Path) -> Any:
    path = tmp_path / "model.tflite"
    path.write_bytes(model)
    interpreter = new_interpreter(path, 1)
    index = interpreter.get_input_details()[0]["index"]
    interpreter.resize_tensor_input(index, list(values.shape))
    interpreter.allocate_tensors()
    interpreter.set_tensor(index, values)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


@pytest.mark.parametrize("frames", [1, 8, 12, 301])
def test_a_joined_graph_takes_any_length(frames: int, tmp_path: Path) -> None:
    joined = join(middle_columns(8), middle_columns(12))
    values = np.random.default_rng(0).normal(size=(1, frames, 4)).astype(np.float32)
    assert np.array_equal(run(joined, values, tmp_path), values[0, :, 1:3])


def test_the_same_two_give_the_same_bytes() -> None:
    assert join(middle_columns(8), middle_columns(12)) == join(
        middle_columns(8), middle_columns(12)
    )


def test_what_differs_in_anything_else_is_refused() -> None:
    with pytest.raises(ValueError, match="a different number of operators"):
        join(middle_columns(8), middle_columns(12, again=True))
    other = Graph()
    first = other.tensor([1, 8, 4])
    rows = other.operator(RESHAPE, [first, other.tensor([2], [8, 4])], [8, 4])
    begin, size = other.tensor([2], [0, 2]), other.tensor([2], [8, 2])
    shifted = other.file(first, other.operator(SLICE, [rows, begin, size], [8, 2]))
    with pytest.raises(ValueError, match="input 1 of an operator of code 65 differs"):
        join(middle_columns(8), shifted)
