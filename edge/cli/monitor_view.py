"""What `edge-voice monitor` shows, in 60 columns and not by color alone."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from edge.monitor.client import SILENCE_DBFS, Recent, Row
from edge.monitor.messages import LEVELS_S

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

_STATES = {
    "": ("waiting for the service", "yellow"),
    "gone": ("service stopped; waiting for its return", "bold yellow"),
    "starting": ("starting", "yellow"),
    "listening": ("listening", "green"),
    "off": ("not listening: disarmed", "bold yellow"),
    "locked_out": ("locked out", "bold red"),
    "asking": ("asking for digits", "bold cyan"),
    "enrolling": ("enrolling", "bold cyan"),
    "no_microphone": ("no microphone", "bold red"),
}
_FLOOR_DBFS = -70.0
_HOT_DBFS = -12.0
_CLIPPING_DBFS = -3.0
_LABEL = 7
"""Columns to the left of what follows the time."""
_FAR = 16.0
"""Margin at the edge of the chart, a natural logarithm; larger ones are drawn there."""
_WIDE, _USUAL = 100, 72
_TALL, _LOW = 32, 17
_GREEN, _RED = "green", "red"


def state_words(recent: Recent, now: float) -> tuple[str, str]:
    """What the device does, and the style of the words."""
    words, style = _STATES.get(recent.state, (recent.state, ""))
    fields = recent.fields
    if recent.state == "locked_out" and fields.get("until"):
        words += f" until {clock(fields['until'])} ({minutes(fields['until'] - now)} left)"
    if recent.state == "enrolling":
        words += f" {fields.get('person') or 'somebody'}"
        if fields.get("required"):
            words += f", {fields.get('done') or 0:.0f} of {fields['required']:.0f}"
    if recent.hearing and recent.state == "listening":
        return "hearing speech", "bold green"
    if recent.hearing and recent.state in {"asking", "enrolling", "locked_out"}:
        words += ", hearing speech"
    return words, style


def decision_words(row: Row, color: str) -> list[tuple[str, str]]:
    """A decision, in parts with their styles."""
    if not row.outcome:
        return [("...", "dim")]
    parts = [(row.outcome, f"bold {color}")]
    if row.reason != "recognized":
        parts.append((f" {row.reason}", ""))
    if row.name:
        parts.append((f" {row.name}" if row.granted else f" ({row.name})", ""))
    return parts


def sentence(row: Row) -> str:
    """An utterance and its decision, as one line."""
    parts = ["".join(words for words, _ in decision_words(row, ""))]
    parts[0] += f", {row.confidence} confidence" if row.confidence else ""
    if row.utterance_s is not None:
        parts.append(
            f"{row.utterance_s:.1f} s at {row.level_dbfs or 0:.0f} dB, SNR {row.snr_db or 0:.0f} dB"
        )
    if row.voice is not None and row.phrase is not None:
        parts.append(f"voice {margin(row.voice)}, phrase {margin(row.phrase)}")
    return f"{clock(row.at)}  {'; '.join(parts)}"


def counts(recent: Recent) -> str:
    """How often the door opened and did not, as one line."""
    return f"{recent.device}: {recent.granted} granted, {recent.denied} denied"


def elsewhere(recent: Recent) -> str:
    """Which microphones of the service are not shown, as one line."""
    return f"the main microphone alone; not shown: {recent.further}"


def clock(at: float) -> str:
    """A Unix time as local time."""
    return time.strftime("%H:%M:%S", time.localtime(at))


def minutes(seconds: float) -> str:
    """A duration for people."""
    seconds = max(0.0, seconds)
    if seconds < 100.0:
        return f"{seconds:.0f} s"
    if seconds < 6000.0:
        return f"{seconds / 60.0:.0f} min"
    return f"{seconds / 3600.0:.0f} h" if seconds < 172800.0 else f"{seconds / 86400.0:.0f} days"


def margin(value: float | None) -> str:
    """By how much a score is over its threshold, with its sign."""
    return "" if value is None else f"{value:+.1f}"


class Glyphs:
    """The characters to draw with."""

    def __init__(self, *, ascii_only: bool) -> None:
        self.full, self.empty = ("#", "-") if ascii_only else ("█", "░")
        self.bars = " .:-=+*#" if ascii_only else "▁▂▃▄▅▆▇█"
        self.granted, self.denied = ("o", "x") if ascii_only else ("●", "\u00d7")
        self.rule, self.axis = ("-", "|") if ascii_only else ("─", "│")
        self.lamp = "*" if ascii_only else "●"
        self.separator = "|" if ascii_only else "·"


def frame(recent: Recent, width: int, height: int, *, ascii_only: bool) -> RenderableType:
    """The whole view, for a terminal of so many columns and lines."""
    from rich.console import Group

    glyphs = Glyphs(ascii_only=ascii_only)
    now = time.time()
    rows = recent.rows
    each_side = 3 if height >= _TALL else 2 if height >= _LOW else 0
    head = [*_head(recent, width, now, glyphs), *_levels(recent, width, now, glyphs)]
    chart = _chart(rows, width, now, each_side, glyphs)
    foot = _foot(recent, width, now, glyphs)
    left = max(1, height - len(head) - len(chart) - 2 - 1)
    return Group(*head, *chart, *_table(rows[:left], width), foot)


def _head(recent: Recent, width: int, now: float, glyphs: Glyphs) -> list[Text]:
    words, style = state_words(recent, now)
    enrolled = recent.fields.get("enrolled")
    who = f"{enrolled:.0f} enrolled" if enrolled is not None else ""
    name = f" {glyphs.separator} {recent.name}" if recent.name else ""
    lamp = _text((f"{glyphs.lamp} ", style), (words, style))
    lines = [
        _apart(_text((f"{recent.device}{name}", "bold")), _text((clock(now), "dim")), width),
        _apart(lamp, _text((who, "dim")), width),
    ]
    lines += [
        _text((f"  {recent.fields[key]}", "yellow"))
        for key in ("detail", "problem")
        if recent.fields.get(key)
    ]
    if recent.further:
        lines.append(_text((f"  {elsewhere(recent)}", "dim")))
    if recent.newer:
        lines.append(_text(("  service newer than this program: update this program", "yellow")))
    return [*lines, _text()]


def _levels(recent: Recent, width: int, now: float, glyphs: Glyphs) -> list[Text]:
    columns = max(8, width - _LABEL - 1)
    cells = max(8, columns - 8)
    lit = round((1.0 - max(recent.level_dbfs, _FLOOR_DBFS) / _FLOOR_DBFS) * cells)
    at_dbfs = (_FLOOR_DBFS * (1.0 - (cell + 0.5) / cells) for cell in range(lit))
    shown = f"{recent.level_dbfs:.0f} dB" if recent.level_dbfs > SILENCE_DBFS else "-"
    meter = _text(
        ("Level".ljust(_LABEL), ""),
        *_runs((glyphs.full, _color(level)) for level in at_dbfs),
        (glyphs.empty * (cells - lit), "dim"),
        (shown.rjust(8), ""),
    )
    strip = _text(
        (minutes(LEVELS_S).ljust(_LABEL), ""),
        *_runs(_bar(level, glyphs) for level in recent.loudest(columns, now)),
    )
    return [meter, strip, _text()]


def _bar(level: float | None, glyphs: Glyphs) -> tuple[str, str]:
    if level is None:
        return " ", ""
    share = 1.0 - min(max(level, _FLOOR_DBFS), 0.0) / _FLOOR_DBFS
    return glyphs.bars[min(len(glyphs.bars) - 1, int(share * len(glyphs.bars)))], _color(level)


def _chart(
    rows: Sequence[Row], width: int, now: float, each_side: int, glyphs: Glyphs
) -> list[Text]:
    """Joint scores against the threshold, over the time of the levels above."""
    columns = max(8, width - _LABEL - 1)
    cells: dict[tuple[int, int], Row] = {}
    for row in reversed(rows):  # the latest on top
        column = Recent.column(row.at, columns, now)
        if row.joint is not None and column is not None:
            cells[_line_of(row.joint, each_side), column] = row
    drawn = []
    for at in range(each_side, -each_side - 1, -1):
        empty = (glyphs.rule if at == 0 and each_side else " ", "dim")
        marks = (_mark(cells.get((at, column)), empty, glyphs) for column in range(columns))
        label = f"{_axis_label(at, each_side):>5} {glyphs.axis}" if each_side else "Scores"
        drawn.append(_text((label.ljust(_LABEL), ""), *_runs(marks)))
    if each_side == 0:
        return [*drawn, _text()]
    title = _apart(
        _text(("Score against threshold", "")),
        _text(
            (glyphs.granted, f"bold {_GREEN}"), (" granted  ", "dim"),
            (glyphs.denied, f"bold {_RED}"), (" denied", "dim"),
        ),
        width,
    )  # fmt: skip
    return [title, *drawn, _text()]


def _mark(row: Row | None, empty: tuple[str, str], glyphs: Glyphs) -> tuple[str, str]:
    if row is None:
        return empty
    glyph = glyphs.granted if row.granted else glyphs.denied
    return glyph, f"bold {_GREEN if row.granted else _RED}"


def _line_of(joint: float, each_side: int) -> int:
    """The chart's line for a margin: from 1 up above the threshold, from -1 down below it."""
    if each_side == 0:
        return 0
    away = min(each_side, 1 + int(abs(joint) * each_side / _FAR))
    return away if joint >= 0.0 else -away


def _axis_label(at: int, each_side: int) -> str:
    if at == 0:
        return "0"
    return f"{math.copysign(_FAR, at):+.0f}" if abs(at) == each_side else ""


def _table(rows: Sequence[Row], width: int) -> list[Text]:
    """Utterances, the latest first, in fixed columns, since rich's table is slow."""
    if not rows:
        return [_text(("No utterance yet.", "dim"))]
    wide, usual = width >= _WIDE, width >= _USUAL
    unit = " dB" if wide else ""
    columns = [
        ("Time", 8, True, False),
        ("Speech", 6, True, True),
        ("Level", 7 if wide else 5, usual, True),
        ("SNR", 6 if wide else 3, True, True),
        (" Decision", 0, True, False),
        ("Conf.", 6, usual, False),
        ("Voice", 5, True, True),
        ("Phrase", 7 if wide else 6, True, True),
        ("Both", 6, wide, True),
        ("Took", 7, wide, True),
    ]
    taken = sum(size + 1 for _, size, shown, _ in columns if shown)
    room = max(8, width - taken)

    def line(cells: Sequence[Text]) -> Text:
        whole = _text()
        for cell, (_, size, shown, right) in zip(cells, columns):
            if shown:
                cell.truncate(size or room, overflow="ellipsis")
                gap = " " * ((size or room) - cell.cell_len)
                whole.append(gap if right else "").append_text(cell)
                whole.append(" " if right else f"{gap} ")
        return whole

    drawn = [line([_text((title, "dim")) for title, *_ in columns])]
    for row in rows:
        color = _GREEN if row.granted else _RED
        drawn.append(
            line(
                [
                    _text((clock(row.at), "")),
                    _text((_figure(row.utterance_s, ".1f", " s"), "")),
                    _text((_figure(row.level_dbfs, ".0f", unit), "")),
                    _text((_figure(row.snr_db, ".0f", unit), "")),
                    _text((" ", ""), *decision_words(row, color)),
                    _text((row.confidence, "")),
                    _margin(row.voice),
                    _margin(row.phrase),
                    _margin(row.joint),
                    _text((_figure(row.took_ms, ".0f", " ms"), "")),
                ]
            )
        )
    return drawn


def _foot(recent: Recent, width: int, now: float, glyphs: Glyphs) -> Text:
    counts = _text(
        (f"{recent.granted} granted", _GREEN if recent.granted else ""),
        (f" {glyphs.separator} ", "dim"),
        (f"{recent.denied} denied", _RED if recent.denied else ""),
        (f" in {minutes(now - recent.since)}", "dim"),
    )
    return _apart(counts, _text(("q quits", "dim")), width)


def _margin(value: float | None) -> Text:
    style = "" if value is None else _GREEN if value >= 0.0 else _RED
    return _text((margin(value), style))


def _figure(value: float | None, spec: str, unit: str) -> str:
    return "" if value is None else f"{value:{spec}}{unit}"


def _color(dbfs: float) -> str:
    if dbfs >= _CLIPPING_DBFS:
        return _RED
    return "yellow" if dbfs >= _HOT_DBFS else _GREEN


def _runs(cells: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Join neighbors of one style: a line of few parts is drawn faster."""
    for style, run in itertools.groupby(cells, lambda cell: cell[1]):
        yield "".join(glyph for glyph, _ in run), style


def _text(*parts: tuple[str, str]) -> Text:
    from rich.text import Text

    text = Text(no_wrap=True, overflow="ellipsis")
    for words, style in parts:
        text.append(words, style=style)
    return text


def _apart(left: Text, right: Text, width: int) -> Text:
    """One line with a text at either end; the left one is cut where both do not fit."""
    room = width - 1 - right.cell_len
    left.truncate(max(0, room - 1), overflow="ellipsis", pad=False)
    left.append(" " * max(1, room - left.cell_len))
    left.append_text(right)
    return left
