"""The scores from which something counts: the models' own, or what the configuration says."""

from __future__ import annotations

from dataclasses import dataclass

from edge.config import RecognitionConfig
from edge.recognition.embedders import Models


@dataclass(frozen=True)
class Thresholds:
    """Where the lines are.

    Attributes:
        voice: cosine similarity to a signature from which a voice is its owner's.
        phrase: warping distance up to which a phrase is the enrolled one.
        enrolment_voice: similarity to the first repetition from which another one is accepted;
            lower, since two single utterances lie further apart than one and a mean of three.
        enrolment_phrase: distance to the first repetition up to which another one is accepted.

    """

    voice: float
    phrase: float
    enrolment_voice: float
    enrolment_phrase: float

    @classmethod
    def of(cls, models: Models, config: RecognitionConfig) -> Thresholds:
        """The models' operating points, each overridden by the configuration where it is set.

        Raises:
            ModelError: if a card lacks an operating point.

        """
        speaker, phrase = models.speaker.card, models.phrase.card
        card_voice = speaker.threshold("verification")
        voice = card_voice if config.voice_threshold is None else config.voice_threshold
        card_phrase = phrase.threshold("verification")
        own_phrase = card_phrase if config.phrase_threshold is None else config.phrase_threshold
        return cls(
            voice=voice,
            phrase=own_phrase,
            enrolment_voice=min(voice, speaker.threshold("enrolment")),
            enrolment_phrase=phrase.threshold("enrolment"),
        )
