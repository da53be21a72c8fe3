"""The models' answers, remembered within a process.

Most tests say the same few recordings to the same models. Each answer is computed once, by the real
model, and kept by all of the input that it depends on.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.audio import vad
from edge.audio.vad import FrameClassifier, WebRtcClassifier, best_classifier
from edge.features import log_mel, mel_frames
from edge.inference import open_model
from edge.inference.model import Model
from edge.recognition import embedders
from edge.types import FloatArray

Compute = Callable[[FloatArray], FloatArray]

_KEPT = 500
"""Answers that are kept of one kind."""
_probabilities: dict[bytes, float] = {}


def remember(patch: pytest.MonkeyPatch) -> None:
    """Keep the answers of all models that are opened from now on, and their inputs' features."""
    models: dict[str, Compute] = {}

    def remembering_model(path: Path, threads: int = 1) -> Model:
        model = open_model(path, threads)
        run = models.setdefault(model.sha256, remembered(model.run))
        setattr(model, "run", run)  # noqa: B010 - mypy takes a method for constant
        return model

    patch.setattr(embedders, "open_model", remembering_model)
    patch.setattr(embedders, "log_mel", remembered(log_mel))
    patch.setattr(embedders, "mel_frames", remembered(mel_frames))
    patch.setattr(vad, "best_classifier", _remembering_classifier)


def remembered(compute: Compute) -> Compute:
    """A function that computes the answer to each input once."""
    answers: OrderedDict[bytes, FloatArray] = OrderedDict()

    def answer(values: FloatArray) -> FloatArray:
        key = _digest(str(values.shape).encode(), values)
        found = answers.get(key)
        if found is None:
            found = answers[key] = compute(values)
            if len(answers) > _KEPT:
                answers.popitem(last=False)
        return found.copy()

    return answer


def _remembering_classifier() -> FrameClassifier:
    classifier = best_classifier()
    # WebRTC's takes no time.
    known = isinstance(classifier, WebRtcClassifier)
    return classifier if known else RememberingClassifier(classifier)


class RememberingClassifier:
    """A classifier of frames whose answer depends on all frames since the last reset.

    Those that it was spared are given to it as soon as a frame is new.
    """

    def __init__(self, classifier: FrameClassifier) -> None:
        self._classifier = classifier
        self._before = b""
        self._spared: list[FloatArray] = []

    def process_samples(self, frame: FloatArray) -> float:
        """As `FrameClassifier.process_samples`."""
        self._before = _digest(self._before, frame)
        self._spared.append(frame.copy())
        if self._before not in _probabilities:
            for each in self._spared:
                probability = float(self._classifier.process_samples(each))
            self._spared.clear()
            _probabilities[self._before] = probability
        return _probabilities[self._before]

    def reset(self) -> None:
        """As `FrameClassifier.reset`."""
        self._classifier.reset()
        self._before = b""
        self._spared.clear()


def _digest(before: bytes, values: FloatArray) -> bytes:
    return hashlib.blake2b(before + values.dtype.str.encode() + values.tobytes()).digest()
