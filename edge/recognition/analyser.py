"""From an utterance to what the models make of it, and whether it can be judged at all."""

from __future__ import annotations

import time

from edge.config import Config
from edge.recognition import gate
from edge.recognition.embedders import Models
from edge.recognition.framing import phrase_samples, voice_samples
from edge.recognition.results import Analysis
from edge.recognition.surroundings import PLACES, heard_in
from edge.types import FloatArray, ProfileKind, ReasonCode, Utterance

MAX_VOICE_S = 300.0
"""Longest recording of free speech that is judged at once."""


class Analyser:
    """Embeds utterances.

    Use one from one thread at a time: the models' tensors are shared between calls.

    Args:
        models: the two opened models.
        config: what a recording must be worth.
    """

    def __init__(self, models: Models, config: Config | None = None) -> None:
        self.models = models
        self.config = config or Config()

    def analyse(
        self, utterance: Utterance, *, with_phrase: bool = True, to_enrol: bool = False
    ) -> Analysis:
        """Embed an utterance, whatever it is worth.

        Args:
            utterance: what was said.
            with_phrase: whether to embed what is said too, not only the voice.
            to_enrol: whether to embed what is said as it would sound in other places too.
        """
        started = time.perf_counter()
        speaker = self.models.speaker.embed(voice_samples(utterance))
        spoken = time.perf_counter()
        timings = {"speaker": (spoken - started) * 1e3}
        phrase = None
        variants: tuple[FloatArray, ...] = ()
        if with_phrase:
            phrase = self.models.phrase.embed(phrase_samples(utterance))
            timings["phrase"] = (time.perf_counter() - spoken) * 1e3
            if to_enrol:
                variants = self._phrase_variants(utterance)
        return Analysis(speaker, phrase, utterance.quality, timings, variants)

    def _phrase_variants(self, utterance: Utterance) -> tuple[FloatArray, ...]:
        return tuple(
            self.models.phrase.embed(phrase_samples(heard_in(utterance, place))) for place in PLACES
        )

    def refusal(self, utterance: Utterance, kind: ProfileKind) -> ReasonCode | None:
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
