"""The limits of one voice in all of a phrase or an answer, written to the speaker model's card.

    python -m tools.calibration.one_voice [FOLDER] [--print]

FOLDER holds `SPEAKER/WORD/*.flac`, each word said several times, the digits among them (Arabic
Speech Commands, CC BY 4.0). Four words make a phrase. The first three repetitions of everything are
enrolled, the others are tested: phrases in quiet, in noise and in a room, digits in quiet. Run it
after `tools.calibrate_models`, whose figures it compares with.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from edge.audio.files import read_audio
from edge.audio.utterance import utterance_of
from edge.challenge.features import spectrum_of, word_in
from edge.challenge.matching import DigitExample, DigitRecognizer
from edge.challenge.one_voice import least_nearness
from edge.challenge.rounds import ROUNDS, single_voice
from edge.evaluation.corpus import CorpusFile, find_items
from edge.recognition import open_models
from edge.recognition.consistency import evenness
from edge.recognition.dtw import unit
from edge.recognition.embedders import voice_samples
from edge.recognition.engine import Analyzer
from edge.recognition.scoring import Scorer
from edge.resources import models_directory
from edge.types import SAMPLE_RATE, FloatArray, Profile, Utterance
from tools.acoustics.levels import speech_power
from tools.conditions import Condition, conditions, pink_noise
from tools.models import cards

PHRASES_REFUSED = 0.003
"""Share of the owners' phrases that the limit turns away."""
DIGITS_REFUSED = 0.00125
"""Share of the owners' digits: half a percent of the answers of four."""
SOURCE = "Arabic Speech Commands (CC BY 4.0)"
WORDS = 4
PHRASES = 3
ENROLLED = 3
CONDITIONS = ("clean", "noise 10 dB", "hallway")
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_GAP_S = 0.06
_ENDS_S = 0.6
_LEVEL = 0.05
_ROOM = 1e-4

Words = Mapping[str, Sequence[Utterance]]
"""Every recording of each word, of one person."""


def point(found: Sequence[float], share: float) -> dict[str, Any]:
    """An operating point, in the form of the card."""
    return {
        "threshold": round(float(np.quantile(found, share)), 4),
        "false_reject_rate": share,
        "trials": len(found),
        "measured_on": SOURCE,
    }


def words_of(items: Sequence[CorpusFile]) -> Words:
    """One person's words, as the end-pointer cuts them; without those that have no speech."""
    found: dict[str, list[Utterance]] = {}
    for item in items:
        utterance = utterance_of(read_audio(item.path).samples)
        if utterance.quality.net_speech_s > 0.0:
            found.setdefault(item.phrase, []).append(utterance)
    return found


def phrases(analyzer: Analyzer, words: Words) -> Iterator[float]:
    """`evenness` of one person's phrases."""
    scorer = Scorer.of(analyzer.models, analyzer.config.security.far)
    every = conditions(pink_noise(20.0, seed=1))
    chosen = [condition for condition in every if condition.name in CONDITIONS]
    names = sorted(words)[: PHRASES * WORDS]
    for first in range(0, len(names) - WORDS + 1, WORDS):
        said = [_joined(parts) for parts in zip(*(words[n] for n in names[first : first + WORDS]))]
        enrolled = [utterance_of(one) for one in said[:ENROLLED]]
        known = tuple(analyzer.analyze(one, to_enroll=True).to_sample(0.0) for one in enrolled)
        profile = replace(Profile.begin("", required=0), samples=known)
        for number, samples in enumerate(said[ENROLLED:]):
            for utterance in _heard(samples, chosen, number):
                analysis = analyzer.with_stretches(utterance, analyzer.analyze(utterance))
                analysis = analyzer.without_echo(utterance, analysis)
                found = scorer.stretch_similarities(profile, analysis)
                if found is not None:
                    yield evenness(found, analysis.stretches, scorer.center)


def digits(analyzer: Analyzer, words: Words) -> Iterator[float]:
    """`least_nearness` of one person's digits, each alone; none unless they have all ten."""
    if any(len(words.get(name, ())) <= ROUNDS for name in NAMES):
        return
    recognizer = DigitRecognizer(
        [
            DigitExample(digit, word_in(spectrum_of(utterance.samples)))
            for digit, name in enumerate(NAMES)
            for utterance in words[name][:ROUNDS]
        ]
    )
    rounds = [[words[name][number] for name in NAMES] for number in range(ROUNDS)]
    single = unit(np.sum([single_voice(analyzer, one) for one in rounds], axis=0))
    for digit, name in enumerate(NAMES):
        for utterance in words[name][ROUNDS:]:
            score = recognizer.score(utterance.samples, [digit])
            if score.accepted:
                embedder = analyzer.models.speaker
                yield least_nearness(embedder, single, utterance.samples, score.spoken)


def _heard(samples: FloatArray, chosen: Sequence[Condition], seed: int) -> Iterator[Utterance]:
    for condition in chosen:
        utterance = utterance_of(condition.apply(samples, seed))
        if utterance.quality.net_speech_s > 0.0:
            yield utterance


def _joined(utterances: Sequence[Utterance]) -> FloatArray:
    """Words one after the other, brought to one level, in a quiet room."""
    pieces = [np.zeros(round(_ENDS_S * SAMPLE_RATE), np.float32)]
    for utterance in utterances:
        word = voice_samples(utterance)
        gain = _LEVEL / np.sqrt(max(speech_power(word), 1e-12))
        pieces += [word * np.float32(gain), np.zeros(round(_GAP_S * SAMPLE_RATE), np.float32)]
    samples = np.concatenate([*pieces, pieces[0]])
    room = np.random.default_rng(len(samples)).standard_normal(len(samples), dtype=np.float32)
    samples += np.float32(_ROOM) * room
    return samples


def main(arguments: Sequence[str]) -> int:
    """Measure, then write or print."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.calibration.one_voice",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    default = Path("../shared/speech/words")
    parser.add_argument("folder", type=Path, nargs="?", default=default)
    parser.add_argument("--print", action="store_true", help="only print; do not change the card")
    options = parser.parse_args(arguments)
    analyzer = Analyzer(open_models())
    items = find_items(options.folder)
    even: list[float] = []
    near: list[float] = []
    for speaker in track(sorted({item.speaker for item in items}), transient=True):
        words = words_of([item for item in items if item.speaker == speaker])
        even += phrases(analyzer, words)
        near += digits(analyzer, words)
    points = {"evenness": point(even, PHRASES_REFUSED), "digit": point(near, DIGITS_REFUSED)}
    print(json.dumps(points, indent=2))
    if not options.print:
        path = models_directory() / "speaker_embedding.json"
        card = cards.read(path)
        cards.write(path, {**card, "operating_points": {**card["operating_points"], **points}})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
