"""What voices have in common, taken off by hand, and where it comes from."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.evaluation.corpus import CorpusFile
from edge.inference import read_card
from edge.recognition import Engine
from edge.recognition.dtw import unit
from edge.recognition.embedders import voice_samples
from edge.recognition.scoring import Scorer, centered, voice_center
from edge.resources import models_directory
from edge.types import FloatArray
from tests.unit.scoring import plain_scorer
from tests.unit.test_scorer import analysis_of, profile_of
from tests.unit.voices import recording, samples_of
from tools.calibration import center
from tools.calibration.center import center_of, mean_of_words, mean_voice


def test_centered_by_hand() -> None:
    voices = np.asarray([[1, 0], [0, 1], [0.6, 0.8]], np.float32)
    # (0.5, 0), (-0.5, 1), (0.1, 0.8), each divided by its length.
    found = centered(voices, np.asarray([0.5, 0.0], np.float32))
    expected = [[1.0, 0.0], [-0.447214, 0.894427], [0.124035, 0.992278]]
    assert found == pytest.approx(np.asarray(expected), abs=1e-6)
    assert found.dtype == np.float32
    assert centered(voices, np.zeros(2, np.float32)) == pytest.approx(voices)


def people_in_common(count: int) -> FloatArray:
    """Voices of different people who all lean to the first axis, as one microphone makes them."""
    chance = np.random.default_rng(1)
    lean = np.asarray([3.0, *[0.0] * 15])
    return unit((chance.standard_normal((count, 16)) + lean).astype(np.float32))


def test_strangers_with_the_same_microphone_come_no_nearer_for_it() -> None:
    voices = people_in_common(40)
    common = mean_voice(voices[:20], np.arange(20).astype(str))
    plain, knowing = plain_scorer(16), replace(plain_scorer(16), center=common)
    owners = [profile_of(voice) for voice in voices[20:]]
    others = [analysis_of(voice) for voice in voices[20:]]
    stranger = ~np.eye(20, dtype=np.bool_)
    before = plain.voice_scores(owners, others).similarity[stranger]
    after = knowing.voice_scores(owners, others).similarity[stranger]
    assert before.mean() > 0.3
    assert abs(after.mean()) < 0.05
    assert np.quantile(after, 0.99) < np.quantile(before, 0.99) - 0.1


VOICES = st.lists(st.floats(-1.0, 1.0), min_size=16, max_size=16).filter(
    lambda values: math.hypot(*values) > 0.1
)


@given(VOICES, st.floats(0.0, 1.0))
def test_nobody_is_nearer_than_the_owner(values: list[float], share: float) -> None:
    """Not by what all voices have in common either, whoever adds it at the door."""
    owner, *_ = people_in_common(1)
    common = np.asarray([0.5, *[0.0] * 15], np.float32)
    scorer = replace(plain_scorer(16), center=common)
    voice = np.asarray(values, np.float32)
    heard = unit(voice + np.float32(share) * (common - voice) + np.float32(1e-3))
    own, other = scorer.voice_scores(
        [profile_of(owner)], [analysis_of(owner), analysis_of(heard)]
    ).similarity[0]
    assert other <= own
    assert own == pytest.approx(1.0, abs=1e-5)


@given(VOICES, st.floats(0.01, 100.0))
def test_how_loud_somebody_is_makes_no_difference(values: list[float], gain: float) -> None:
    voice = np.asarray(values, np.float32)
    common = np.asarray([0.5, *[0.0] * 15], np.float32)
    one, other = (centered(unit(each)[None], common) for each in (voice, np.float32(gain) * voice))
    assert one == pytest.approx(other, abs=1e-4)


# --- where it comes from ---


def test_every_person_counts_alike() -> None:
    voices = np.asarray([[1, 0], [1, 0], [1, 0], [0, 1]], np.float32)
    mean = mean_voice(voices, np.asarray(["ada", "ada", "ada", "bob"]))
    assert mean.tolist() == [0.5, 0.5]
    assert mean.dtype == np.float32


def test_all_of_the_words_and_less_of_the_sentences() -> None:
    axes = np.eye(2, dtype=np.float32)
    assert center_of(axes[0], axes[1]).tolist() == pytest.approx([0.7, 1.0])
    assert center_of(axes[0], axes[1], (0.5, 1.0)).tolist() == [0.5, 1.0]


def test_rows_of_four_words_of_those_who_are_not_kept_for_measuring(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[list[str]] = []

    def recorded(paths: list[Path]) -> FloatArray:
        heard.append([str(path) for path in paths])
        return samples_of("ada_enroll_1" if paths[0].parts[0] == "01" else "stranger_adas_phrase")

    monkeypatch.setattr(center, "recorded", recorded)
    items = [
        CorpusFile(Path(speaker, word, f"{take}.flac"), speaker, word, "")
        for speaker in ("01", "02", "11")
        for word in "abcdefghi"
        for take in (1, 2)
    ]
    mean = mean_of_words(engine, items)
    assert heard == [
        [f"{speaker}/{word}/{take}.flac" for word in row]
        for speaker in ("01", "02")
        for take in (1, 2)
        for row in ("abcd", "efgh")
    ]
    ada, stranger = (
        engine.models.speaker.embed(voice_samples(recording(name)))
        for name in ("ada_enroll_1", "stranger_adas_phrase")
    )
    assert mean == pytest.approx((ada + stranger) / 2, abs=1e-5)


def test_the_shipped_center(engine: Engine) -> None:
    """The product takes off most of what people with one microphone have in common."""
    card = read_card(models_directory() / "speaker_embedding.json")
    shipped = voice_center(card, engine.models.speaker.dimensions)
    assert 0.4 < float(np.linalg.norm(shipped)) < 0.9
    assert np.array_equal(Scorer.of(engine.models, 0.001).center, shipped)
