"""Model cards: what a model file is, where it comes from, how it was calibrated."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from edge.errors import ModelError

_LARGEST = 1e6
"""No threshold or figure of a calibration comes near; a larger one is damage."""


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a value of a card is a number that may be meant; NaN is none."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    return -_LARGEST < value < _LARGEST


@dataclass(frozen=True)
class TensorSpec:
    """The input or output of a model.

    A size in `shape` is None where it is free, `dtype` is `float32` or `int8`, and `meaning` gives
    axes and units in words.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    meaning: str


@dataclass(frozen=True)
class ModelSource:
    """A model's original weights: a file of a Python package; `upstream` says who made them."""

    package: str
    version: str
    file: str
    sha256: str
    upstream: str


@dataclass(frozen=True)
class ModelCard:
    """The JSON file beside a model.

    Attributes:
        task: what the model does, in a sentence.
        file: name of the model file, beside the card.
        sha256: hash of the model file, hexadecimal.
        license: SPDX identifier.
        sources: where the original weights are from, one at least.
        quantization: how the weights and activations are stored, in words.
        runtimes: runtimes that it was tested under, each with its version.
        credit: recordings behind any figure of this card, with their license.
        measured: figures that the tools measured, by name.
        operating_points: thresholds and what they were measured at, by name.
        calibration: from a score to a log-likelihood ratio, and the model file that it is for.
    """

    name: str
    task: str
    file: str
    sha256: str
    size_bytes: int
    license: str
    sources: tuple[ModelSource, ...]
    input: TensorSpec
    output: TensorSpec
    quantization: str
    runtimes: tuple[str, ...]
    credit: str
    measured: Mapping[str, Any] = field(default_factory=dict)
    operating_points: Mapping[str, Any] = field(default_factory=dict)
    calibration: Mapping[str, Any] = field(default_factory=dict)

    def threshold(self, name: str) -> float:
        """The threshold of one operating point.

        Raises:
            ModelError: the card has no such operating point, or it has no threshold.
        """
        point = self.operating_points.get(name)
        value = point.get("threshold") if isinstance(point, dict) else None
        if not is_number(value):
            raise ModelError(
                f"the card of {self.file} gives no threshold for {name!r}; "
                "reinstall the software, or run tools/calibrate_models.py"
            )
        return float(value)


def read_card(path: Path) -> ModelCard:
    """Read a model card, strictly.

    Raises:
        ModelError: the file cannot be read, is not JSON, or a key is missing, unknown or of a
            wrong type; the message names the file and the key.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(
            f"{path}: the model card cannot be read ({error}); reinstall the software"
        ) from error
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(
            f"{path}: the model card is not JSON ({error}); reinstall the software"
        ) from error
    return _card(_Reader(path, "", document))


class _Reader:
    """An object of the card; knows its place, for error messages."""

    def __init__(self, path: Path, where: str, value: object) -> None:
        self._path = path
        self._where = where
        if not isinstance(value, dict):
            raise self.fault("", f"must be an object, not {_kind(value)}")
        self._rest: dict[str, Any] = dict(value)

    def fault(self, key: str, text: str) -> ModelError:
        """The error to raise about a key."""
        name = ".".join(part for part in (self._where, key) if part) or "the card"
        return ModelError(f"{self._path}: {name} {text}; reinstall the software")

    def value(self, key: str, *types: type) -> Any:
        """Value of a required key."""
        if key not in self._rest:
            raise self.fault(key, "is missing")
        value = self._rest.pop(key)
        if not isinstance(value, types) or isinstance(value, bool):
            wanted = " or ".join(_NAMES[kind] for kind in types)
            raise self.fault(key, f"must be {wanted}, not {_kind(value)}")
        return value

    def texts(self, *keys: str) -> dict[str, str]:
        """Required strings, by key."""
        return {key: self.value(key, str) for key in keys}

    def digest(self, key: str) -> str:
        """A SHA-256, hexadecimal."""
        value: str = self.value(key, str)
        if len(value) != 64 or not set(value) <= set("0123456789abcdef"):
            raise self.fault(key, "must be a SHA-256 of 64 lower-case hexadecimal digits")
        return value

    def inner(self, key: str) -> _Reader:
        """A required object."""
        where = f"{self._where}.{key}" if self._where else key
        return _Reader(self._path, where, self.value(key, dict))

    def items(self, key: str, *types: type) -> tuple[Any, ...]:
        """A list whose items all are of one of the types."""
        values = self.value(key, list)
        if any(not isinstance(value, types) or isinstance(value, bool) for value in values):
            wanted = " or ".join(_NAMES[kind] for kind in types)
            raise self.fault(key, f"must be a list of {wanted}")
        return tuple(values)

    def objects(self, key: str) -> list[_Reader]:
        """The objects of a required list, one at least."""
        values = self.items(key, dict)
        if not values:
            raise self.fault(key, "is empty")
        where = f"{self._where}.{key}" if self._where else key
        return [_Reader(self._path, f"{where}[{n}]", value) for n, value in enumerate(values)]

    def end(self) -> None:
        """Refuse unknown keys."""
        for key in self._rest:
            raise self.fault(key, "is not known")


_NAMES = {
    str: "a string",
    int: "an integer",
    float: "a number",
    dict: "an object",
    list: "a list",
    type(None): "null",
}


def _kind(value: object) -> str:
    return _NAMES.get(type(value), type(value).__name__)


def _card(reader: _Reader) -> ModelCard:
    card = ModelCard(
        **reader.texts("name", "task", "file", "license", "quantization", "credit"),
        sha256=reader.digest("sha256"),
        size_bytes=reader.value("size_bytes", int),
        sources=tuple(map(_source, reader.objects("sources"))),
        input=_tensor(reader.inner("input")),
        output=_tensor(reader.inner("output")),
        runtimes=reader.items("runtimes", str),
        measured=reader.value("measured", dict),
        operating_points=reader.value("operating_points", dict),
        calibration=reader.value("calibration", dict),
    )
    reader.end()
    if Path(card.file).name != card.file:
        raise reader.fault("file", "must be a file name without a folder")
    return card


def _source(reader: _Reader) -> ModelSource:
    source = ModelSource(
        **reader.texts("package", "version", "file", "upstream"), sha256=reader.digest("sha256")
    )
    reader.end()
    return source


def _tensor(reader: _Reader) -> TensorSpec:
    spec = TensorSpec(
        **reader.texts("name", "dtype", "meaning"), shape=reader.items("shape", int, type(None))
    )
    reader.end()
    if spec.dtype not in ("float32", "int8"):
        raise reader.fault("dtype", "must be float32 or int8")
    return spec
