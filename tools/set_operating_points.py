"""Writes the thresholds into the model cards, from speech whose licence allows it.

    python -m tools.set_operating_points [FOLDER] [--print]

FOLDER holds `SPEAKER/*.flac`, text differing (speechocean762, CC BY 4.0). Voice thresholds stand
where a given share of other speakers would pass. Nobody says the same phrase twice there, so the
phrase thresholds stand where a given share of other sentences by the same voice would pass.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from edge.evaluation.corpus import Spoken, analyse_all, find_items, grouped
from edge.evaluation.metrics import false_reject_at
from edge.recognition import Engine, open_models
from edge.recognition.thresholds import Thresholds
from edge.resources import models_directory
from tools.trials import distance_matrix, voice_trials

ENROLLED = 3
VERIFICATION_RATE = 0.001
"""False accepts of the other voice, and of the other sentence, that a decision allows."""
ENROLMENT_RATE = 0.01
"""The same while enrolling, where a repetition is compared with a single other one."""
SOURCE = "speechocean762 (CC BY 4.0)"


def voice_points(groups: list[list[Spoken]]) -> dict[str, Any]:
    """Operating points of the speaker model."""
    points = {}
    for name, size, rate in (
        ("verification", ENROLLED, VERIFICATION_RATE),
        ("enrolment", 1, ENROLMENT_RATE),
    ):
        rows = [(own[0].item.speaker, own, own) for own in groups if len(own) > size]
        trials = voice_trials(rows, size, most=5)
        at = false_reject_at(trials.targets, trials.nontargets, rate)
        points[name] = _point(at.threshold, rate, len(trials.nontargets), at.rate)
    return points


def phrase_points(groups: list[list[Spoken]]) -> dict[str, Any]:
    """Operating points of the phrase model; its scores are distances."""
    three: list[float] = []
    single: list[float] = []
    for own in track(groups, description="phrases", transient=True):
        matrix = distance_matrix(own)
        for enrolled in itertools.combinations(range(len(own)), ENROLLED):
            others = np.setdiff1d(np.arange(len(own)), enrolled)
            three += list(matrix[np.ix_(np.asarray(enrolled), others)].min(axis=0))
        single += list(matrix[~np.eye(len(own), dtype=bool)])
    return {
        "verification": _point(_quantile(three, VERIFICATION_RATE), VERIFICATION_RATE, len(three)),
        "enrolment": _point(_quantile(single, ENROLMENT_RATE), ENROLMENT_RATE, len(single)),
    }


def _quantile(distances: list[float], rate: float) -> float:
    """The distance that a share of `rate` stays below."""
    return float(np.quantile(distances, rate, method="lower"))


def _point(
    threshold: float, rate: float, trials: int, false_reject: float | None = None
) -> dict[str, Any]:
    point: dict[str, Any] = {
        "threshold": round(threshold, 4),
        "false_accept_rate": rate,
        "trials": trials,
        "measured_on": SOURCE,
    }
    if false_reject is not None:
        point["false_reject_rate"] = round(false_reject, 4)
    return point


def main(arguments: list[str]) -> int:
    """Measure and write the cards, or only print."""
    parser = argparse.ArgumentParser(prog="python -m tools.set_operating_points")
    default = Path("../shared/speech/read_sentences")
    parser.add_argument("folder", type=Path, nargs="?", default=default)
    parser.add_argument("--print", action="store_true", help="leave the cards as they are")
    options = parser.parse_args(arguments)
    # The thresholds are what is to be found; none is used on the way.
    engine = Engine(open_models(), thresholds=Thresholds(0.0, 0.0, 0.0, 0.0))
    spoken = analyse_all(engine, find_items(options.folder), with_phrase=True, track=track)
    groups = list(grouped(spoken, lambda item: (item.speaker,)).values())
    points = {
        "speaker_embedding.json": voice_points(groups),
        "phrase_embedding.json": phrase_points(groups),
    }
    print(json.dumps(points, indent=2))
    if not options.print:
        for name, found in points.items():
            path = models_directory() / name
            card = json.loads(path.read_text(encoding="utf-8"))
            card["operating_points"] = found
            path.write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
