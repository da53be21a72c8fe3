"""How calibrations are made: logistic regression, sayings made again, near misses."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge.evaluation.corpus import CorpusFile
from edge.recognition import Engine
from edge.recognition.dtw import unit
from edge.types import SAMPLE_RATE, FloatArray, Profile, Quality, Utterance
from tests.unit.voices import recording, samples_of, speech
from tools.calibration import phrases, stretches
from tools.calibration.logistic import fit
from tools.calibration.quantiles import fit_quantile
from tools.calibration.stretches import find_stretch_allowance
from tools.calibration.voice import FittedVoice, fit_voice
from tools.calibration.voices import CorpusUtterance, Voices


def gaussian(
    targets: int, nontargets: int, above: float, below: float, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Scores of unit deviation, whose log-likelihood ratio is known."""
    chance = np.random.default_rng(seed)
    scores = np.concatenate(
        (chance.normal(above, 1.0, targets), chance.normal(below, 1.0, nontargets))
    )
    return scores, np.arange(len(scores)) < targets


@pytest.mark.parametrize("prior", [0.5, 0.1, 0.01])
@pytest.mark.parametrize(("targets", "nontargets"), [(20_000, 20_000), (2_000, 100_000)])
def test_the_ratio_of_two_gaussians_is_recovered(
    prior: float, targets: int, nontargets: int
) -> None:
    above, below = 2.0, -1.0
    scores, target = gaussian(targets, nontargets, above, below)
    features = np.stack((np.ones_like(scores), scores), axis=1)
    offset, slope = fit(features, target, prior, ridge=1e-6)
    # ln N(x; 2, 1) - ln N(x; -1, 1) = 3 x - 1.5
    assert slope == pytest.approx(above - below, rel=0.07)
    assert offset == pytest.approx((below**2 - above**2) / 2, abs=0.25)
    # Holding the weights back makes the ratio more cautious, and only a little.
    held = fit(features, target, prior)
    assert 0.85 * slope < held[1] < slope


def test_a_measure_of_quality_finds_its_weight() -> None:
    """Scores that a nuisance pushes up, for targets and others alike."""
    scores, target = gaussian(20_000, 20_000, 2.0, -1.0)
    nuisance = np.random.default_rng(1).normal(0.0, 1.0, len(scores))
    table = np.stack((np.ones_like(scores), scores + 0.5 * nuisance, nuisance), axis=1)
    offset, slope, weight = fit(table, target, 0.5, ridge=1e-6)
    assert slope == pytest.approx(3.0, rel=0.05)
    assert weight == pytest.approx(-1.5, rel=0.1)
    assert offset == pytest.approx(-1.5, abs=0.2)


def test_the_scale_of_a_feature_is_nothing_to_it() -> None:
    scores, target = gaussian(2_000, 2_000, 2.0, -1.0)
    ones = np.ones_like(scores)
    plain = fit(np.stack((ones, scores), axis=1), target, 0.1)
    large = fit(np.stack((ones, 1000.0 * scores), axis=1), target, 0.1)
    assert large[1] * 1000.0 == pytest.approx(plain[1], rel=1e-2)
    assert large[0] == pytest.approx(plain[0], abs=0.05)


def test_scores_that_do_not_overlap_give_no_infinite_ratio() -> None:
    scores, target = np.asarray([3.0, 4.0, 5.0, -3.0, -4.0, -5.0]), np.arange(6) < 3
    found = fit(np.stack((np.ones(6), scores), axis=1), target, 0.5)
    assert np.isfinite(found).all()
    assert 0.0 < found[1] < 20.0


# --- near misses ---


def replaced_in(
    phrase: FloatArray,
    foreign: FloatArray,
    chance: np.random.Generator,
    lead: int = 0,
    tail: int = 0,
) -> FloatArray:
    def utterance(samples: FloatArray, lead: int = 0, tail: int = 0) -> Utterance:
        seconds = len(samples) / SAMPLE_RATE
        quality = Quality(0.0, 0.0, 0.0, 0.0, seconds)
        end_s = seconds - tail / SAMPLE_RATE
        return Utterance(samples, 0.0, end_s, quality, lead_s=lead / SAMPLE_RATE)

    said = utterance(phrase, lead, tail)
    return phrases._with_a_part_replaced(said, utterance(foreign), chance).samples


@pytest.mark.parametrize("seed", range(20))
def test_a_third_is_replaced_in_one_piece(seed: int) -> None:
    phrase = np.zeros(1999, np.float32)
    foreign = np.arange(1.0, 1501.0, dtype=np.float32)
    missed = replaced_in(phrase, foreign, np.random.default_rng(seed), lead=600, tail=400)
    assert not phrase.any()
    assert len(missed) == len(phrase)
    replaced = np.flatnonzero(missed)
    assert replaced[0] >= 600  # not in the silence around it
    assert replaced[-1] < 1599
    assert len(replaced) == 333
    assert (np.diff(replaced) == 1).all()
    assert (np.diff(missed[replaced]) == 1.0).all()


def test_any_place_may_be_replaced() -> None:
    phrase, foreign = np.zeros(300, np.float32), np.ones(300, np.float32)
    chance = np.random.default_rng(0)
    share = np.mean([replaced_in(phrase, foreign, chance) for _ in range(300)], axis=0)
    assert (share > 0.0).sum() > 290


def test_what_is_shorter_than_a_third_is_put_in_whole() -> None:
    phrase, foreign = np.zeros(900, np.float32), np.arange(1.0, 101.0, dtype=np.float32)
    missed = replaced_in(phrase, foreign, np.random.default_rng(3))
    np.testing.assert_array_equal(missed[missed > 0.0], foreign)


@pytest.mark.parametrize("speed", [0.85, 1.0, 1.2])
def test_said_faster_it_is_shorter(speed: float) -> None:
    said = recording("ada_right_phrase")
    altered = phrases._altered(said, speed, np.random.default_rng(0))
    for figure in ("duration_s", "lead_s", "tail_s"):
        assert getattr(altered, figure) == pytest.approx(getattr(said, figure) / speed, rel=0.01)
    assert altered.samples.dtype == np.float32


@pytest.mark.parametrize("share", [0.02, 0.125, 0.5, 0.9, 0.999])
def test_a_line_below_which_a_share_lies_is_recovered(share: float) -> None:
    chance = np.random.default_rng(0)
    x = chance.uniform(0.0, 3.0, 20_000)
    # Spread evenly over 0.5 at x = 0, and over 0.5 more for each unit of it.
    values = 1.0 + 2.0 * x + 0.5 * (1.0 + x) * chance.random(len(x))
    features = np.stack((np.ones_like(x), x), axis=1)
    weights = fit_quantile(features, values, share)
    assert weights[1] == pytest.approx(2.0 + 0.5 * share, abs=0.05)
    # The rounded kink moves the line of a rare share outwards, not its slope.
    assert weights[0] == pytest.approx(1.0 + 0.5 * share, abs=0.05 if share < 0.99 else 0.2)
    assert np.mean(values < features @ weights) == pytest.approx(share, abs=0.03)


def test_what_says_nothing_about_a_quantile_weighs_nothing() -> None:
    chance = np.random.default_rng(1)
    features = np.stack((np.ones(20_000), chance.normal(0.0, 1.0, 20_000)), axis=1)
    weights = fit_quantile(features, chance.normal(5.0, 1.0, 20_000), 0.125)
    assert weights == pytest.approx([5.0 - 1.150, 0.0], abs=0.05)  # 12.5 % of a Gaussian


NOTHING = np.zeros(400, np.float32)


def made_up(seed: int = 0) -> phrases.Distances:
    chance = np.random.default_rng(seed)

    def around(mean: float, deviation: float, count: int) -> FloatArray:
        return chance.normal(mean, deviation, count).astype(np.float32)

    return phrases.Distances(
        right=around(0.20, 0.06, 400),
        right_noise=NOTHING,
        right_echo=NOTHING,
        near=around(0.55, 0.08, 400),
        near_noise=NOTHING,
        near_echo=NOTHING,
        other=around(0.80, 0.08, 20_000),
        single=around(0.85, 0.08, 1_000),
    )


def test_the_curve_of_a_phrase_keeps_both_promises() -> None:
    distances = made_up()
    found = phrases.fit_phrase(distances)
    assert found.distance < 0.0
    assert found.ratio(float(np.median(distances.right)), 30.0, 0.0) > 0.0
    assert found.ratio(float(np.median(distances.near)), 30.0, 0.0) < 0.0

    def passing(of: FloatArray, rate: float) -> float:
        return float(np.mean(found.ratio(of, 30.0, 0.0) >= found.curve.threshold(rate)))

    for rate, near_misses in ((0.01, 0.25), (0.001, 0.125), (0.0001, 0.0625)):
        assert passing(distances.other, rate) <= max(rate, 0.001) + 1e-4
        # One of both limits it, so it is no stricter than it must be.
        assert passing(distances.near, rate) == pytest.approx(near_misses, abs=0.005)
    # Where near misses are told apart well, other sentences set the limit.
    clear = phrases.fit_phrase(replace(distances, near=distances.other[:400]))
    accepted = clear.ratio(distances.other, 30.0, 0.0) >= clear.curve.threshold(0.01)
    assert np.mean(accepted) == pytest.approx(0.01, abs=0.001)


def test_the_curve_of_few_trials_rises_all_the_same() -> None:
    none = [0.0, 0.0]
    values = ([0.1, 0.2], none, none, [0.6, 0.7], none, none, [0.8, 0.9], [0.9])
    few = phrases.Distances(*(np.asarray(one, np.float32) for one in values))
    points = phrases.fit_phrase(few).curve.points
    for (before, low), (after, high) in itertools.pairwise(points):
        assert after < before
        assert high >= low + 0.0499
    document = phrases.document(few, phrases.fit_phrase(few))
    ratios = [ratio for _, ratio in document["operating_curve"]]
    assert ratios == sorted(set(ratios))


def test_distances_of_a_voice_come_out_in_order(engine: Engine) -> None:
    """With the demo's voices under one name there are four sentences; two may be phrases."""
    pytest.importorskip("pyroomacoustics")
    names = ("ada_right_phrase", "ada_wrong_phrase", "robin_near_phrase", "stranger_other_phrase")
    utterances = [
        CorpusUtterance(CorpusFile(Path(name), "ada", "", ""), recording(name)) for name in names
    ]
    assert all(
        phrases.LENGTHS_S[0] < len(speech(name)) / SAMPLE_RATE < phrases.LENGTHS_S[1]
        for name in names[:2]
    )
    found = phrases.measure(engine, utterances)
    assert (len(found.right), len(found.near)) == (8, 8)  # each phrase at four speeds
    assert len(found.other) == 4  # each sentence against the three others
    assert len(found.single) == 12
    assert found.right.max() < found.other.min()
    assert float(np.median(found.right)) < float(np.median(found.near))


def heard_in(noise_adds: float, echo_adds: float, count: int = 4_000) -> phrases.Distances:
    """Distances in noise and echo; what each of their terms adds to every one of them."""
    chance = np.random.default_rng(1)

    def around(mean: float, deviation: float) -> tuple[FloatArray, FloatArray, FloatArray]:
        noise = chance.uniform(-2.2, 0.0, count)
        echo = chance.uniform(0.0, 1.5, count)
        values = chance.normal(mean, deviation, count) + noise_adds * noise + echo_adds * echo
        return values.astype(np.float32), noise.astype(np.float32), echo.astype(np.float32)

    quiet = made_up()
    return phrases.Distances(*around(0.20, 0.06), *around(0.55, 0.08), quiet.other, quiet.single)


def test_the_calibration_of_a_phrase_knows_noise_and_echo() -> None:
    distances = heard_in(noise_adds=-0.10, echo_adds=0.15)
    found = phrases.fit_phrase(distances)
    assert found.snr == pytest.approx(0.10 * found.distance, rel=0.15)
    assert found.echo == pytest.approx(-0.15 * found.distance, rel=0.15)
    # As many near misses pass in any noise and echo.
    ratios = (
        found.offset
        + found.distance * distances.near
        + found.snr * distances.near_noise
        + found.echo * distances.near_echo
    )
    passed = ratios >= found.curve.threshold(0.001)
    for term in (distances.near_noise, distances.near_echo):
        for much in (term < np.median(term), term >= np.median(term)):
            assert np.mean(passed[much]) == pytest.approx(0.125, abs=0.03)


@pytest.mark.parametrize(("noise_adds", "echo_adds"), [(0.10, 0.15), (-0.10, -0.15), (0.10, -0.15)])
def test_noise_and_echo_never_ask_for_more(noise_adds: float, echo_adds: float) -> None:
    """By chance, near misses may be nearer in noise: that must not lock out those who are right."""
    found = phrases.fit_phrase(heard_in(noise_adds, echo_adds))
    assert (found.snr < 0.0) is (noise_adds < 0.0)
    assert (found.echo > 0.0) is (echo_adds > 0.0)
    assert found.snr <= 0.0 <= found.echo
    assert found.distance < 0.0


# --- voices ---


PLAIN = np.zeros(32, np.float32)
"""Nothing is taken off."""


def in_common(short: float, *, far: int = 0, altered: bool = True, seed: int = 0) -> Voices:
    """Six recordings of each of 30 speakers, whole and short.

    Args:
        short: how much the short ones have in common with everybody; the whole ones have 0.5.
        far: recordings of each speaker that resemble nobody, not even their speaker.
        altered: whether those are said to be altered.
        seed: of all random choices.
    """
    chance = np.random.default_rng(seed)
    everybody = np.eye(1, 32, dtype=np.float32)
    kinds = [(0.5, 3.0, 1.0)] * 6 + [(short, 0.6, 1.0)] * 6 + [(0.0, 3.0, 0.0)] * far
    centers = unit(chance.standard_normal((30, 32)).astype(np.float32))
    rows = [(speaker, kind) for speaker in range(30) for kind in range(len(kinds))]
    vectors = [
        kinds[kind][2] * centers[speaker]
        + 0.1 * chance.standard_normal(32)
        + kinds[kind][0] * everybody[0]
        for speaker, kind in rows
    ]
    embeddings = unit(np.stack(vectors).astype(np.float32))
    echo, further = chance.standard_normal((2, *embeddings.shape)).astype(np.float32)
    return Voices(
        embeddings=embeddings,
        without_echo=unit(embeddings + 0.1 * further),
        enrolled=embeddings,
        variants=np.stack(
            (embeddings, unit(embeddings + 0.2 * echo), unit(embeddings - 0.1 * echo)), axis=1
        ),
        speaker=np.asarray([f"{speaker:02}" for speaker, _ in rows]),
        recording=np.arange(len(rows)),
        whole=np.asarray([kind < 6 for _, kind in rows]),
        altered=np.asarray([altered and kind >= 12 for _, kind in rows]),
        net_speech_s=np.asarray([kinds[kind][1] for _, kind in rows]),
    )


def asked(found: FittedVoice, rate: float = 0.01) -> float:
    """The similarity from which a voice is accepted that says enough."""
    of = found.calibration
    enrolled = of.enrollments * np.log(3.0)
    return float((of.curve.threshold(rate) - of.offset - enrolled) / of.similarity)


def test_of_short_speech_more_is_asked_where_strangers_come_nearer_with_it() -> None:
    nearer, further = (fit_voice(in_common(each), PLAIN).calibration for each in (0.9, 0.2))
    assert nearer.speech > 0.5
    assert further.speech == 0.0
    for found in (nearer, further):
        assert found.similarity > 0.0
        assert list(fit_voice(in_common(0.5), PLAIN).document()["ratio"]) == [
            "offset", "similarity", "speech", "enrollments",
        ]  # fmt: skip


def test_strangers_come_equally_near_with_an_echo_and_without() -> None:
    """An echo is less like any voice, and so is what it was taken off: so much is added."""
    voices = in_common(0.5)
    found = fit_voice(voices, PLAIN)
    assert found.allowances[0, 0] == 0.0
    assert (found.allowances.ravel()[1:] > 0.0).all()
    assert (found.allowances < 0.3).all()
    assert found.allowances[1, 1] > max(found.allowances[0, 1], found.allowances[1, 0])
    assert found.document()["allowances"] == [
        [round(each, 4) for each in row] for row in found.allowances.tolist()
    ]
    wrong = voices.speaker[:, None] != voices.speaker[None]
    near = [
        [np.quantile((voices.variants[:, kind] @ voices.looks[:, look].T)[wrong], 0.99)
         for kind in range(3)]
        for look in (0, 1)
    ]  # fmt: skip
    assert np.asarray(near) + found.allowances == pytest.approx(near[0][0], abs=0.05)


def test_strangers_in_noise_do_not_lower_what_is_asked() -> None:
    """They are further away, and anybody could add noise."""
    quiet = asked(fit_voice(in_common(0.5), PLAIN))
    assert asked(fit_voice(in_common(0.5, far=12), PLAIN)) == pytest.approx(quiet, abs=0.02)
    assert asked(fit_voice(in_common(0.5, far=12, altered=False), PLAIN)) < quiet - 0.02


def test_a_stretch_allowance_makes_up_for_what_is_missing(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With it, the nearest stranger comes as near in the stretches as without any.

    Somebody who is kept for measuring is not even heard.
    """
    said = {"01": "ada_enroll_1", "02": "stranger_adas_phrase"}
    monkeypatch.setattr(stretches, "recorded", lambda paths: samples_of(said[paths[0].parts[0]]))
    items = [
        CorpusFile(Path(speaker, word, f"{take}.flac"), speaker, word, "")
        for speaker in ("01", "02", "11")
        for word in "abcde"
        for take in range(5)
    ]
    plain = replace(engine.scorer, stretch_allowance=0.0)
    allowance = find_stretch_allowance(engine, items, plain.center, plain.allowances)
    near = []
    for known, other in (
        ("ada_enroll_1", "stranger_adas_phrase"),
        ("stranger_adas_phrase", "ada_enroll_1"),
    ):
        sample = engine.analyze(recording(known), to_enroll=True).to_sample(0.0)
        person = replace(Profile.begin("Ada"), samples=3 * (sample,))
        whole = engine.without_echo(recording(other), engine.analyze(recording(other)))
        halves = engine.with_stretches(recording(other), whole)
        halves = engine.without_echo(recording(other), halves)
        scorer = replace(plain, stretch_allowance=allowance)
        near.append(
            [
                float(scorer.voice_scores([person], [each]).similarity.item())
                for each in (whole, halves)
            ]
        )
    assert max(one for one, _ in near) == pytest.approx(max(one for _, one in near), abs=2e-3)
