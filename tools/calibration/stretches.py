"""The least evenness of one voice in a phrase, written to the speaker model's card.

    python -m tools.calibration.stretches [FOLDER] [--print]

FOLDER holds `SPEAKER/WORD/*.flac`, each word said several times (Arabic Speech Commands, CC BY
4.0). Four words make a phrase. Everybody's first three repetitions are enrolled, the others are
tested in quiet, in noise and in a room; the limit turns away a share `RATE` of them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from edge.audio.files import read_audio
from edge.audio.utterance import utterance_of
from edge.evaluation.corpus import CorpusFile, find_items
from edge.recognition import open_models
from edge.recognition.consistency import embed_stretches, evenness
from edge.recognition.embedders import SpeakerEmbedder, voice_samples
from edge.resources import models_directory
from edge.types import SAMPLE_RATE, EnrollmentSample, FloatArray, Utterance
from tools.acoustics.levels import speech_power
from tools.conditions import Condition, conditions, pink_noise
from tools.models import cards

RATE = 0.003
SOURCE = "Arabic Speech Commands (CC BY 4.0)"
WORDS = 4
PHRASES = 3
ENROLLED = 3
CONDITIONS = ("clean", "noise 10 dB", "hallway")
_GAP_S = 0.06
_ENDS_S = 0.6
_LEVEL = 0.05
_ROOM = 1e-4


def operating_point(embedder: SpeakerEmbedder, items: Sequence[CorpusFile]) -> dict[str, Any]:
    """The limit, as it stands in the card."""
    found = list(_genuine(embedder, items))
    return {
        "threshold": round(float(np.quantile(found, RATE)), 4),
        "false_reject_rate": RATE,
        "trials": len(found),
        "measured_on": SOURCE,
    }


def repetitions(items: Sequence[CorpusFile]) -> Iterator[list[FloatArray]]:
    """Each person's phrases: every repetition of one, of other recordings of the same words."""
    words: dict[tuple[str, str], list[Path]] = {}
    for item in items:
        words.setdefault((item.speaker, item.phrase), []).append(item.path)
    for speaker in sorted({item.speaker for item in items}):
        own = [paths for (name, _), paths in sorted(words.items()) if name == speaker]
        for first in range(0, min(len(own), PHRASES * WORDS) - WORDS + 1, WORDS):
            yield [_joined(paths) for paths in zip(*own[first : first + WORDS])]


def _genuine(embedder: SpeakerEmbedder, items: Sequence[CorpusFile]) -> Iterator[float]:
    every = conditions(pink_noise(20.0, seed=1))
    chosen = [condition for condition in every if condition.name in CONDITIONS]
    for said in track(list(repetitions(items)), description="stretches", transient=True):
        heard = [utterance_of(samples) for samples in said[:ENROLLED]]
        known = [_sample(embedder, one) for one in heard if one.quality.net_speech_s > 0.0]
        for number, samples in enumerate(said[ENROLLED:]):
            for utterance in _heard(samples, chosen, number):
                found = evenness(known, embed_stretches(embedder, utterance))
                if found is not None:
                    yield found


def _heard(samples: FloatArray, chosen: Sequence[Condition], seed: int) -> Iterator[Utterance]:
    for condition in chosen:
        utterance = utterance_of(condition.apply(samples, seed))
        if utterance.quality.net_speech_s > 0.0:
            yield utterance


def _sample(embedder: SpeakerEmbedder, utterance: Utterance) -> EnrollmentSample:
    quality = utterance.quality
    return EnrollmentSample(
        embedder.embed(voice_samples(utterance)),
        None,
        quality.net_speech_s,
        quality.snr_db,
        0.0,
        stretches=embed_stretches(embedder, utterance),
    )


def _joined(paths: Sequence[Path]) -> FloatArray:
    """Words one after the other, brought to one level, in a quiet room."""
    pieces = [np.zeros(round(_ENDS_S * SAMPLE_RATE), np.float32)]
    for path in paths:
        utterance = utterance_of(read_audio(path).samples)
        word = voice_samples(utterance)
        gain = _LEVEL / np.sqrt(max(speech_power(word), 1e-12))
        pieces += [word * np.float32(gain), np.zeros(round(_GAP_S * SAMPLE_RATE), np.float32)]
    samples = np.concatenate([*pieces, pieces[0]])
    room = np.random.default_rng(len(samples)).standard_normal(len(samples), dtype=np.float32)
    return samples + np.float32(_ROOM) * room


def main(arguments: Sequence[str]) -> int:
    """Measure, then write or print."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.calibration.stretches",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    default = Path("../shared/speech/words")
    parser.add_argument("folder", type=Path, nargs="?", default=default)
    parser.add_argument("--print", action="store_true", help="only print; do not change the card")
    options = parser.parse_args(arguments)
    point = operating_point(open_models().speaker, find_items(options.folder))
    print(json.dumps({"evenness": point}, indent=2))
    if not options.print:
        path = models_directory() / "speaker_embedding.json"
        card = cards.read(path)
        points = {**card["operating_points"], "evenness": point}
        cards.write(path, {**card, "operating_points": points})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
