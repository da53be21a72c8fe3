"""Enrolled digits: rounds of ten, how they are checked, enrolled and stored.

One digit is too short to identify a voice by, ten together are long enough: a round has each digit
once, and is embedded and stored as a whole.
"""

from __future__ import annotations

import secrets
import struct
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edge.audio.quality import explain, reason_to_refuse
from edge.challenge.features import BANDS, RANGE, spectrum_of, word_in
from edge.challenge.matching import DIGITS, MIN_ROWS, DigitExample, DigitRecognizer
from edge.errors import EnrollmentRejected, ProfileError, StoreError
from edge.recognition.dtw import unit
from edge.recognition.embedders import voice_samples
from edge.recognition.engine import Analyzer, Engine
from edge.recognition.scoring import cosine, signature_of
from edge.store import ProfileStore
from edge.types import (
    SAMPLE_RATE,
    EnrollmentSample,
    FloatArray,
    Profile,
    ProfileKind,
    ReasonCode,
    Utterance,
)

ROUNDS = 3
"""Rounds needed to be asked for digits."""
MOST_ROUNDS = 5

_MAX_ROWS = 150
"""Frames of the longest word, 1.5 s."""
_MIN_SPEECH_S = 0.06
"""Net speech of the shortest digit."""
_MIN_SNR_DB = 15.0
_MIN_MARGIN = 0.0
_ROOM_S = 0.1
"""Sound of the room kept on both sides of a digit: the pauses of an answer contain it too, and
embeddings of speech between digital zeros differ."""
_SAME_RECORDING = 0.02
"""Mean difference of two spectra below which they are of the same recording."""
_WELL_APART = 0.0
"""Margin from which a digit is asked for."""
_MIN_CHOICES = 6
"""Digits to choose from even where more are weak."""

_KIND = "digit"
_HEAD = struct.Struct("<4sBddd32sH10H")
_MAGIC = b"EVdg"
_VERSION, _WITH_SINGLE = 1, 2
"""In the second the mean of the single digits follows the voice."""
_STEP = 0.05
"""Natural logarithms per step of a stored spectrum, a fifth of a decibel."""
_MAX_DIMENSIONS = 4096


@dataclass(frozen=True, eq=False)
class DigitRound:
    """Every digit once.

    Attributes:
        examples: of each digit, in order.
        voice: of all ten together.
        speaker_model: SHA-256 of the model that embedded them.
        single: the mean direction of the digits embedded one by one, unit length, shape (d,); None
            for what older versions stored.
    """

    examples: tuple[DigitExample, ...]
    voice: EnrollmentSample
    speaker_model: str
    single: FloatArray | None = field(default=None, repr=False)


def make_example(
    analyzer: Analyzer, utterance: Utterance, digit: int, rounds: Sequence[DigitRound]
) -> DigitExample:
    """An example of a digit, from an utterance of it alone; checked against earlier rounds.

    Raises:
        EnrollmentRejected: it is too noisy, too short or long, a recording enrolled before, or
            sounds like another digit of the same person.
    """
    _check_quality(analyzer, utterance, digit)
    spectrum = word_in(spectrum_of(utterance.samples))
    if len(spectrum) < MIN_ROWS:
        raise _rejected_length(ReasonCode.TOO_SHORT, digit)
    if len(spectrum) > _MAX_ROWS:
        raise _rejected_length(ReasonCode.TOO_LONG, digit)
    example = DigitExample(digit, spectrum)
    earlier = [one for spoken in rounds for one in spoken.examples]
    if any(_same_recording(spectrum, one.spectrum) for one in earlier):
        raise EnrollmentRejected(
            ReasonCode.REPEATED.value, "this recording is already enrolled: say it again"
        )
    if earlier:
        other, margin = DigitRecognizer(earlier).nearest_other(example)
        if margin < _MIN_MARGIN:
            raise EnrollmentRejected(
                ReasonCode.WRONG_PHRASE.value,
                f"sounds more like your {other} than your {digit}: say {digit} again",
            )
    return example


def complete_round(
    analyzer: Analyzer,
    profile: Profile,
    utterances: Mapping[int, Utterance],
    examples: Mapping[int, DigitExample],
) -> DigitRound:
    """A round of ten digits. Raises `EnrollmentRejected` if the voice is not the passphrase's."""
    said = [utterances[digit] for digit in DIGITS]
    voice = voice_of(analyzer, said)
    similarity = cosine(signature_of(profile.samples), voice.speaker_embedding)
    required = analyzer.models.speaker.card.threshold("enrollment")
    if similarity < required:
        raise EnrollmentRejected(
            ReasonCode.UNKNOWN_SPEAKER.value,
            f"not the voice of the passphrase of {profile.name} (similarity {similarity:.2f},"
            f" at least {required:.2f} needed): only one person, at the same microphone",
        )
    return DigitRound(
        tuple(examples[digit] for digit in DIGITS),
        voice,
        analyzer.models.speaker.sha256,
        single_voice(analyzer, said),
    )


def single_voice(analyzer: Analyzer, utterances: Sequence[Utterance]) -> FloatArray:
    """The mean direction of several short utterances, each embedded alone, shape (d,)."""
    embed = analyzer.models.speaker.embed
    total: FloatArray = np.sum([embed(voice_samples(one)) for one in utterances], axis=0)
    return unit(total)


def voice_of(analyzer: Analyzer, utterances: Sequence[Utterance]) -> EnrollmentSample:
    """The voice of several short utterances together."""
    room = round(_ROOM_S * SAMPLE_RATE)
    pieces = []
    for utterance in utterances:
        start = round(utterance.lead_s * SAMPLE_RATE)
        stop = len(utterance.samples) - round(utterance.tail_s * SAMPLE_RATE)
        pieces.append(utterance.samples[max(0, start - room) : max(start, stop) + room])
    return EnrollmentSample(
        analyzer.models.speaker.embed(np.concatenate(pieces)),
        None,
        sum(utterance.quality.net_speech_s for utterance in utterances),
        min(utterance.quality.snr_db for utterance in utterances),
        time.time(),
    )


def weakness_of(rounds: Sequence[DigitRound]) -> dict[int, tuple[int, float]]:
    """Each digit's closest other one and its least margin, from two or more rounds."""
    weakness: dict[int, tuple[int, float]] = {}
    for spoken in rounds:
        others = [example for other in rounds if other is not spoken for example in other.examples]
        recognizer = DigitRecognizer(others)
        for example in spoken.examples:
            other_digit, margin = recognizer.nearest_other(example)
            if example.digit not in weakness or margin < weakness[example.digit][1]:
                weakness[example.digit] = (other_digit, margin)
    return weakness


def strong_digits(rounds: Sequence[DigitRound]) -> tuple[int, ...]:
    """The digits never mistaken in the latest rounds, in order; at least `_MIN_CHOICES`."""
    weakness = weakness_of(rounds[-ROUNDS:])
    weak = [digit for digit in DIGITS if weakness[digit][1] < _WELL_APART]
    weak.sort(key=lambda digit: weakness[digit][1])
    left_out = weak[: len(DIGITS) - _MIN_CHOICES]
    return tuple(digit for digit in DIGITS if digit not in left_out)


def summary_of(rounds: Sequence[DigitRound]) -> dict[str, Any]:
    """How many rounds there are, which digits are asked for, and which sound too much alike."""
    asked: list[int] = []
    confusable: list[list[int]] = []
    if len(rounds) >= ROUNDS:
        asked = list(strong_digits(rounds))
        weakness = weakness_of(rounds[-ROUNDS:])
        confusable = [[digit, weakness[digit][0]] for digit in DIGITS if digit not in asked]
    return {"rounds": len(rounds), "required": ROUNDS, "asked": asked, "confusable": confusable}


def _check_quality(analyzer: Analyzer, utterance: Utterance, digit: int) -> None:
    quality, config = utterance.quality, analyzer.config.recognition
    reason = reason_to_refuse(quality, config)
    if reason is ReasonCode.TOO_SHORT and quality.net_speech_s >= _MIN_SPEECH_S:
        reason = None
    if reason is ReasonCode.TOO_SHORT:
        raise _rejected_length(reason, digit)
    if reason is not None:
        raise EnrollmentRejected(reason.value, explain(reason, quality, config))
    if quality.snr_db < _MIN_SNR_DB:
        raise EnrollmentRejected(
            ReasonCode.TOO_NOISY.value,
            f"too noisy to enroll ({quality.snr_db:.0f} dB above the noise, at least"
            f" {_MIN_SNR_DB:.0f} needed): wait for quiet or come closer",
        )


def _rejected_length(reason: ReasonCode, digit: int) -> EnrollmentRejected:
    if reason is ReasonCode.TOO_SHORT:
        return EnrollmentRejected(reason.value, f"no {digit} recognized: say it again")
    return EnrollmentRejected(reason.value, f"too long for one digit: say only {digit}, then pause")


def _same_recording(one: FloatArray, other: FloatArray) -> bool:
    return len(one) == len(other) and float(np.abs(one - other).mean()) < _SAME_RECORDING


def encode(spoken: DigitRound) -> bytes:
    """A round as bytes; spectra are rounded to a fifth of a decibel."""
    voice = spoken.voice
    examples = sorted(spoken.examples, key=lambda example: example.digit)
    voices = [voice.speaker_embedding, *([] if spoken.single is None else [spoken.single])]
    head = _HEAD.pack(
        _MAGIC,
        _VERSION if spoken.single is None else _WITH_SINGLE,
        voice.net_speech_s,
        voice.snr_db,
        voice.created_at,
        bytes.fromhex(spoken.speaker_model),
        len(voice.speaker_embedding),
        *(len(example.spectrum) for example in examples),
    )
    steps = [np.rint((example.spectrum + RANGE) / _STEP).clip(0, 255) for example in examples]
    spectra = np.concatenate(steps).astype(np.uint8)
    return head + np.stack(voices).astype("<f4").tobytes() + spectra.tobytes()


def decode(payload: bytes) -> DigitRound:
    """The round that `encode` made these bytes of. Raises `StoreError` if they are damaged."""
    try:
        magic, version, net, snr, at, model, size, *lengths = _HEAD.unpack_from(payload)
    except struct.error:
        raise _damaged("too short") from None
    if magic != _MAGIC:
        raise _damaged("unknown format")
    if version not in (_VERSION, _WITH_SINGLE):
        raise StoreError(f"enrolled digits are of version {version}: update the software")
    if not (np.isfinite([net, snr, at]).all() and 0.0 < net < 1e4 and abs(snr) < 1e3):
        raise _damaged("figures")
    if not 0 < size <= _MAX_DIMENSIONS or not all(MIN_ROWS <= n <= _MAX_ROWS for n in lengths):
        raise _damaged("lengths")
    count = 2 if version == _WITH_SINGLE else 1
    spectra_at = _HEAD.size + 4 * size * count
    if len(payload) != spectra_at + BANDS * sum(lengths):
        raise _damaged("size")
    voices = np.frombuffer(payload, "<f4", size * count, _HEAD.size).astype(np.float32)
    embedding, *single = voices.reshape(count, size)
    norms = np.linalg.norm(voices.reshape(count, size).astype(np.float64), axis=1)
    if not (np.abs(norms - 1.0) < 1e-3).all():  # also of NaN
        raise _damaged("voice")
    steps = np.frombuffer(payload, np.uint8, offset=spectra_at).reshape(-1, BANDS)
    spectra = steps.astype(np.float32) * np.float32(_STEP) - np.float32(RANGE)
    words = np.split(spectra, np.cumsum(lengths)[:-1])
    return DigitRound(
        tuple(DigitExample(digit, word) for digit, word in zip(DIGITS, words)),
        EnrollmentSample(embedding, None, net, snr, at),
        model.hex(),
        single[0] if single else None,
    )


def _damaged(what: str) -> StoreError:
    return StoreError(f"enrolled digits are damaged ({what}): enroll them again with --digits")


def rounds_of(store: ProfileStore, profile_id: str) -> list[DigitRound]:
    """The rounds of a profile, oldest first. Raises `StoreError` also for a damaged one."""
    return [decode(item.payload) for item in store.kept(_KIND, profile_id)]


def keep_round(
    store: ProfileStore, profile_id: str, spoken: DigitRound, most: int = MOST_ROUNDS
) -> None:
    """Store a round; the oldest ones beyond `most` are removed."""
    store.keep(_KIND, encode(spoken), profile=profile_id, most=most)


def replace_rounds(store: ProfileStore, profile_id: str, rounds: Sequence[DigitRound]) -> None:
    """Store these rounds in place of all earlier ones; an interruption leaves some of both."""
    for spoken in rounds:
        keep_round(store, profile_id, spoken, most=len(rounds))


class DigitEnrollment:
    """The digits of one person, round by round; each complete round is stored at once.

    With `again`, nothing is stored until every round is complete: the old ones stay until then.

    Raises:
        ProfileError: the profile cannot be used for access, or its digits are complete.
    """

    def __init__(
        self, store: ProfileStore, engine: Engine, profile: Profile, wanted: int, *, again: bool
    ) -> None:
        if profile.kind is not ProfileKind.PHRASE:
            raise ProfileError(f"{profile.name} has no passphrase, and digits need one")
        engine.require_ready(profile)
        if profile.duress_of is not None:
            raise ProfileError(
                f"{profile.name} is a duress phrase: enroll digits under the person's own name"
            )
        self._store = store
        self._engine = engine
        self.profile = profile
        self.wanted = wanted
        self._again = again
        self.rounds: list[DigitRound] = [] if again else rounds_of(store, profile.id)
        self.new = 0
        self._begin()
        model = engine.models.speaker.sha256
        if any(spoken.speaker_model != model for spoken in self.rounds):
            raise ProfileError(
                f"the digits of {profile.name} were enrolled with another model: add --again"
            )
        if self.complete:
            raise ProfileError(
                f"the digits of {profile.name} are already enrolled: add --again to replace them"
            )

    @property
    def complete(self) -> bool:
        """Whether no round is missing."""
        return len(self.rounds) >= self.wanted

    @property
    def keeps_old(self) -> bool:
        """Whether the digits enrolled before are still in use."""
        return self._again and not self.complete

    @property
    def missing(self) -> list[int]:
        """The digits the current round still needs, in the order in which to ask for them."""
        return [digit for digit in self._order if digit not in self._examples]

    def add(self, digit: int, utterance: Utterance) -> None:
        """Add a digit; the tenth completes a round, which starts over if its voice does not fit.

        Raises:
            EnrollmentRejected: the digit or the voice does not fit.
        """
        self._examples[digit] = make_example(self._engine, utterance, digit, self.rounds)
        self._utterances[digit] = utterance
        if self.missing:
            return
        utterances, examples = self._utterances, self._examples
        self._begin()
        spoken = complete_round(self._engine, self.profile, utterances, examples)
        self.rounds.append(spoken)
        self.new += 1
        if not self._again:
            keep_round(self._store, self.profile.id, spoken)
        elif self.complete:
            replace_rounds(self._store, self.profile.id, self.rounds)

    def _begin(self) -> None:
        # Shuffled, so that nobody falls into the singsong of counting.
        self._order = secrets.SystemRandom().sample(DIGITS, len(DIGITS))
        self._examples: dict[int, DigitExample] = {}
        self._utterances: dict[int, Utterance] = {}
