"""The monitor's messages: one JSON object a line, its kind under `type`.

Nothing in them is secret: no sound, no embedding, no written phrase. A decision is shown as it was
published, after every check: during a lock-out it does not say who was recognized, and a silent
alarm stays silent.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.types.decision import utc

if TYPE_CHECKING:
    from edge.access.decider import Judgment

PROTOCOL = 1
"""Raised when an older `edge-voice monitor` would misread a message."""

LONGEST_LINE = 64 * 1024
"""Most bytes of a message."""

LEVELS_S = 300
"""Seconds whose level is kept, one figure each."""

SOCKET_NAME = "monitor.sock"
SYSTEM_SOCKET = Path("/run/edge-voice") / SOCKET_NAME
"""Where the socket is under systemd."""

Message = dict[str, Any]


def level_message(level_dbfs: float, peak_dbfs: float, *, hearing: bool) -> Message:
    """The sound level.

    Args:
        level_dbfs: of the loudest block since the last such message, dB relative to full scale.
        peak_dbfs: of the highest sample since then, dB relative to full scale.
        hearing: whether somebody is speaking.
    """
    return {
        "type": "level",
        "time": utc(time.time()),
        "level_dbfs": round(level_dbfs, 1),
        "peak_dbfs": round(peak_dbfs, 1),
        "hearing": hearing,
    }


def state_message(state: str, **fields: Any) -> Message:
    """What the device does: `state` is one of docs/monitor.md; fields that are None are left out.

    It has no time: the same state makes the same message, so that only changes are sent.
    """
    return {"type": "state", "state": state, **{k: v for k, v in fields.items() if v is not None}}


def enrollment_message(told: Mapping[str, Any]) -> Message:
    """A step of an enrollment, as over MQTT, of the room's noise before it or the trial after."""
    return {"type": "enrollment", "time": utc(time.time()), **told}


def judgment_messages(judgment: Judgment) -> list[Message]:
    """The utterance and the decision; margins are absent where nothing was compared.

    Without an utterance, as when a challenge was not answered in time, only the decision.
    """
    decision = judgment.decision
    timings = decision.timings_ms
    common = {"id": decision.id, "time": utc(decision.time)}
    decided: Message = {
        "type": "decision",
        **common,
        "decision": decision.outcome.value,
        "reason": decision.reason.value,
        "confidence": decision.confidence.value,
        "name": decision.name,
        "took_ms": round(timings.get("endpoint", 0.0) + timings.get("decide", 0.0), 1),
    }
    decided.update(
        {f"{part}_margin": round(margin, 2) for part, margin in decision.margins().items()}
    )
    if len(judgment.utterance.samples) == 0 or decision.quality is None:
        return [decided]
    utterance = {
        "type": "utterance",
        **common,
        "utterance_s": round(decision.utterance_s, 2),
        **decision.quality.as_dict(),
    }
    return [utterance, decided]


def encode(message: Mapping[str, Any]) -> bytes:
    """A message as a line."""
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> Message | None:
    """A line as a message; None if it is not one."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        return None
    return message
