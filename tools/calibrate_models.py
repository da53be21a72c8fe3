"""Derives the calibrations from speech, and writes them to the models' cards.

    python -m tools.calibrate_models [FOLDER] [--words FOLDER] [--only voice|phrase] [--print]

FOLDER holds `SPEAKER/*.flac` with different texts (speechocean762, CC BY 4.0), that of `--words`
`SPEAKER/WORD/*.flac` (Arabic Speech Commands, CC BY 4.0). Run it after every change of a model or
of speech detection: a model whose card has no calibration for it is refused.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edge.evaluation.corpus import CorpusFile, find_items
from edge.evaluation.metrics import error_curves, false_reject_at
from edge.recognition import open_models
from edge.recognition.embedders import (
    PHRASE_FILE,
    SPEAKER_FILE,
    PhraseEmbedder,
    SpeakerEmbedder,
)
from edge.recognition.engine import Analyzer
from edge.resources import models_directory
from tools import make_manifest
from tools.calibration import phrases
from tools.calibration.center import center_of, mean_of_sentences, mean_of_words
from tools.calibration.stretches import find_stretch_allowance
from tools.calibration.voice import fit_voice
from tools.calibration.voices import CorpusUtterance, Voices, gather, listen
from tools.conditions import conditions, pink_noise
from tools.models import cards

SOURCE = "speechocean762 (CC BY 4.0)"
ENROLLMENT_RATE = 0.01
"""False accept rate at enrollment, where a repetition is compared with a single other one."""


def enrollment_voice(voices: Voices) -> dict[str, Any]:
    """Operating point between two single recordings: cosine similarity."""
    whole = voices.of(voices.whole)
    matrix = whole.enrolled @ whole.enrolled.T
    same = whole.speaker[:, None] == whole.speaker[None]
    upper = np.triu(np.ones_like(same), 1)
    at = false_reject_at(error_curves(matrix[same & upper], matrix[~same & upper]), ENROLLMENT_RATE)
    return _point(at.threshold, int((~same & upper).sum()), at.rate)


def enrollment_phrase(distances: phrases.Distances) -> dict[str, Any]:
    """Operating point between two single utterances: DTW distance."""
    limit = float(np.quantile(distances.single, ENROLLMENT_RATE, method="lower"))
    return _point(limit, len(distances.single))


def _point(threshold: float, trials: int, false_reject: float | None = None) -> dict[str, Any]:
    point: dict[str, Any] = {
        "threshold": round(threshold, 4),
        "false_accept_rate": ENROLLMENT_RATE,
        "trials": trials,
        "measured_on": SOURCE,
    }
    if false_reject is not None:
        point["false_reject_rate"] = round(false_reject, 4)
    return point


def calibrate_voice(
    analyzer: Analyzer,
    utterances: Sequence[CorpusUtterance],
    words: Sequence[CorpusFile],
    keep: bool,
) -> None:
    """Find the speaker model's calibration, print it and, with `keep`, write it."""
    altered = conditions(pink_noise(20.0, seed=1))[1:]
    voices = gather(analyzer, utterances, altered)
    center = center_of(mean_of_sentences(voices), mean_of_words(analyzer, words))
    fitted = fit_voice(voices, center)
    allowance = find_stretch_allowance(analyzer, words, center, fitted.allowances)
    found = {**fitted.document(), "stretch_allowance": round(allowance, 4)}
    _put(analyzer.models.speaker, SPEAKER_FILE, found, enrollment_voice(voices), keep)


def calibrate_phrase(analyzer: Analyzer, utterances: Sequence[CorpusUtterance], keep: bool) -> None:
    """Find the phrase model's calibration, print it and, with `keep`, write it."""
    distances = phrases.measure(analyzer, utterances)
    found = phrases.document(distances, phrases.fit_phrase(distances))
    _put(analyzer.models.phrase, PHRASE_FILE, found, enrollment_phrase(distances), keep)


def _put(
    model: SpeakerEmbedder | PhraseEmbedder,
    file: str,
    calibration: dict[str, Any],
    enrollment: dict[str, Any],
    keep: bool,
) -> None:
    found = {"made_for": model.sha256, "measured_on": SOURCE, **calibration}
    print(json.dumps({file: {"enrollment": enrollment, "calibration": found}}, indent=2))
    if keep:
        path = (models_directory() / file).with_suffix(".json")
        card = cards.read(path)
        points = {**card.get("operating_points", {}), "enrollment": enrollment}
        cards.write(path, {**card, "operating_points": points, "calibration": found})


def main(arguments: list[str]) -> int:
    """Measure, then write or print."""
    parser = argparse.ArgumentParser(prog="python -m tools.calibrate_models", description=__doc__)
    default = Path("../shared/speech/read_sentences")
    parser.add_argument("folder", type=Path, nargs="?", default=default)
    default = Path("../shared/speech/words")
    parser.add_argument("--words", type=Path, default=default, help="default: %(default)s")
    parser.add_argument("--only", choices=("voice", "phrase"), help="one of the two models")
    parser.add_argument(
        "--print", action="store_true", help="only print; do not change the models' folder"
    )
    options = parser.parse_args(arguments)
    analyzer = Analyzer(open_models(models_directory()))  # whose cards are about to change
    utterances = listen(find_items(options.folder))
    if options.only != "phrase":
        words = find_items(options.words)
        calibrate_voice(analyzer, utterances, words, keep=not options.print)
    if options.only != "voice":
        calibrate_phrase(analyzer, utterances, keep=not options.print)
    if not options.print:
        make_manifest.write()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
