"""Reads golden files and finds differences from them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

FILES = Path(__file__).parent / "files"


def golden(name: str) -> Any:
    """What a golden file holds; a list of the lines of one that ends in `.jsonl`."""
    text = (FILES / name).read_text(encoding="utf-8")
    if name.endswith(".jsonl"):
        return [json.loads(line) for line in text.splitlines()]
    return json.loads(text)


def differences(
    golden: Any,
    found: Any,
    tolerance: float = 0.0,
    place: str = "",
    *,
    measured: Mapping[str, float] = MappingProxyType({}),
) -> list[str]:
    """Where two JSON values differ, a line each.

    Args:
        golden: what is wanted.
        found: what there is.
        tolerance: by how much numbers may differ that are not both whole, and besides by which
            part of them; scores differ a little from one processor to another.
        place: where the values are, for the lines.
        measured: by how much the figures of these names may differ, whole or not.
    """
    if isinstance(golden, dict) and isinstance(found, dict):
        lines = [f"{place}.{name}: missing" for name in golden if name not in found]
        lines += [f"{place}.{name}: not in the golden file" for name in found if name not in golden]
        for name in golden.keys() & found.keys():
            lines += differences(
                golden[name], found[name], tolerance, f"{place}.{name}", measured=measured
            )
        return lines
    if isinstance(golden, list) and isinstance(found, list):
        lines = [] if len(golden) == len(found) else [f"{place}: {len(found)} of {len(golden)}"]
        for number, (one, other) in enumerate(zip(golden, found)):
            lines += differences(one, other, tolerance, f"{place}[{number}]", measured=measured)
        return lines
    figures = {type(golden), type(found)}
    within = measured.get(place.rpartition(".")[2])
    if within is not None and figures <= {int, float}:
        same = abs(golden - found) <= within
    elif float in figures and figures <= {int, float}:
        same = abs(golden - found) <= tolerance * max(1.0, abs(golden))
    else:
        same = type(golden) is type(found) and golden == found
    return [] if same else [f"{place}: {found!r} instead of {golden!r}"]
