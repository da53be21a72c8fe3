"""How the tool that measures the challenge finds recordings of digits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge.errors import InputError
from edge.types import SAMPLE_RATE
from tools.measure_challenge import People

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def record(folder: Path, names: tuple[str, ...], takes: int) -> None:
    noise = np.random.default_rng(0)
    for speaker in ("Ada", "Robin"):
        for name in names:
            (folder / speaker / name).mkdir(parents=True)
            for take in range(takes):
                samples = 0.1 * noise.standard_normal(1_600)
                soundfile.write(folder / speaker / name / f"{take}.flac", samples, SAMPLE_RATE)


@pytest.mark.parametrize("names", [tuple("0123456789"), NAMES], ids=["figures", "words"])
def test_digits_are_found_by_figure_and_by_name(tmp_path: Path, names: tuple[str, ...]) -> None:
    record(tmp_path, (*names, "stop"), 2)
    people = People(tmp_path, 0, 1)
    assert set(people.enrolled) == {"Ada", "Robin"}
    for halves in (people.enrolled, people.answers):
        assert [len(halves["Ada"][digit]) for digit in range(10)] == [1] * 10


def test_a_digit_that_is_missing_is_an_error(tmp_path: Path) -> None:
    record(tmp_path, NAMES[:9], 2)
    with pytest.raises(InputError, match="zero to nine"):
        People(tmp_path, 0, 1)
