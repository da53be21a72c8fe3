"""A source that outlives whoever listens to it."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.audio.shared_source import Lender
from edge.audio.sources import FileSource, StandardInputSource
from edge.errors import AudioFormatError
from edge.types import AudioBlock


class Piped:
    """A pipe with 16-bit sound, and a lender of what it carries."""

    def __init__(self) -> None:
        reading, self._writing = os.pipe()
        self.stream = open(reading, "rb", buffering=0)  # noqa: PTH123, SIM115
        self.lender = Lender(StandardInputSource(self.stream))

    def say(self, *numbers: int) -> None:
        """Half a block of each of these numbers."""
        for number in numbers:
            os.write(self._writing, np.full(256, number, "<i2").tobytes())

    def end(self) -> None:
        os.close(self._writing)


def numbers_of(block: AudioBlock) -> list[int]:
    return sorted({round(float(sample) * 32768) for sample in block.samples})


def test_what_one_has_not_taken_is_for_the_next() -> None:
    pipe = Piped()
    first = pipe.lender.lend()
    pipe.say(1, 1, 2, 2, 3, 3)
    blocks = first.blocks()
    assert [numbers_of(next(blocks)) for _ in range(2)] == [[1], [2]]
    first.close()
    assert list(blocks) == []
    pipe.say(4, 4)
    pipe.end()
    second = pipe.lender.lend()
    later = list(second.blocks())
    assert [numbers_of(block) for block in later] == [[3], [4]]
    assert later[0].start_s == pytest.approx(2 * 512 / 16_000)
    # The end is the end for everybody.
    assert list(pipe.lender.lend().blocks()) == []
    assert not pipe.stream.closed


def test_whoever_waits_for_sound_is_let_go() -> None:
    pipe = Piped()
    lent = pipe.lender.lend()
    taken: list[Any] = []
    waiting = threading.Thread(target=lambda: taken.extend(lent.blocks()))
    waiting.start()
    lent.close()
    waiting.join(5)
    assert not waiting.is_alive()
    assert taken == []
    pipe.end()


def test_what_a_source_fails_with_is_told_to_whoever_listens(tmp_path: Path) -> None:
    missing = tmp_path / "missing.wav"
    lender = Lender(FileSource(missing))
    for _ in range(2):
        with pytest.raises(AudioFormatError, match=r"missing\.wav"), lender.lend() as lent:
            list(lent.blocks())
