"""What digits are recognized by, and how near an answer comes to those asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from edge.challenge.features import features_of, loudness_of, noise_of, spectrum_of, word_in
from edge.challenge.matching import DigitExample, DigitRecognizer, DigitScore
from edge.types import FloatArray
from tests.unit.made_digits import example, made_rounds, said

ASKED = (4, 1, 7, 2)


@pytest.fixture(scope="module")
def one_round() -> DigitRecognizer:
    return DigitRecognizer(made_rounds()[0].examples)


@pytest.fixture(scope="module")
def three_rounds() -> DigitRecognizer:
    return DigitRecognizer([each for spoken in made_rounds() for each in spoken.examples])


@pytest.mark.parametrize(
    ("digits", "noise", "margin", "cost"),
    [
        ((4, 1, 7, 2), 0.0001, 61.93, 0.6221),
        ((4, 1, 7, 2), 0.003, 32.34, 1.3553),
        ((4, 1, 7, 2), 0.02, -8.26, 1.6273),
        ((4, 1, 7, 3), 0.0001, -111.57, 1.6882),
        ((5, 1, 7, 2), 0.003, -63.29, 1.6807),
        ((4, 1, 7), 0.0001, -90.37, 1.7549),
        ((1, 7, 2), 0.003, -67.01, 1.7750),
        ((4, 1, 7, 2, 5), 0.0001, -67.99, 1.1348),
        ((4, 4, 1, 7, 2), 0.003, -27.15, 1.5408),
    ],
)
def test_how_near_an_answer_comes(
    three_rounds: DigitRecognizer,
    digits: Sequence[int],
    noise: float,
    margin: float,
    cost: float,
) -> None:
    score = three_rounds.score(said(digits, noise=noise), ASKED)
    assert score.margin == pytest.approx(margin, abs=0.1)
    assert score.cost == pytest.approx(cost, abs=0.002)
    assert score.accepted == (digits == ASKED and noise < 0.01)


@pytest.mark.parametrize(
    ("digits", "margin", "cost"),
    [
        ((4, 1, 7, 2), 26.63, 0.5067),
        ((4, 1, 7, 3), -41.82, 0.9130),
        ((4, 1, 7), -30.29, 0.8791),
        ((4, 1, 7, 2, 5), -69.87, 1.0438),
    ],
)
def test_how_near_an_answer_comes_to_a_single_round(
    one_round: DigitRecognizer, digits: Sequence[int], margin: float, cost: float
) -> None:
    score = one_round.score(said(digits), ASKED)
    assert score.margin == pytest.approx(margin, abs=0.1)
    assert score.cost == pytest.approx(cost, abs=0.002)


def test_where_each_digit_of_an_answer_is(three_rounds: DigitRecognizer) -> None:
    """Each takes 0.25 s, after 0.4 s of silence and 0.12 s between them, half of which it keeps."""
    score = three_rounds.score(said(ASKED), ASKED)
    assert [each.start for each in score.spoken] == pytest.approx([32, 71, 108, 145], abs=3)
    assert [each.end for each in score.spoken] == pytest.approx([71, 108, 145, 184], abs=3)
    costs = [each.cost for each in score.spoken]
    assert np.mean(costs) == pytest.approx(score.cost, abs=0.05)
    other = three_rounds.score(said((4, 1, 9, 2)), ASKED)
    assert max(each.cost for each in other.spoken) == other.spoken[2].cost > 2.0


@pytest.mark.parametrize("seconds", [0.0, 0.031])
def test_no_sound_is_no_answer(one_round: DigitRecognizer, seconds: float) -> None:
    nothing = np.zeros(round(16_000 * seconds), np.float32)
    assert one_round.score(nothing, ASKED) == DigitScore(-np.inf, np.inf)
    silence = one_round.score(np.zeros(16_000, np.float32), ASKED)
    assert not silence.accepted
    assert np.isfinite(silence.cost)


@pytest.mark.parametrize(
    ("margin", "cost", "accepted"),
    [(0.0, 1.5, True), (-0.001, 1.5, False), (0.0, 1.501, False)],
)
def test_what_is_accepted(margin: float, cost: float, accepted: bool) -> None:
    assert DigitScore(margin, cost).accepted == accepted


def test_the_nearest_other_digit(one_round: DigitRecognizer, three_rounds: DigitRecognizer) -> None:
    for recognizer, digit, other, margin in (
        (three_rounds, 0, 1, 91.40),
        (three_rounds, 5, 6, 94.10),
        (three_rounds, 8, 7, 89.26),
        (one_round, 0, 1, 36.04),
        (one_round, 9, 8, 36.01),
    ):
        found, by = recognizer.nearest_other(example(digit))
        assert found == other
        assert by == pytest.approx(margin, abs=0.1)
    found, by = three_rounds.nearest_other(replace(example(7), digit=4))
    assert found == 7
    assert by == pytest.approx(-117.75, abs=0.1)


def test_a_recognizer_needs_every_digit_and_whole_words() -> None:
    examples = made_rounds()[0].examples
    with pytest.raises(ValueError, match="needs an example of each digit"):
        DigitRecognizer(examples[:9])
    assert repr(examples[0]) == "DigitExample(digit=0)", "no log shows a voice"
    short = examples[0].spectrum[10:14]
    DigitRecognizer([DigitExample(0, short), *examples[1:]])
    with pytest.raises(ValueError, match="an example needs 4 frames"):
        DigitRecognizer([DigitExample(0, short[:3]), *examples[1:]])


def levels(*rows: float, band: int = 3) -> FloatArray:
    """A spectrum with these levels in one band, nothing in the others."""
    spectrum = np.full((len(rows), 32), -10.4, np.float32)
    spectrum[:, band] = rows
    return spectrum


NOTHING = -10.4


@pytest.mark.parametrize(
    ("rows", "first", "last"),
    [
        # 30 dB below the loudest a word begins and ends; a frame on both sides is part of it.
        ([*20 * [NOTHING], -6.95, -6.85, -8.0, 0.0, -6.85, -6.95, NOTHING, NOTHING], 20, 25),
        ([0.0, -6.85, *20 * [NOTHING]], 0, 2),
        ([*20 * [NOTHING], -6.85], 19, 20),
    ],
)
def test_a_word_is_cut_from_its_silence(rows: list[float], first: int, last: int) -> None:
    spectrum = levels(*rows)
    assert np.array_equal(word_in(spectrum), spectrum[first : last + 1])


@pytest.mark.parametrize(
    ("quiet", "click", "below", "above"), [(-6.0, 0.0, -5.1, -4.9), (-2.0, 6.0, -1.1, -0.9)]
)
def test_noise_is_no_word(quiet: float, click: float, below: float, above: float) -> None:
    # Three quiet frames, with a click in one, are the measure of the noise: -5.0 here, and at most
    # -1.0 where they are as loud as speech.
    spectrum = np.full((21, 32), -6.0, np.float32)
    spectrum[[0, 1, 12]] = -10.4
    spectrum[[0, 1, 12], 3] = [quiet, quiet, click]
    spectrum[[8, 10], 3] = [below, above]
    assert np.array_equal(word_in(spectrum), spectrum[9:14])


def test_where_there_is_no_word() -> None:
    assert len(word_in(levels(*20 * [-6.95]))) == 0
    assert len(word_in(spectrum_of(np.zeros(100, np.float32)))) == 0


def test_the_noise_is_the_quietest_tenth_of_the_frames() -> None:
    # 101 frames, -9.0 to 1.0: the eleven quietest are -9.0 to -8.0 in every band.
    ramp = np.repeat(np.linspace(-9.0, 1.0, 101, dtype=np.float32)[:, None], 32, axis=1)
    ramp[:, 0] -= 5.0
    ramp[:, 1] += 11.0
    noise = noise_of(ramp)
    assert noise[2:] == pytest.approx(-9.5, abs=1e-5)
    assert noise[:2] == pytest.approx([-10.4, 0.0], abs=1e-5)
    assert loudness_of(ramp, noise) == pytest.approx(
        np.maximum(np.linspace(0.5, 10.5, 101), np.linspace(2.0, 12.0, 101)), abs=1e-5
    )


def test_a_spectrum_is_relative_to_its_loudest_sounds() -> None:
    spectrum = spectrum_of(said([6], noise=0.003))
    assert spectrum.shape == (115, 32)
    assert spectrum.dtype == np.float32
    assert spectrum.max() == pytest.approx(0.100, abs=0.002)
    assert spectrum.mean() == pytest.approx(-9.546, abs=0.005)
    assert spectrum[50, 4:10] == pytest.approx(
        [-8.088, -7.873, -3.069, -0.112, -0.496, -4.987], abs=0.005
    )
    assert spectrum.min() == pytest.approx(-10.4, abs=1e-5)
    assert len(spectrum_of(np.ones(511, np.float32))) == 0


def test_features_are_cepstra_with_their_changes() -> None:
    # The level rises by 0.1 a frame, and falls across the bands in half a wave.
    wave = np.cos(np.pi * (np.arange(32) + 0.5) / 32)
    spectrum = np.asarray(0.1 * np.arange(21)[:, None] + wave, np.float32)
    features = features_of(spectrum, np.full(32, -10.4, np.float32))
    assert features.shape == (21, 39)
    level = 0.8 * np.arange(21)
    slope = np.full(21, 4.0)
    slope[:5] = slope[:-6:-1] = [2.0, 2.545, 3.055, 3.491, 3.818]
    bend = np.zeros(21)
    bend[:10] = [1.109, 1.250, 1.299, 1.258, 1.126, 0.902, 0.588, 0.332, 0.149, 0.041]
    bend[:-11:-1] = -bend[:10]
    expected = {0: level, 1: np.full(21, 4.0), 13: slope, 26: bend}
    for column in range(39):
        assert features[:, column] == pytest.approx(expected.get(column, np.zeros(21)), abs=0.001)
    # What is below the noise is raised to it.
    raised = features_of(spectrum, np.full(32, 3.0, np.float32))
    assert raised[:, 0] == pytest.approx(np.full(21, 24.0), abs=0.001)
