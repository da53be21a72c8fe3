"""From an utterance to what the models make of it, and whether it can be judged at all."""

from __future__ import annotations

import time
from typing import Optional

from edge.config import Config
from edge.recognition import gate
from edge.recognition.embedders import Models
from edge.recognition.framing import phrase_samples, voice_samples
from edge.recognition.results import Analysis
from edge.types import ProfileKind, ReasonCode, Utterance

MAX_VOICE_S = 300.0
"""Longest recording of free speech that is judged at once."""


class Analyser:
    """Embeds utterances.

    Use one from one thread at a time: the models' tensors are shared between calls.

    Args:
        models: the two opened models.
        config: what a recording must be worth.
    """

    def __init__(self, models: Models, config: Optional[Config] = None) -> None:
        self.models = models
        self.config = config or Config()

    def analyse(self, utterance: Utterance, *, with_phrase: bool = True) -> Analysis:
        """Embed an utterance, whatever it is worth."""
        started = time.perf_counter()
        speaker = self.models.speaker.embed(voice_samples(utterance))
        spoken = time.perf_counter()
        timings = {"speaker": (spoken - started) * 1e3}
        phrase = None
        if with_phrase:
            phrase = self.models.phrase.embed(phrase_samples(utterance))
            timings["phrase"] = (time.perf_counter() - spoken) * 1e3
        return Analysis(speaker, phrase, utterance.quality, timings)

    def refusal(self, utterance: Utterance, kind: ProfileKind) -> Optional[ReasonCode]:
        """Why an utterance cannot be judged, or None when it can."""
        longest = gate.MAX_PHRASE_S if kind is ProfileKind.PHRASE else MAX_VOICE_S
        if utterance.truncated and kind is ProfileKind.PHRASE:
            return ReasonCode.TOO_LONG
        return gate.reason_to_refuse(
            utterance.quality,
            self.config.recognition,
            duration_s=utterance.duration_s,
            max_duration_s=longest,
        )
