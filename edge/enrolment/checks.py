"""What a repetition must be beyond what every utterance must be: whole, and long enough.

A signature is held against everything that is said at the door for years, so more is asked of what
it is made from than of what is held against it. What is not wrong enough to be refused is told.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edge.audio.frames import FRAME_SAMPLES, level_db
from edge.enrolment.noise import QUIET_LIMIT_DBFS
from edge.enrolment.syllables import FEW, WANTED, count_syllables
from edge.errors import EnrolmentRejected
from edge.types import ProfileKind, ReasonCode, Utterance

NOISY_SNR_DB = 15.0
"""Below this a repetition is taken with a warning; `recognition.min_snr_db` refuses it."""

_EDGE_S = 0.1
"""Speech as close to the first or the last sample as this may have begun before, or gone on."""
_EDGE_DB = -20.0
"""How loud the outermost 64 ms then are at least, relative to the speech.

Of 37 recordings (25 sentences of speechocean762, CC BY 4.0, and the demo's) that were cut 0.1 and
0.3 s into their speech, 34 and 34 were found at the start, 33 and 35 at the end; of 232 whole ones,
one was taken for cut off."""


@dataclass(frozen=True)
class Remark:
    """Something about a repetition that was taken, and could be better.

    Attributes:
        code: for programs: "quiet", "noisy" or "short".
        text: for people, a sentence.
    """

    code: str
    text: str


def require_whole(utterance: Utterance) -> None:
    """Refuse an utterance of which a piece may be missing.

    Raises:
        EnrolmentRejected: speech touches the first or the last of what was recorded.
    """
    where = cut_at(utterance)
    if where == "start":
        raise EnrolmentRejected(
            ReasonCode.CUT_OFF.value,
            "cut off: the speech begins before the recording does: wait half a second, then speak",
        )
    if where == "end":
        raise EnrolmentRejected(
            ReasonCode.CUT_OFF.value,
            "cut off: the recording ends before the speech does: let it run half a second longer",
        )


def cut_at(utterance: Utterance) -> str | None:
    """Where a piece is missing: "start" or "end", None where nothing is.

    The start is that of the stream, so that it is seen too when somebody spoke before the
    microphone was listened to.
    """
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
    """Refuse a phrase that is too short to tell people and phrases apart.

    Raises:
        EnrolmentRejected: there are hardly four syllables in it.
    """
    count = count_syllables(utterance.samples)
    if count <= FEW:
        raise EnrolmentRejected(
            ReasonCode.TOO_SHORT.value,
            f"too short (about {count} syllable{'' if count == 1 else 's'} heard, {WANTED} or more"
            " needed): choose a longer phrase",
        )


def remarks_on(utterance: Utterance, kind: ProfileKind) -> list[Remark]:
    """What could be better about an utterance that was taken."""
    quality = utterance.quality
    found = []
    if quality.level_dbfs < QUIET_LIMIT_DBFS:
        text = f"rather quiet ({quality.level_dbfs:.0f} dB): a little louder or closer is better"
        found.append(Remark("quiet", text))
    if quality.snr_db < NOISY_SNR_DB:
        text = (
            f"rather noisy (speech {quality.snr_db:.0f} dB above the noise,"
            f" {NOISY_SNR_DB:.0f} are better): a quieter moment helps"
        )
        found.append(Remark("noisy", text))
    if kind is ProfileKind.PHRASE and count_syllables(utterance.samples) < WANTED:
        text = f"rather short: a phrase of more than {WANTED} syllables is safer"
        found.append(Remark("short", text))
    return found


def figures_of(utterance: Utterance, kind: ProfileKind) -> dict[str, Any]:
    """What was measured of an utterance, under its JSON names."""
    by_phrase = kind is ProfileKind.PHRASE
    return {
        **utterance.quality.as_dict(),
        "syllables": count_syllables(utterance.samples) if by_phrase else None,
        "cut_off": cut_at(utterance) if by_phrase else None,
    }
