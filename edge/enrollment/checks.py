"""What a repetition must be beyond other utterances: whole and long enough.

A signature is compared with everything that is said at the door for years, so its samples must be
better than what is compared. What is not bad enough to be refused is remarked on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.audio.blocks import FRAME_SAMPLES, level_db
from edge.enrollment.prompts import SHORT_S, in_words
from edge.enrollment.room_noise import QUIET_LIMIT_DBFS
from edge.errors import EnrollmentRejected
from edge.recognition import Engine
from edge.recognition.dtw import dtw_distances
from edge.recognition.keyword_spotter import KeywordSpotter
from edge.recognition.scoring import cosine, signature_of
from edge.replay.fingerprint import Fingerprint, UtterancePeaks
from edge.replay.matching import best_match
from edge.types import (
    SAMPLE_RATE,
    EnrollmentSample,
    FloatArray,
    Profile,
    ProfileKind,
    ReasonCode,
    Utterance,
)

APART = 1.2
"""Least distance of two phrases of one person, relative to the largest distance between
repetitions of one phrase at enrollment."""
WANTED = 4
"""Syllables that a passphrase should have."""
FEW = 2
"""At so few estimated syllables there are surely fewer than `WANTED`."""

_LENGTH = SAMPLE_RATE // 40
_HOP = SAMPLE_RATE // 100
_FFT = 512
_LOWEST_HZ, _HIGHEST_HZ = 200.0, 3500.0
_SMOOTHING_HOPS = 2.0
"""Standard deviation of the smoothing: 20 ms."""
_DIP_DB = 1.0
"""Least fall of the level between two vowels."""
_DEPTH_DB = 20.0
"""A vowel is at most this far below the loudest one."""

_VOICED_LENGTH = SAMPLE_RATE // 25
"""40 ms: two periods of the deepest voice and more."""
_VOICED_FFT = 2048
_SHORTEST_LAG, _LONGEST_LAG = SAMPLE_RATE // 400, SAMPLE_RATE // 60
"""Periods of a voice between 60 and 400 Hz."""
_VOICED = 0.5
_BESIDE_HOPS = 2


def count_syllables(samples: FloatArray) -> int:
    """Estimate the number of syllables in mono audio at `SAMPLE_RATE`, shape (n,)."""
    level = _vowel_level(samples)
    if len(level) < 3:
        return 0
    middle = level[1:-1]
    tops = (middle >= level[:-2]) & (middle > level[2:]) & (middle > level.max() - _DEPTH_DB)
    peaks: list[int] = []
    for top in np.flatnonzero(tops) + 1:
        if not _is_voiced(samples, int(top)):
            continue
        if not peaks:
            peaks.append(int(top))
            continue
        last = peaks[-1]
        dip = min(level[last], level[top]) - level[last : top + 1].min()
        if dip >= _DIP_DB:
            peaks.append(int(top))
        elif level[top] > level[last]:
            peaks[-1] = int(top)
    return len(peaks)


def _is_voiced(samples: FloatArray, hop: int) -> bool:
    """Whether the sound around a hop is periodic, by its autocorrelation."""
    lags = np.arange(_SHORTEST_LAG, _LONGEST_LAG)
    for near in range(max(0, hop - _BESIDE_HOPS), hop + _BESIDE_HOPS + 1):
        piece = samples[near * _HOP : near * _HOP + _VOICED_LENGTH]
        if len(piece) < _VOICED_LENGTH:
            return False
        spectrum = np.fft.rfft(piece - piece.mean(), _VOICED_FFT)
        likeness = np.fft.irfft(np.abs(spectrum) ** 2)
        # Fewer products are summed at longer lags.
        most = likeness[0] * (1.0 - lags / _VOICED_LENGTH)
        if float((likeness[lags] / (most + 1e-9)).max()) >= _VOICED:
            return True
    return False


def _vowel_level(samples: FloatArray) -> NDArray[np.float64]:
    """Smoothed level in the band of vowels every 10 ms, dB, shape (t,)."""
    if len(samples) < _LENGTH:
        return np.zeros(0)
    frames = np.lib.stride_tricks.sliding_window_view(samples, _LENGTH)[::_HOP]
    spectrum = np.fft.rfft(frames * np.hanning(_LENGTH).astype(np.float32), _FFT, axis=1)
    frequencies = np.fft.rfftfreq(_FFT, 1.0 / SAMPLE_RATE)
    band = (frequencies >= _LOWEST_HZ) & (frequencies <= _HIGHEST_HZ)
    power = (np.abs(spectrum[:, band]) ** 2).sum(axis=1)
    reach = int(3 * _SMOOTHING_HOPS)
    bell = np.exp(-0.5 * (np.arange(-reach, reach + 1) / _SMOOTHING_HOPS) ** 2)
    smooth = np.convolve(power, bell / bell.sum(), "same")[: len(power)]
    level: NDArray[np.float64] = 10.0 * np.log10(smooth + 1e-9)
    return level


NOISY_SNR_DB = 15.0
"""Below this a repetition is accepted with a warning; `recognition.min_snr_db` refuses it."""

_EDGE_S = 0.1
"""Speech this close to the first or last sample may be cut off."""
_EDGE_DB = -20.0
"""Least level of the outermost 64 ms then, relative to the speech.

Of 37 recordings (25 sentences of speechocean762, CC BY 4.0, and the demo's) cut 0.1 and 0.3 s into
their speech, 34 and 34 were found at the start, 33 and 35 at the end; of 232 whole ones, one was
mistaken for cut off."""


@dataclass(frozen=True)
class Remark:
    """What could be better about an accepted repetition: "quiet", "noisy", "part" or "short"."""

    code: str
    text: str


def require_whole(utterance: Utterance) -> None:
    """Refuse an utterance that may be cut off.

    Raises:
        EnrollmentRejected: speech touches the start or the end of the recording.
    """
    text = {
        "start": "cut off at the start: wait half a second before speaking",
        "end": "cut off at the end: record half a second longer",
    }.get(cut_at(utterance) or "")
    if text is not None:
        raise EnrollmentRejected(ReasonCode.CUT_OFF.value, text)


def cut_at(utterance: Utterance) -> str | None:
    """Where an utterance is cut off: "start" (of the stream) or "end"; None if it is whole."""
    if utterance.quality.net_speech_s <= 0.0:
        return None
    loud = utterance.quality.level_dbfs + _EDGE_DB
    outermost = 2 * FRAME_SAMPLES
    at_start = utterance.start_s + utterance.lead_s < _EDGE_S
    if at_start and level_db(utterance.samples[:outermost]) > loud:
        return "start"
    if utterance.tail_s < _EDGE_S and level_db(utterance.samples[-outermost:]) > loud:
        return "end"
    return None


def require_syllables(utterance: Utterance) -> None:
    """Refuse a phrase that is too short to distinguish people and phrases.

    Raises:
        EnrollmentRejected: it has hardly four syllables.
    """
    count = count_syllables(utterance.samples)
    if count <= FEW:
        raise EnrollmentRejected(
            ReasonCode.TOO_SHORT.value,
            f"too short (about {count} syllable{'' if count == 1 else 's'} heard, {WANTED} or more"
            " needed): choose a longer phrase",
        )


def require_spoken_anew(utterance: Utterance, earlier: Sequence[Fingerprint]) -> None:
    """Refuse a recording of an earlier repetition, also one that is softer or moved in time.

    Raises:
        EnrollmentRejected: it is too similar to be spoken anew.
    """
    match = best_match(UtterancePeaks(utterance.samples), earlier)
    if match is not None and match.suspected:
        raise EnrollmentRejected(
            ReasonCode.REPEATED.value,
            "too similar to an earlier repetition to be spoken anew: say it again",
        )


def require_apart(engine: Engine, other: Profile, sample: EnrollmentSample) -> None:
    """Refuse a repetition in another voice, or too close to the person's other phrase.

    The own and the duress phrase have to be distinguished in noise and in fear, also within running
    speech: they must be further apart than the phrases of two people, and neither may be a part of
    the other.

    Raises:
        EnrollmentRejected: with what to do about it.
    """
    likeness = cosine(signature_of(other.enrolled), sample.speaker_embedding)
    least = engine.models.speaker.card.threshold("enrollment")
    if likeness < least:
        raise EnrollmentRejected(
            ReasonCode.UNKNOWN_SPEAKER.value,
            f"not the voice of {other.name} (similarity {likeness:.2f}, at least {least:.2f}): the"
            " same person must say both phrases",
        )
    if sample.phrase_embedding is None:
        return
    examples = [s.phrase_embedding for s in other.enrolled if s.phrase_embedding is not None]
    distance = min(dtw_distances(examples, sample.phrase_embedding), default=float("inf"))
    nearest = APART * engine.models.phrase.card.threshold("enrollment")
    if distance < nearest:
        raise EnrollmentRejected(
            ReasonCode.WRONG_PHRASE.value,
            f"too similar to the phrase of {other.name} (distance {distance:.2f}, at least"
            f" {nearest:.2f}): choose one without a word in common",
        )
    spotter = KeywordSpotter(engine.models.phrase, [examples])
    reverse = KeywordSpotter(engine.models.phrase, [[sample.phrase_embedding]])
    if spotter.search(sample.phrase_embedding) or any(
        reverse.search(example) for example in examples
    ):
        raise EnrollmentRejected(
            ReasonCode.WRONG_PHRASE.value,
            f"one of the two phrases of {other.name} is part of the other: choose one without a"
            " word in common",
        )


def remarks_on(utterance: Utterance, kind: ProfileKind) -> list[Remark]:
    """What could be better about an accepted utterance."""
    quality = utterance.quality
    found = []
    if quality.level_dbfs < QUIET_LIMIT_DBFS:
        text = f"rather quiet ({quality.level_dbfs:.0f} dB): speak louder or closer"
        found.append(Remark("quiet", text))
    if quality.snr_db < NOISY_SNR_DB:
        text = (
            f"rather noisy (speech {quality.snr_db:.0f} dB above the noise, better"
            f" {NOISY_SNR_DB:.0f}): wait for a quieter moment"
        )
        found.append(Remark("noisy", text))
    if kind is ProfileKind.PHRASE and quality.net_speech_s < SHORT_S:
        text = (
            f"{in_words(quality.net_speech_s)}: was that all? If it was only a part of the phrase,"
            " start over with --again"
        )
        found.append(Remark("part", text))
    if kind is ProfileKind.PHRASE and count_syllables(utterance.samples) < WANTED:
        text = f"rather short: more than {WANTED} syllables are safer"
        found.append(Remark("short", text))
    return found


def figures_of(utterance: Utterance, kind: ProfileKind) -> dict[str, Any]:
    """The measurements of an utterance, by their JSON names."""
    by_phrase = kind is ProfileKind.PHRASE
    return {
        **utterance.quality.as_dict(),
        "syllables": count_syllables(utterance.samples) if by_phrase else None,
        "cut_off": cut_at(utterance) if by_phrase else None,
    }
