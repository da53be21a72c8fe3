"""What the fuzzing tests share: how many examples, ways to damage bytes, and limits that hold."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

EXAMPLES = [pytest.param(60, id="few"), pytest.param(4000, id="many", marks=pytest.mark.long)]
"""For `pytest.mark.parametrize("examples", EXAMPLES)`."""

_SECONDS = 5.0
"""Processor time that no single example may take; the usual one takes a thousandth of it."""
_MIB = 512
"""By which the process may grow in all the examples of one test together."""

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)

_WORDS = [0, 1, 2, 7, 8, 9, 255, 256, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFEFFFF, 0x7FFFFFFF,
          0x80000000, 0xFFFFFFFE, 0xFFFFFFFF]  # fmt: skip
_PIECES = st.one_of(
    st.binary(min_size=1, max_size=8),
    st.tuples(st.sampled_from(_WORDS), st.sampled_from([2, 4, 8]), st.sampled_from("lb")).map(
        lambda word: (word[0] % 256 ** word[1]).to_bytes(
            word[1], "little" if word[2] == "l" else "big"
        )
    ),
)


def hammer(examples: int, check: Callable[..., None], **strategies: st.SearchStrategy[Any]) -> None:
    """Call `check` with so many examples; each must end in time, and memory must not run away."""

    def one(**values: Any) -> None:
        with in_time():
            check(**values)

    before = _peak_mib()
    settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))(
        given(**strategies)(one)
    )()
    assert _peak_mib() - before < _MIB


@contextmanager
def in_time(seconds: float = _SECONDS) -> Iterator[None]:
    """Fails where what is inside takes more processor time, whatever else the machine does."""
    begun = time.process_time()
    yield
    assert time.process_time() - begun < seconds


@st.composite
def damaged(draw: st.DrawFn, originals: list[bytes], head: int = 80) -> bytes:
    """One of the originals with up to four pieces exchanged, inserted, removed, or cut off.

    Half of the damage is in the first `head` bytes, where a format's sizes are.
    """
    data = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(0, 4))):
        end = min(head, len(data)) if draw(st.booleans()) else len(data)
        place = draw(st.integers(0, end))
        what = draw(st.sampled_from(["exchange", "exchange", "exchange", "insert", "cut", "drop"]))
        if what == "cut":
            del data[place:]
        elif what == "drop":
            del data[place : place + draw(st.integers(1, 64))]
        else:
            piece = draw(_PIECES)
            data[place : place + (len(piece) if what == "exchange" else 0)] = piece
    return bytes(data)


def _peak_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
