"""Joins one graph at two lengths into a TensorFlow Lite graph that takes any.

The converter writes the length of its sample into the graph: as the size in reshapes and slices,
and nowhere else. Where two conversions differ, -1 leaves it to the runtime.
"""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

_SIZES = {schema.BuiltinOperator.RESHAPE: 1, schema.BuiltinOperator.SLICE: 2}
"""Which input of an operator holds sizes."""


def join(one: bytes, other: bytes) -> bytes:
    """One model of free length from two conversions; unless it is resized it is the first.

    Raises:
        ValueError: they differ in something else.
    """
    model, second = _read(one), _read(other)
    graph, counterpart = model.subgraphs[0], second.subgraphs[0]
    if len(graph.operators) != len(counterpart.operators):
        raise ValueError("the two graphs have a different number of operators")
    for operator, same in zip(graph.operators, counterpart.operators):
        code = model.operatorCodes[operator.opcodeIndex].builtinCode
        for place, pair in enumerate(zip(operator.inputs, same.inputs)):
            values = _constant(model, pair[0]), _constant(second, pair[1])
            if values[0] != values[1]:
                if _SIZES.get(code) != place:
                    raise ValueError(f"input {place} of an operator of code {code} differs")
                freed = _freed(*(np.frombuffer(each, np.int32) for each in values))
                operator.inputs = [int(index) for index in operator.inputs]
                operator.inputs[place] = _add(model, freed)
                if code == schema.BuiltinOperator.RESHAPE:
                    operator.builtinOptions = None  # holds the shape again
                    operator.builtinOptionsType = schema.BuiltinOptions.NONE
    for tensor, same in zip(graph.tensors, counterpart.tensors):
        if list(tensor.shape) != list(same.shape):
            tensor.shapeSignature = _freed(tensor.shape, same.shape)
    builder = flatbuffers.Builder(len(one))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _read(model: bytes) -> Any:
    return schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(model, 0))


def _constant(model: Any, index: int) -> bytes:
    """What a tensor holds; nothing if it is computed, or there is none."""
    if index < 0:
        return b""
    data = model.buffers[model.subgraphs[0].tensors[index].buffer].data
    return b"" if data is None else bytes(data)


def _freed(sizes: Any, others: Any) -> list[int]:
    """The sizes, -1 where the others are different."""
    return [int(one) if one == other else -1 for one, other in zip(sizes, others)]


def _add(model: Any, sizes: list[int]) -> int:
    """Add a constant; the index of its tensor."""
    buffer, tensor = schema.BufferT(), schema.TensorT()
    buffer.data = np.frombuffer(np.asarray(sizes, np.int32).tobytes(), np.uint8)
    model.buffers.append(buffer)
    tensors = model.subgraphs[0].tensors
    tensor.name = f"free_length_{len(tensors)}".encode()
    tensor.shape, tensor.type = [len(sizes)], schema.TensorType.INT32
    tensor.buffer = len(model.buffers) - 1
    tensors.append(tensor)
    return len(tensors) - 1
