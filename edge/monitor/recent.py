"""What has been told lately, put in order for whoever draws it.

It comes from another process: whatever is no such figure or word as expected counts as absent, and
text is made harmless for a terminal.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from edge.monitor.messages import PROTOCOL, Message
from edge.monitor.server import LEVELS_S

SILENCE_DBFS = -100.0
_MOST_ROWS = 200
_LONGEST_TEXT = 200


@dataclass(frozen=True)
class Row:
    """An utterance and what came of it.

    Attributes:
        at: Unix time at which the speech ended.
        outcome: granted or denied; empty while nothing is known.
        reason: why.
        confidence: how sure; empty while nothing is known.
        name: whose voice it was taken for; empty when nobody's.
        utterance_s: how long it was; None where nothing was said.
        level_dbfs: its level, dB relative to full scale.
        snr_db: speech over noise, dB.
        joint: margin of the joint score over its threshold; None where nothing was compared.
        voice: margin of the voice.
        phrase: margin of the phrase.
        took_ms: from the end of the speech to the decision.
    """

    at: float
    outcome: str = ""
    reason: str = ""
    confidence: str = ""
    name: str = ""
    utterance_s: float | None = None
    level_dbfs: float | None = None
    snr_db: float | None = None
    joint: float | None = None
    voice: float | None = None
    phrase: float | None = None
    took_ms: float | None = None

    @property
    def granted(self) -> bool:
        """Whether the door opened."""
        return self.outcome == "granted"


class Recent:
    """Takes messages, and knows what is to be shown.

    Attributes:
        device: id of the device that is watched.
        name: its name for people.
        version: of its software.
        newer: whether it speaks a newer protocol than this.
        state: what it is at; `gone` while it cannot be reached, empty before it was.
        fields: what is known beside the state: enrolled, until, detail, person...
        level_dbfs: how loud it is now.
        hearing: whether an utterance is being heard.
        granted: how often the door opened since the device was started.
        denied: how often it did not.
        since: Unix time from when on it is counted.
    """

    def __init__(self) -> None:
        self.device = self.name = self.version = ""
        self.newer = False
        self.state = ""
        self.fields: Message = {}
        self.level_dbfs = SILENCE_DBFS
        self.hearing = False
        self.granted = self.denied = 0
        self.since = time.time()
        self._rows: dict[str, Row] = {}
        self._levels: deque[tuple[int, float]] = deque(maxlen=LEVELS_S)

    @property
    def rows(self) -> list[Row]:
        """What was heard, the latest first."""
        return sorted(self._rows.values(), key=lambda row: row.at, reverse=True)

    def row(self, message: Mapping[str, Any]) -> Row:
        """What is known of the utterance that a message was about.

        Raises:
            KeyError: nothing is.
        """
        return self._rows[_text(message, "id")]

    def loudest(self, columns: int, now: float) -> list[float | None]:
        """The loudest level in each of so many equal parts of the last `LEVELS_S`, dB.

        None where nothing was heard. The last part ends now (a Unix time).
        """
        parts: list[float | None] = [None] * columns
        for second, level in self._levels:
            column = self.column(second, columns, now)
            if column is not None:
                known = parts[column]
                parts[column] = level if known is None else max(known, level)
        return parts

    @staticmethod
    def column(at: float, columns: int, now: float) -> int | None:
        """Which of so many equal parts of the last `LEVELS_S` a Unix time is in; None: before."""
        age = min(max(now - at, 0.0), LEVELS_S)
        if age >= LEVELS_S:
            return None
        return columns - 1 - int(age * columns / LEVELS_S)

    def take(self, message: Mapping[str, Any]) -> None:
        """Take in a message; of a kind that is not known, nothing."""
        taker = getattr(self, f"_take_{message['type']}", None)
        if taker is not None:
            taker(message)

    def _take_hello(self, message: Mapping[str, Any]) -> None:
        self.device, self.name = _text(message, "device"), _text(message, "name")
        self.version = _text(message, "version")
        self.newer = (_number(message, "protocol") or 0) > PROTOCOL
        self.since = _time(message, "since")
        self.granted = int(_number(message, "granted") or 0)
        self.denied = int(_number(message, "denied") or 0)
        self.state, self.fields = "starting", {}
        given = message.get("levels_dbfs")
        now = int(time.time())
        levels = given[-LEVELS_S:] if isinstance(given, list) else []
        for second, level in enumerate(levels, start=now - len(levels) + 1):
            if isinstance(level, (int, float)) and math.isfinite(level):
                self._add_level(second, float(level))

    def _take_gone(self, _: Mapping[str, Any]) -> None:
        self.state, self.fields = "gone", {}
        self.level_dbfs, self.hearing = SILENCE_DBFS, False

    def _take_state(self, message: Mapping[str, Any]) -> None:
        self.state = _text(message, "state")
        self.fields = {
            **{
                key: _text(message, key)
                for key in ("detail", "problem", "person")
                if key in message
            },
            **{key: _number(message, key) for key in ("enrolled", "done", "required")},
            "until": _time(message, "until") if "until" in message else None,
        }

    def _take_level(self, message: Mapping[str, Any]) -> None:
        level = _number(message, "level_dbfs")
        if level is not None:
            self.level_dbfs = level
            self.hearing = message.get("hearing") is True
            self._add_level(int(time.time()), level)

    def _take_utterance(self, message: Mapping[str, Any]) -> None:
        self._change(
            message,
            utterance_s=_number(message, "utterance_s"),
            level_dbfs=_number(message, "level_dbfs"),
            snr_db=_number(message, "snr_db"),
        )

    def _take_decision(self, message: Mapping[str, Any]) -> None:
        known = self._rows.get(_text(message, "id"))
        if message.get("past") is not True and (known is None or not known.outcome):
            if message.get("decision") == "granted":
                self.granted += 1
            else:
                self.denied += 1
        self._change(
            message,
            outcome=_text(message, "decision"),
            reason=_text(message, "reason"),
            confidence=_text(message, "confidence"),
            name=_text(message, "name"),
            joint=_number(message, "joint_margin"),
            voice=_number(message, "voice_margin"),
            phrase=_number(message, "phrase_margin"),
            took_ms=_number(message, "took_ms"),
        )

    def _change(self, message: Mapping[str, Any], **fields: Any) -> None:
        key = _text(message, "id")
        row = self._rows.get(key) or Row(_time(message, "time"))
        self._rows[key] = replace(row, **fields)
        while len(self._rows) > _MOST_ROWS:
            del self._rows[next(iter(self._rows))]

    def _add_level(self, second: int, level: float) -> None:
        if self._levels and self._levels[-1][0] >= second:
            second, known = self._levels.pop()
            level = max(level, known)
        self._levels.append((second, level))


def _text(message: Mapping[str, Any], key: str) -> str:
    value = message.get(key)
    if not isinstance(value, str):
        return ""
    return "".join(each if each.isprintable() else "?" for each in value[:_LONGEST_TEXT])


def _number(message: Mapping[str, Any], key: str) -> float | None:
    value = message.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) > 1e9:
        return None
    return float(value) if math.isfinite(value) else None


def _time(message: Mapping[str, Any], key: str) -> float:
    """A time of the message, or now."""
    try:
        return datetime.fromisoformat(_text(message, key).replace("Z", "+00:00")).timestamp()
    except (ValueError, OverflowError, OSError):
        return time.time()
