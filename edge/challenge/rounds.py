"""Enrolling digits: a round is every digit once, in one voice.

The voice of one digit alone is hard to tell, that of ten together is not; so the speaker model
hears a round as a whole, and what is kept is kept round by round.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from edge.audio.quality import explain, reason_to_refuse
from edge.challenge.features import BANDS, RANGE, spectrum_of, word_in
from edge.challenge.matching import DIGITS, LEAST_ROWS, DigitExample, DigitRecognizer
from edge.errors import EnrollmentRejected, StoreError
from edge.recognition.engine import Analyzer
from edge.recognition.scoring import cosine, signature_of
from edge.store import ProfileStore
from edge.types import SAMPLE_RATE, EnrollmentSample, FloatArray, Profile, ReasonCode, Utterance

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
    voice: EnrollmentSample = field(repr=False)
    speaker_model: str


def take_digit(
    analyzer: Analyzer, utterance: Utterance, digit: int, rounds: Sequence[DigitRound]
) -> DigitExample:
    """One digit of a round.

    Args:
        analyzer: knows what a recording must be worth.
        utterance: the digit, said alone.
        digit: which one it should be, 0 to 9.
        rounds: what was enrolled before.

    Raises:
        EnrollmentRejected: it is too noisy, too long, the recording that was enrolled before, or
            sounds like another digit of the same person.
    """
    _check_quality(analyzer, utterance, digit)
    spectrum = word_in(spectrum_of(utterance.samples))
    if len(spectrum) < LEAST_ROWS:
        raise _too_short(digit)
    if len(spectrum) > MOST_ROWS:
        raise _too_long(digit)
    example = DigitExample(digit, spectrum)
    earlier = [one for spoken in rounds for one in spoken.examples]
    if any(_same(spectrum, one.spectrum) for one in earlier):
        raise EnrollmentRejected(
            ReasonCode.REPEATED.value,
            "this is the very recording that was enrolled before: say it again",
        )
    if earlier:
        other, margin = nearest_other(DigitRecognizer(earlier), example)
        if margin < _MISHEARD:
            raise EnrollmentRejected(
                ReasonCode.WRONG_PHRASE.value,
                f"sounds more like your {other} than your {digit}: say {digit} once more",
            )
    return example


def complete_round(
    analyzer: Analyzer,
    profile: Profile,
    utterances: Mapping[int, Utterance],
    examples: Mapping[int, DigitExample],
) -> DigitRound:
    """Ten digits together.

    Args:
        analyzer: holds the models.
        profile: whose they should be.
        utterances: each digit as it was heard.
        examples: each digit as `take_digit` gave it.

    Raises:
        EnrollmentRejected: it is not the voice that says the person's passphrase.
    """
    voice = voice_of(analyzer, [utterances[digit] for digit in DIGITS])
    similarity = cosine(signature_of(profile.samples), voice.speaker_embedding)
    least = analyzer.models.speaker.card.threshold("enrollment")
    if similarity < least:
        raise EnrollmentRejected(
            ReasonCode.UNKNOWN_SPEAKER.value,
            f"not the voice that says the passphrase of {profile.name} (similarity"
            f" {similarity:.2f}, at least {least:.2f}): one person at a time, same microphone",
        )
    return DigitRound(
        tuple(examples[digit] for digit in DIGITS), voice, analyzer.models.speaker.sha256
    )


def voice_of(analyzer: Analyzer, utterances: Sequence[Utterance]) -> EnrollmentSample:
    """The voice of several short utterances together."""
    pieces = [_with_room(utterance) for utterance in utterances]
    return EnrollmentSample(
        analyzer.models.speaker.embed(np.concatenate(pieces)),
        None,
        sum(utterance.quality.net_speech_s for utterance in utterances),
        min(utterance.quality.snr_db for utterance in utterances),
        time.time(),
    )


def nearest_other(recognizer: DigitRecognizer, example: DigitExample) -> tuple[int, float]:
    """Which other digit an example is nearest to, and by how much its own one is nearer."""
    # An example has no silence around it, by which the noise would be known.
    silence = ((_SILENT_ROWS, _SILENT_ROWS), (0, 0))
    spectrum = np.pad(example.spectrum, silence, constant_values=-RANGE)
    _, fits = recognizer.fits(spectrum, [example.digit])
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
        recognizer = DigitRecognizer(rest)
        for example in spoken.examples:
            other_digit, margin = nearest_other(recognizer, example)
            if example.digit not in weakness or margin < weakness[example.digit][1]:
                weakness[example.digit] = (other_digit, margin)
    return weakness


def _check_quality(analyzer: Analyzer, utterance: Utterance, digit: int) -> None:
    quality, config = utterance.quality, analyzer.config.recognition
    reason = reason_to_refuse(quality, config)
    if reason is ReasonCode.TOO_SHORT and quality.net_speech_s >= SHORTEST_S:
        reason = None
    if reason is ReasonCode.TOO_SHORT:
        raise _too_short(digit)
    if reason is ReasonCode.TOO_LONG:
        raise _too_long(digit)
    if reason is not None:
        raise EnrollmentRejected(reason.value, explain(reason, quality, config))
    if quality.snr_db < _LEAST_SNR_DB:
        raise EnrollmentRejected(
            ReasonCode.TOO_NOISY.value,
            f"too noisy to learn from ({quality.snr_db:.0f} dB above the noise, at least"
            f" {_LEAST_SNR_DB:.0f} needed): find a quieter moment or come closer",
        )


def _too_short(digit: int) -> EnrollmentRejected:
    return EnrollmentRejected(ReasonCode.TOO_SHORT.value, f"no {digit} was heard: say it again")


def _too_long(digit: int) -> EnrollmentRejected:
    return EnrollmentRejected(
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


_HEAD = struct.Struct("<4sBddd32sH10H")
_MAGIC = b"EVdg"
_VERSION = 1
_STEP = 0.05
_MOST_DIMENSIONS = 4096
_HIGHEST = 255 * _STEP - RANGE


def encode(spoken: DigitRound) -> bytes:
    """A round as bytes; spectra are rounded to a fifth of a decibel."""
    voice = spoken.voice
    examples = sorted(spoken.examples, key=lambda example: example.digit)
    head = _HEAD.pack(
        _MAGIC,
        _VERSION,
        voice.net_speech_s,
        voice.snr_db,
        voice.created_at,
        bytes.fromhex(spoken.speaker_model),
        len(voice.speaker_embedding),
        *(len(example.spectrum) for example in examples),
    )
    steps = [np.rint((example.spectrum + RANGE) / _STEP).clip(0, 255) for example in examples]
    spectra = np.concatenate(steps).astype(np.uint8)
    return head + voice.speaker_embedding.astype("<f4").tobytes() + spectra.tobytes()


def decode(payload: bytes) -> DigitRound:
    """The round in some bytes.

    Raises:
        StoreError: they hold none.
    """
    try:
        magic, version, net, snr, at, model, size, *lengths = _HEAD.unpack_from(payload)
    except struct.error:
        raise _damaged("too short") from None
    if magic != _MAGIC:
        raise _damaged("no such thing")
    if version != _VERSION:
        raise StoreError(f"enrolled digits are of version {version}: update the software")
    if not (np.isfinite([net, snr, at]).all() and 0.0 < net < 1e4 and abs(snr) < 1e3):
        raise _damaged("its figures")
    if not 0 < size <= _MOST_DIMENSIONS or not all(
        LEAST_ROWS <= length <= MOST_ROWS for length in lengths
    ):
        raise _damaged("its lengths")
    if len(payload) != _HEAD.size + 4 * size + BANDS * sum(lengths):
        raise _damaged("its size")
    embedding = np.frombuffer(payload, "<f4", size, _HEAD.size).astype(np.float32)
    norm = float(np.linalg.norm(embedding.astype(np.float64)))
    if not abs(norm - 1.0) < 1e-3:  # not a number neither
        raise _damaged("its voice")
    steps = np.frombuffer(payload, np.uint8, offset=_HEAD.size + 4 * size).reshape(-1, BANDS)
    spectra = steps.astype(np.float32) * np.float32(_STEP) - np.float32(RANGE)
    bounds = np.cumsum(lengths)[:-1]
    return DigitRound(
        tuple(
            DigitExample(digit, spectrum)
            for digit, spectrum in zip(DIGITS, np.split(spectra, bounds))
        ),
        EnrollmentSample(embedding, None, net, snr, at),
        model.hex(),
    )


def _damaged(what: str) -> StoreError:
    return StoreError(f"enrolled digits are damaged ({what}): enroll them again with --digits")


KIND = "digit"


def rounds_of(store: ProfileStore, profile_id: str) -> list[DigitRound]:
    """The rounds of a profile, oldest first.

    Raises:
        ProfileError: there is no such profile.
        StoreError: the store cannot be read, or a round in it is damaged.
    """
    return [decode(item.payload) for item in store.kept(KIND, profile_id)]


def keep_round(
    store: ProfileStore, profile_id: str, spoken: DigitRound, most: int = MOST_ROUNDS
) -> None:
    """Keep a round; the oldest ones beyond `most` go.

    Raises:
        ProfileError: there is no such profile.
        StoreError: the store cannot be written.
    """
    store.keep(KIND, encode(spoken), profile=profile_id, most=most)


def replace_rounds(store: ProfileStore, profile_id: str, rounds: Sequence[DigitRound]) -> None:
    """Keep these rounds in place of all earlier ones; an interruption leaves some of both.

    Raises:
        ProfileError: there is no such profile.
        StoreError: the store cannot be written.
    """
    for spoken in rounds:
        keep_round(store, profile_id, spoken, most=len(rounds))


def forget_rounds(store: ProfileStore, profile_id: str) -> int:
    """Remove all rounds of a profile, and return how many there were."""
    return store.discard(KIND, profile_id)
