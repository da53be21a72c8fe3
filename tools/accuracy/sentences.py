"""Voices with any text: plain cosine against calibrated ratios, on unseen speakers.

The speakers are divided in two. A calibration is made from each half and measured on the other, so
no tested voice has a part in its own calibration. What is taken off all voices is the product's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.evaluation.corpus import CorpusFile
from edge.recognition.dtw import unit
from edge.recognition.scoring import similarities
from edge.types import FloatArray
from tools.accuracy.figures import PLAIN_VOICE, PRESETS, Row, Scores
from tools.accuracy.hearing import Hearing
from tools.calibration.voice import FittedVoice, fit_voice
from tools.calibration.voices import Voices, gather, listen
from tools.conditions import conditions, pink_noise
from tools.trials import enrollments

ENROLLED = 3
FEWEST_SPEAKERS = 32
"""Fewer are too few for calibration."""
TOO_FEW = {"speakers to calibrate with": f"fewer than {FEWEST_SPEAKERS}"}
GROUPS = (2, 5, 10, 20)
GROUP_DRAWS = 40
LENGTHS_S = ((0.0, 1.5), (1.5, 2.5), (2.5, 4.0), (4.0, 60.0))
"""Seconds of speech by which the rates are also given."""


@dataclass(frozen=True, eq=False)
class Half:
    """Half of the speakers, scored by the other half's calibration.

    Attributes:
        plain: cosine of each signature and recording, shape (n, m).
        ratio: calibrated, shape (n, m).
        owner: whose signature, shape (n,).
        speaker: who speaks, shape (m,).
        net_speech_s: seconds of speech, shape (m,).
        enrolled: whether a recording is in a signature, shape (n, m).
        fitted: the calibration.
    """

    plain: FloatArray
    ratio: FloatArray
    owner: NDArray[np.str_]
    speaker: NDArray[np.str_]
    net_speech_s: NDArray[np.float64]
    enrolled: NDArray[np.bool_]
    fitted: FittedVoice

    def targets(self, scores: FloatArray) -> Scores:
        """Scores of the right voice."""
        own = self.owner[:, None] == self.speaker[None]
        found: Scores = scores[own & ~self.enrolled].astype(np.float64)
        return found

    def nontargets(self, scores: FloatArray) -> Scores:
        """Scores of every other voice."""
        found: Scores = scores[self.owner[:, None] != self.speaker[None]].astype(np.float64)
        return found


@dataclass(frozen=True, eq=False)
class Tested:
    """Signatures and recordings of half of the speakers.

    Attributes:
        learned: the other half's recordings.
        voices: this half's whole recordings, m of them.
        signatures: of three recordings each, unit length, shape (n, 3, d).
        owner: whose, shape (n,).
        enrolled: whether a recording is in a signature, shape (n, m).
    """

    learned: Voices
    voices: Voices
    signatures: FloatArray
    owner: NDArray[np.str_]
    enrolled: NDArray[np.bool_]

    @property
    def plain(self) -> FloatArray:
        """Cosine of each signature and recording, shape (n, m)."""
        cosine: FloatArray = self.signatures[:, 0] @ self.voices.embeddings.T
        return cosine


def divided(voices: Voices, seed: int = 0) -> list[Tested]:
    """The speakers in two halves, each to be scored by the other's calibration."""
    speakers = np.random.default_rng(seed).permutation(voices.speakers)
    middle = len(speakers) // 2
    first, second = speakers[:middle], speakers[middle:]
    return [_tested(voices, *parts) for parts in ((first, second), (second, first))]


def _tested(every: Voices, learned: NDArray[np.str_], tested: NDArray[np.str_]) -> Tested:
    voices = every.of_speakers(tested)
    voices = voices.of(voices.whole)
    vectors, owners, enrolled = [], [], []
    weights = np.minimum(voices.net_speech_s, 3.0)
    for speaker in voices.speakers:
        own = np.flatnonzero(voices.speaker == speaker)
        if len(own) <= ENROLLED:
            continue
        for chosen in enrollments(len(own), ENROLLED):
            rows = own[list(chosen)]
            vectors.append(np.tensordot(weights[rows], voices.variants[rows], 1))
            owners.append(speaker)
            enrolled.append(np.isin(np.arange(len(voices.speaker)), rows))
    signatures = unit(np.stack(vectors).astype(np.float32))
    return Tested(
        every.of_speakers(learned), voices, signatures, np.asarray(owners), np.stack(enrolled)
    )


def halves(voices: Voices, center: FloatArray, seed: int = 0) -> list[Half]:
    """Each half of the speakers, scored by the other's calibration."""
    return [_scored(tested, fit_voice(tested.learned, center)) for tested in divided(voices, seed)]


def _scored(tested: Tested, fitted: FittedVoice) -> Half:
    voices = tested.voices
    ratio = fitted.calibration.ratio(
        similarities(
            tested.signatures, voices.embeddings[:, None], fitted.center, fitted.allowances
        ),
        [ENROLLED] * len(tested.signatures),
        voices.net_speech_s.tolist(),
    )
    return Half(
        tested.plain,
        ratio,
        tested.owner,
        voices.speaker,
        voices.net_speech_s,
        tested.enrolled,
        fitted,
    )


def voices_of(hearing: Hearing, items: Sequence[CorpusFile]) -> Voices | None:
    """The voices of read sentences as calibration takes them; None for too few speakers."""
    altered = conditions(pink_noise(20.0, seed=1))[1:]
    voices = gather(hearing.engine, listen(items), altered)
    return voices if len(voices.speakers) >= FEWEST_SPEAKERS else None


def measure(hearing: Hearing, items: Sequence[CorpusFile]) -> dict[str, Any]:
    """Plain and calibrated, in one table."""
    voices = voices_of(hearing, items)
    if voices is None:
        return TOO_FEW
    found = halves(voices, hearing.engine.scorer.center)
    plain = [(half.targets(half.plain), half.nontargets(half.plain)) for half in found]
    after = [(half.targets(half.ratio), half.nontargets(half.ratio)) for half in found]
    before_row = Row.of(*(np.concatenate(part) for part in zip(*plain)))
    after_row = Row.of(*(np.concatenate(part) for part in zip(*after)))
    presets = {}
    for name, rate in PRESETS.items():
        limits = [half.fitted.calibration.curve.threshold(rate) for half in found]
        passed = [(wrong >= limit).mean() for (_, wrong), limit in zip(after, limits)]
        refused = [(right < limit).mean() for (right, _), limit in zip(after, limits)]
        presets[name] = {
            "asked_percent": 100 * rate,
            "false_accept_percent": round(100 * float(np.mean(passed)), 4),
            "false_accept_percent_of_each_half": [round(100 * float(p), 4) for p in passed],
            "false_reject_percent": round(100 * float(np.mean(refused)), 2),
        }
    before = np.concatenate([right for right, _ in plain])
    return {
        "speakers": len(voices.speakers),
        "plain cosine": before_row.as_dict(),
        "calibrated": after_row.as_dict(),
        "plain cosine, false rejects at its fixed threshold, percent": round(
            100 * float((before < PLAIN_VOICE).mean()), 2
        ),
        "presets": presets,
        "by seconds of speech, at balanced": _by_length(found),
        "groups": _groups(found),
    }


def _by_length(found: list[Half]) -> dict[str, Any]:
    """Measured rates by length of the recordings, at the requested rate."""
    rows: dict[str, Any] = {}
    for shortest, longest in LENGTHS_S:
        wrong, right = [], []
        for half in found:
            fitting = (shortest <= half.net_speech_s) & (half.net_speech_s < longest)
            own = half.owner[:, None] == half.speaker[None]
            opened = half.ratio >= half.fitted.calibration.curve.threshold(PRESETS["balanced"])
            wrong.append(opened[~own & fitting[None]])
            right.append(opened[own & ~half.enrolled & fitting[None]])
        accepts, rejects = np.concatenate(wrong), ~np.concatenate(right)
        if accepts.size and rejects.size:
            rows[f"{shortest:g} to {longest:g} s"] = {
                "false_accept_percent": round(100 * float(accepts.mean()), 4),
                "false_reject_percent": round(100 * float(rejects.mean()), 2),
            }
    return rows


def _groups(found: list[Half]) -> dict[str, Any]:
    """Identification: strangers taken for a member of a group, at the requested rate."""
    rate = PRESETS["balanced"]
    chance = np.random.default_rng(0)
    rows: dict[str, Any] = {}
    for size in GROUPS:
        strangers = taken = trials = right = 0
        for half in found:
            people = np.unique(half.owner)
            if len(people) <= size:
                continue
            limit = half.fitted.calibration.curve.threshold(rate / size)
            for _ in range(GROUP_DRAWS):
                members = chance.choice(people, size, replace=False)
                signatures = np.asarray(
                    [chance.choice(np.flatnonzero(half.owner == one)) for one in members]
                )
                scores = half.ratio[signatures]
                best = scores.max(axis=0)
                stranger = ~np.isin(half.speaker, members)
                strangers += int(stranger.sum())
                taken += int((best[stranger] >= limit).sum())
                known = ~stranger & ~half.enrolled[signatures].any(axis=0)
                who = members[scores.argmax(axis=0)]
                trials += int(known.sum())
                right += int(((best >= limit) & (who == half.speaker))[known].sum())
        if strangers:
            rows[str(size)] = {
                "asked_percent": 100 * rate,
                "strangers": strangers,
                "false_accept_percent": round(100 * taken / strangers, 4),
                "identified_percent": round(100 * right / max(1, trials), 2),
            }
    return rows
