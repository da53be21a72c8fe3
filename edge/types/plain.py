"""JSON that every language writes the same way."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


def plain(value: Any) -> Any:
    """The same value with every whole float as an integer, lists for tuples, dicts for mappings.

    JSON has one kind of number: 5.0 and 5 are the same, but not the same text. It has none that is
    infinite; None stands for those.
    """
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return int(value) if value.is_integer() else value
    if isinstance(value, Mapping):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return value


def one_line(value: Mapping[str, Any], *, sort: bool = False) -> str:
    """An object as one line of JSON without spaces, in its own order or sorted by name.

    Raises:
        TypeError: a value that JSON cannot hold.
    """
    return json.dumps(
        plain(value),
        ensure_ascii=False,
        allow_nan=False,
        sort_keys=sort,
        separators=(",", ":"),
    )
