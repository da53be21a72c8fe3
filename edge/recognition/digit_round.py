"""Enrolling digits: a round is every digit once, in one voice.

The voice of one digit alone is hard to tell, that of ten together is not; so the speaker model
hears a round as a whole, and what is kept is kept round by round.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from edge.errors import EnrolmentRejected
from edge.recognition import gate
from edge.recognition.analyser import Analyser
from edge.recognition.digit_features import RANGE, spectrum_of, word_in
from edge.recognition.digit_search import LEAST_ROWS
from edge.recognition.digits import DIGITS, DigitExample, DigitRecogniser
from edge.recognition.voice import cosine, signature_of
from edge.types import (
    SAMPLE_RATE,
    EnrolmentSample,
    FloatArray,
    Profile,
    ReasonCode,
    Utterance,
)

ROUNDS = 3
"""Rounds that make the digits of a person complete."""
MOST_ROUNDS = 5
MOST_ROWS = 150
"""Frames of the longest word, 1.5 s."""
SHORTEST_S = 0.06
"""Net speech of the shortest digit."""

_LEAST_SNR_DB = 15.0
_MISHEARD = 0.0
_ROOM_S = 0.1
"""Sound of the room that is kept on both sides of a digit. The pauses of an answer hold that too,
and a voice among digital zeros would be another one to the model."""
_SILENT_ROWS = 20
_SAME = 0.02
"""Mean difference of two spectra below which they are of the same recording."""


@dataclass(frozen=True, eq=False)
class DigitRound:
    """Every digit once.

    Attributes:
        examples: one of each digit.
        voice: the voice of all ten together; it has no phrase.
        speaker_model: SHA-256 of the model that the voice was made with.
    """

    examples: tuple[DigitExample, ...]
    voice: EnrolmentSample = field(repr=False)
    speaker_model: str


def take_digit(
    analyser: Analyser, utterance: Utterance, digit: int, rounds: Sequence[DigitRound]
) -> DigitExample:
    """One digit of a round.

    Args:
        analyser: knows what a recording must be worth.
        utterance: the digit, said alone.
        digit: which one it should be, 0 to 9.
        rounds: what was enrolled before.

    Raises:
        EnrolmentRejected: it is too noisy, too long, the recording that was enrolled before, or
            sounds like another digit of the same person.
    """
    _check_quality(analyser, utterance, digit)
    spectrum = word_in(spectrum_of(utterance.samples))
    if len(spectrum) < LEAST_ROWS:
        raise _too_short(digit)
    if len(spectrum) > MOST_ROWS:
        raise _too_long(digit)
    example = DigitExample(digit, spectrum)
    earlier = [one for spoken in rounds for one in spoken.examples]
    if any(_same(spectrum, one.spectrum) for one in earlier):
        raise EnrolmentRejected(
            ReasonCode.REPEATED.value,
            "this is the very recording that was enrolled before: say it again",
        )
    if earlier:
        other, margin = nearest_other(DigitRecogniser(earlier), example)
        if margin < _MISHEARD:
            raise EnrolmentRejected(
                ReasonCode.WRONG_PHRASE.value,
                f"sounds more like your {other} than your {digit}: say {digit} once more",
            )
    return example


def complete_round(
    analyser: Analyser,
    profile: Profile,
    utterances: Mapping[int, Utterance],
    examples: Mapping[int, DigitExample],
) -> DigitRound:
    """Ten digits together.

    Args:
        analyser: holds the models.
        profile: whose they should be.
        utterances: each digit as it was heard.
        examples: each digit as `take_digit` gave it.

    Raises:
        EnrolmentRejected: it is not the voice that says the person's passphrase.
    """
    voice = voice_of(analyser, [utterances[digit] for digit in DIGITS])
    similarity = cosine(signature_of(profile.samples), voice.speaker_embedding)
    least = analyser.models.speaker.card.threshold("enrolment")
    if similarity < least:
        raise EnrolmentRejected(
            ReasonCode.UNKNOWN_SPEAKER.value,
            f"not the voice that says the passphrase of {profile.name} (similarity"
            f" {similarity:.2f}, at least {least:.2f}): one person at a time, same microphone",
        )
    return DigitRound(
        tuple(examples[digit] for digit in DIGITS), voice, analyser.models.speaker.sha256
    )


def voice_of(analyser: Analyser, utterances: Sequence[Utterance]) -> EnrolmentSample:
    """The voice of several short utterances together."""
    pieces = [_with_room(utterance) for utterance in utterances]
    return EnrolmentSample(
        analyser.models.speaker.embed(np.concatenate(pieces)),
        None,
        sum(utterance.quality.net_speech_s for utterance in utterances),
        min(utterance.quality.snr_db for utterance in utterances),
        time.time(),
    )


def nearest_other(recogniser: DigitRecogniser, example: DigitExample) -> tuple[int, float]:
    """Which other digit an example is nearest to, and by how much its own one is nearer."""
    # An example has no silence around it, by which the noise would be known.
    silence = ((_SILENT_ROWS, _SILENT_ROWS), (0, 0))
    spectrum = np.pad(example.spectrum, silence, constant_values=-RANGE)
    _, fits = recogniser.fits(spectrum, [example.digit])
    others = fits.other[0].copy()
    own = float(others[example.digit])
    others[example.digit] = np.inf
    other = int(others.argmin())
    return other, float(others[other]) - own


def weakness_of(rounds: Sequence[DigitRound]) -> dict[int, tuple[int, float]]:
    """How nearly each digit was taken for another one, each round held against the others.

    Args:
        rounds: at least two.

    Returns:
        For each digit, the other one that came nearest to it, and the least margin.
    """
    weakness: dict[int, tuple[int, float]] = {}
    for left_out, spoken in enumerate(rounds):
        rest = [
            example
            for number, other in enumerate(rounds)
            if number != left_out
            for example in other.examples
        ]
        recogniser = DigitRecogniser(rest)
        for example in spoken.examples:
            other_digit, margin = nearest_other(recogniser, example)
            if example.digit not in weakness or margin < weakness[example.digit][1]:
                weakness[example.digit] = (other_digit, margin)
    return weakness


def _check_quality(analyser: Analyser, utterance: Utterance, digit: int) -> None:
    quality, config = utterance.quality, analyser.config.recognition
    reason = gate.reason_to_refuse(quality, config)
    if reason is ReasonCode.TOO_SHORT and quality.net_speech_s >= SHORTEST_S:
        reason = None
    if reason is ReasonCode.TOO_SHORT:
        raise _too_short(digit)
    if reason is ReasonCode.TOO_LONG:
        raise _too_long(digit)
    if reason is not None:
        raise EnrolmentRejected(reason.value, gate.explain(reason, quality, config))
    if quality.snr_db < _LEAST_SNR_DB:
        raise EnrolmentRejected(
            ReasonCode.TOO_NOISY.value,
            f"too noisy to learn from ({quality.snr_db:.0f} dB above the noise, at least"
            f" {_LEAST_SNR_DB:.0f} needed): find a quieter moment or come closer",
        )


def _too_short(digit: int) -> EnrolmentRejected:
    return EnrolmentRejected(ReasonCode.TOO_SHORT.value, f"no {digit} was heard: say it again")


def _too_long(digit: int) -> EnrolmentRejected:
    return EnrolmentRejected(
        ReasonCode.TOO_LONG.value, f"too long for one digit: say {digit} alone, then pause"
    )


def _with_room(utterance: Utterance) -> FloatArray:
    room = round(_ROOM_S * SAMPLE_RATE)
    start = round(utterance.lead_s * SAMPLE_RATE)
    stop = len(utterance.samples) - round(utterance.tail_s * SAMPLE_RATE)
    return utterance.samples[max(0, start - room) : max(start, stop) + room]


def _same(one: FloatArray, other: FloatArray) -> bool:
    if len(one) != len(other):
        return False
    return float(np.abs(one - other).mean()) < _SAME
