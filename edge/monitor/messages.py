"""What is told to whoever watches: one JSON object a line, its kind under `type`.

Nothing in it is secret: no sound, no embedding, not even the phrase in writing. What is said of a
decision is taken from the decision as it was published, after every check: a lock-out keeps to
itself here too what was recognized, and a silent alarm stays silent.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from edge.types import AudioBlock
from edge.types.decision import utc

if TYPE_CHECKING:
    from edge.access.decider import Judgment
    from edge.types import AccessDecision

PROTOCOL = 1
"""Grows when a message changes so that an older `edge-voice monitor` would misread it."""

LONGEST_LINE = 64 * 1024
"""Bytes that a message may have; a longer one is none of ours."""

Message = dict[str, Any]


def level_message(level_dbfs: float, peak_dbfs: float, *, hearing: bool) -> Message:
    """How loud it is.

    Args:
        level_dbfs: loudest block since the last such message, dB relative to full scale.
        peak_dbfs: highest sample of that time, dB relative to full scale.
        hearing: whether an utterance is being heard.
    """
    return {
        "type": "level",
        "time": utc(time.time()),
        "level_dbfs": round(level_dbfs, 1),
        "peak_dbfs": round(peak_dbfs, 1),
        "hearing": hearing,
    }


def state_message(state: str, **fields: Any) -> Message:
    """What the device is at: `state` is one of those in docs/monitor.md; None fields are left out.

    Without a time: the same state makes the same message, so that only changes need telling.
    """
    return {"type": "state", "state": state, **{k: v for k, v in fields.items() if v is not None}}


def utterance_message(judgment: Judgment) -> Message | None:
    """What was heard; None where nothing was, as when an answer did not come in time."""
    decision = judgment.decision
    if len(judgment.utterance.samples) == 0 or decision.quality is None:
        return None
    return {
        "type": "utterance",
        "id": decision.id,
        "time": utc(decision.time),
        "utterance_s": round(decision.utterance_s, 2),
        **decision.quality.as_dict(),
    }


def decision_message(decision: AccessDecision) -> Message:
    """What came of it; margins are over the threshold, and absent where nothing was compared."""
    scores, timings = decision.scores, decision.timings_ms
    message: Message = {
        "type": "decision",
        "id": decision.id,
        "time": utc(decision.time),
        "decision": decision.outcome.value,
        "reason": decision.reason.value,
        "confidence": decision.confidence.value,
        "name": decision.name,
        "took_ms": round(timings.get("endpoint", 0.0) + timings.get("decide", 0.0), 1),
    }
    for part in ("joint", "voice", "phrase"):
        if part in scores and f"{part}_threshold" in scores:
            message[f"{part}_margin"] = round(scores[part] - scores[f"{part}_threshold"], 2)
    return message


def encode(message: Mapping[str, Any]) -> bytes:
    """A message as a line."""
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> Message | None:
    """A line as a message; None where it is none."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        return None
    return message


SHOWN_EVERY_S = 0.1
KEPT_EVERY_S = 1.0
_LOWEST_DBFS = -100.0


class Levels:
    """Gathers blocks into one message now and then. Used from the thread that hears."""

    def __init__(self) -> None:
        self._loudest = _LOWEST_DBFS
        self._peak = 0.0
        self._due = 0.0

    def take(
        self, block: AudioBlock, level_dbfs: float, *, hearing: bool, watched: bool
    ) -> Message | None:
        """Take in a block.

        Args:
            block: what was heard.
            level_dbfs: its level.
            hearing: whether an utterance is being heard.
            watched: whether anybody looks; else a message is made once a second, to be kept.

        Returns:
            A message where one is due.
        """
        self._loudest = max(self._loudest, level_dbfs)
        if len(block.samples):
            self._peak = max(self._peak, float(np.abs(block.samples).max()))
        now = time.monotonic()
        if now < self._due:
            return None
        self._due = now + (SHOWN_EVERY_S if watched else KEPT_EVERY_S)
        peak_dbfs = 20.0 * float(np.log10(self._peak)) if self._peak > 1e-5 else _LOWEST_DBFS
        message = level_message(self._loudest, peak_dbfs, hearing=hearing)
        self._loudest, self._peak = _LOWEST_DBFS, 0.0
        return message
