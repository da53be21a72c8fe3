"""The monitor's end of the socket, which outlives a restart of the service, and what came in.

Messages come from another process: unexpected values count as absent, and text is made safe for a
terminal.
"""

from __future__ import annotations

import contextlib
import math
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from edge.config import Config
from edge.errors import EnvironmentFault
from edge.monitor.messages import (
    LEVELS_S,
    LONGEST_LINE,
    PROTOCOL,
    SOCKET_NAME,
    SYSTEM_SOCKET,
    Message,
    decode,
)

SILENCE_DBFS = -100.0
_MOST_ROWS = 200
_LONGEST_TEXT = 200
_AGAIN_S = 0.5
_CONNECT_S = 2.0


class NoService(EnvironmentFault):
    """No service can be watched."""


def candidates(config: Config) -> list[Path]:
    """Where a service may be found, the most likely path first."""
    if config.monitor.socket is not None:
        return [config.monitor.socket]
    return [config.state_path / SOCKET_NAME, SYSTEM_SOCKET]


def connect(paths: Sequence[Path]) -> socket.socket:
    """Connect to the first service that answers.

    Raises:
        NoService: none does, or this user may not connect.
    """
    forbidden: Path | None = None
    for path in paths:
        line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        line.settimeout(_CONNECT_S)
        try:
            line.connect(str(path))
        except PermissionError:
            forbidden = forbidden or path
        except OSError:  # missing, left behind, or too long
            pass
        else:
            line.setblocking(False)
            return line
        line.close()
    if forbidden is not None:
        raise NoService(
            f"{forbidden}: only for root, the service's user and its group; use sudo, or join the"
            " group with 'sudo usermod -aG edge-voice $USER' and log in again"
        )
    raise NoService(
        "no service is running: start one ('systemctl start edge-voice' or 'edge-voice run'), or"
        " listen right here with 'edge-voice monitor --listen'"
    )


class Stream:
    """Messages from an open connection; where it breaks, `again` makes another one (None: ends).

    Attributes:
        ended: whether nothing more will come.
    """

    def __init__(
        self, line: socket.socket, again: Callable[[], socket.socket] | None = None
    ) -> None:
        self.ended = False
        self._line: socket.socket | None = line
        self._again = again
        self._try_at = 0.0
        self._rest = b""
        self._greeted = False

    def close(self) -> None:
        """Disconnect."""
        if self._line is not None:
            self._line.close()
            self._line = None

    def wait(self, timeout_s: float, also: Sequence[int] = ()) -> list[Message]:
        """The messages that come within a time; returns as soon as there are any.

        A broken connection gives one message of the type `gone`; then it reconnects. The file
        descriptors in `also` end the wait too, once they can be read.

        Raises:
            NoService: the service refused the connection.
        """
        if self._line is None and not self.ended and time.monotonic() >= self._try_at:
            self._reconnect()
        line = self._line
        watched = list(also) if line is None else [*also, line.fileno()]
        ready, _, _ = select.select(watched, [], [], timeout_s)
        if line is None or line.fileno() not in ready:
            return []
        return self._read(line)

    def _reconnect(self) -> None:
        self._try_at = time.monotonic() + _AGAIN_S
        if self._again is not None:
            with contextlib.suppress(NoService):
                self._line = self._again()

    def _read(self, line: socket.socket) -> list[Message]:
        try:
            data = line.recv(LONGEST_LINE)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        *lines, self._rest = (self._rest + data).split(b"\n")
        messages = [message for message in map(decode, lines) if message is not None]
        for message in messages:
            if message["type"] == "refused" and not self._greeted:
                raise NoService(f"the service refused: {message.get('reason')}")
        self._greeted = self._greeted or bool(messages)
        if data and len(self._rest) <= LONGEST_LINE:
            return messages
        line.close()
        self._line, self._rest = None, b""
        self._try_at = time.monotonic() + _AGAIN_S
        if self._again is None:
            self.ended = True
            return messages
        return [*(m for m in messages if m["type"] != "refused"), {"type": "gone"}]


@dataclass(frozen=True)
class Row:
    """An utterance and its decision; empty or None is what is not known.

    Attributes:
        at: Unix time at which the speech ended.
        joint: margin of the joint score over its threshold; so are `voice` and `phrase`.
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
    """What is to be shown of a device.

    Attributes:
        newer: whether it speaks a newer protocol than this.
        further: names of microphones of the same service that are not shown.
        state: what it does; `gone` while it cannot be reached, empty before the first message.
        fields: about the state: enrolled, until, detail, person...
        hearing: whether somebody is speaking.
        since: Unix time at which the service was started; `granted` and `denied` count from then.
    """

    def __init__(self) -> None:
        self.device = self.name = self.version = ""
        self.newer = False
        self.further = ""
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
        """The utterances, the latest first."""
        return sorted(self._rows.values(), key=lambda row: row.at, reverse=True)

    def row(self, message: Mapping[str, Any]) -> Row:
        """The utterance that a message is about.

        Raises:
            KeyError: it is not known.
        """
        return self._rows[_text(message, "id")]

    def loudest(self, columns: int, now: float) -> list[float | None]:
        """The loudest level, dB, in each column of a chart of the last `LEVELS_S` up to now.

        None where there is no level.
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
        """The column that a Unix time is in; None if it is earlier than the chart."""
        age = min(max(now - at, 0.0), LEVELS_S)
        if age >= LEVELS_S:
            return None
        return columns - 1 - int(age * columns / LEVELS_S)

    def add(self, message: Mapping[str, Any]) -> None:
        """Take in a message; unknown kinds are ignored."""
        handler = getattr(self, f"_on_{message['type']}", None)
        if handler is not None:
            handler(message)

    def _on_hello(self, message: Mapping[str, Any]) -> None:
        self.device, self.name = _text(message, "device"), _text(message, "name")
        self.version = _text(message, "version")
        self.newer = (_number(message, "protocol") or 0) > PROTOCOL
        further = message.get("further")
        names = (
            [each for each in further if isinstance(each, str)] if isinstance(further, list) else []
        )
        self.further = _printable(", ".join(names))
        self.since = _time(message, "since")
        self.granted = int(_number(message, "granted") or 0)
        self.denied = int(_number(message, "denied") or 0)
        self.state, self.fields = "starting", {}
        given = message.get("levels_dbfs")
        now = int(time.time())
        levels = given[-LEVELS_S:] if isinstance(given, list) else []
        # After a lost connection most of them are known.
        known = self._levels[-1][0] if self._levels else 0
        for second, level in enumerate(levels, start=now - len(levels) + 1):
            if second > known and isinstance(level, (int, float)) and math.isfinite(level):
                self._add_level(second, float(level))

    def _on_gone(self, _: Mapping[str, Any]) -> None:
        self.state, self.fields = "gone", {}
        self.level_dbfs, self.hearing = SILENCE_DBFS, False

    def _on_state(self, message: Mapping[str, Any]) -> None:
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

    def _on_level(self, message: Mapping[str, Any]) -> None:
        level = _number(message, "level_dbfs")
        if level is not None:
            self.level_dbfs = level
            self.hearing = message.get("hearing") is True
            self._add_level(int(time.time()), level)

    def _on_utterance(self, message: Mapping[str, Any]) -> None:
        self._change(
            message,
            utterance_s=_number(message, "utterance_s"),
            level_dbfs=_number(message, "level_dbfs"),
            snr_db=_number(message, "snr_db"),
        )

    def _on_decision(self, message: Mapping[str, Any]) -> None:
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
    return _printable(value) if isinstance(value, str) else ""


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else "?" for each in text[:_LONGEST_TEXT])


def _number(message: Mapping[str, Any], key: str) -> float | None:
    value = message.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) > 1e9:
        return None
    return float(value) if math.isfinite(value) else None


def _time(message: Mapping[str, Any], key: str) -> float:
    """A time in a message; now if there is none."""
    try:
        return datetime.fromisoformat(_text(message, key).replace("Z", "+00:00")).timestamp()
    except (ValueError, OverflowError, OSError):
        return time.time()
