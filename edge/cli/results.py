"""Scores in words, for the commands that judge an utterance."""

from __future__ import annotations

from edge.types import PhraseMatch, Quality, SpeakerMatch


def speaker_line(match: SpeakerMatch) -> str:
    """How near the voice came."""
    verdict = "ok" if match.accepted else "too far"
    return (
        f"score {match.score:.1f}, at least {match.threshold:.1f}: {verdict}"
        f" (similarity {match.similarity:.2f})"
    )


def phrase_line(match: PhraseMatch) -> str:
    """How near the phrase came."""
    verdict = "ok" if match.accepted else "too far"
    return (
        f"score {match.score:.1f}, at least {match.threshold:.1f}: {verdict}"
        f" (distance {match.distance:.2f})"
    )


def quality_line(quality: Quality) -> str:
    """What the recording was worth."""
    return (
        f"{quality.net_speech_s:.1f} s of speech at {quality.level_dbfs:.0f} dB,"
        f" {quality.snr_db:.0f} dB above the noise"
    )
