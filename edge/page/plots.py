"""Drawings of scores against their limits, as SVG that the style sheet colors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from edge.page import words

_FURTHEST = 10.0
"""Margins beyond this are drawn at the border; natural logarithms."""
_BARS, _BAR_HEIGHT, _LABEL, _FIGURE = 350, 20, 84, 40
"""The bars' width, the height of each, and the room for its name and its figure."""
_WIDTH, _HEIGHT, _EDGE = 720, 240, 56


@dataclass(frozen=True)
class Point:
    """A decision in the chart: its time, the lower of its margins, and whether it opened."""

    at: float
    margin: float
    granted: bool


def bars(margins: Sequence[tuple[str, float]]) -> Markup:
    """How far scores are above or below their limits, which are the line in the middle."""
    room = _BARS - _LABEL - _FIGURE
    middle = _LABEL + room / 2
    unit = room / 2 / _FURTHEST
    height = _BAR_HEIGHT * len(margins) + 4
    told = ", ".join(f"{name} {words.figure(margin)}" for name, margin in margins)
    parts = [_head("bars", _BARS, height, f"Above or below the limit: {told}")]
    for row, (name, margin) in enumerate(margins):
        top = 2 + row * _BAR_HEIGHT
        length = min(abs(margin), _FURTHEST) * unit
        left = middle if margin >= 0.0 else middle - length
        side = "above" if margin >= 0.0 else "below"
        parts += [
            Markup('<text x="0" y="{}">{}</text>').format(top + 13, name),
            Markup('<rect class="band" x="{}" y="{}" width="{}" height="10"/>').format(
                _LABEL, top + 4, room
            ),
            Markup('<rect class="{}" x="{:.1f}" y="{}" width="{:.1f}" height="10"/>').format(
                side, left, top + 4, max(length, 1.0)
            ),
            Markup('<text x="{}" y="{}" text-anchor="end">{}</text>').format(
                _BARS, top + 13, words.figure(margin)
            ),
        ]
    parts.append(_line("limit", middle, 0, middle, height))
    return Markup("").join([*parts, Markup("</svg>")])


def chart(points: Sequence[Point]) -> Markup:
    """Decisions over time, oldest at the left; what is above the line was near enough."""
    first, last = min(each.at for each in points), max(each.at for each in points)
    span = max(last - first, 1.0)
    low = _EDGE / 2
    unit = (_HEIGHT - _EDGE - low) / (2 * _FURTHEST)
    middle = low + _FURTHEST * unit
    granted = sum(each.granted for each in points)
    parts = [
        _head(
            "chart",
            _WIDTH,
            _HEIGHT,
            f"{len(points)} decisions from {words.moment(first)} to {words.moment(last)}:"
            f" {granted} let in, {len(points) - granted} not",
        ),
        *(
            _line("axis", _EDGE, middle - margin * unit, _WIDTH - 8, middle - margin * unit)
            for margin in (_FURTHEST, _FURTHEST / 2, -_FURTHEST / 2, -_FURTHEST)
        ),
        *(
            Markup('<text x="0" y="{:.1f}">{}</text>').format(
                middle - margin * unit + 4, words.figure(margin, 0) if margin else "limit"
            )
            for margin in (_FURTHEST, 0.0, -_FURTHEST)
        ),
        _line("limit", _EDGE, middle, _WIDTH - 8, middle),
    ]
    for each in points:
        x = _EDGE + 8 + (each.at - first) / span * (_WIDTH - _EDGE - 24)
        y = middle - max(-_FURTHEST, min(_FURTHEST, each.margin)) * unit
        parts.append(_mark(x, y, each))
    foot = _HEIGHT - 4
    parts += [
        Markup('<text x="{}" y="{}">{}</text>').format(_EDGE, foot, words.moment(first)[:16]),
        Markup('<text x="{}" y="{}" text-anchor="end">{}</text>').format(
            _WIDTH - 8, foot, words.moment(last)[:16]
        ),
        Markup("</svg>"),
    ]
    return Markup("").join(parts)


def _mark(x: float, y: float, point: Point) -> Markup:
    """A dot for who was let in; a cross for who was not, in its own color above the line."""
    if point.granted:
        return Markup('<circle class="above" cx="{:.1f}" cy="{:.1f}" r="4.5"/>').format(x, y)
    style = "other" if point.margin >= 0.0 else "below"
    path = f"M{x - 4:.1f} {y - 4:.1f}l8 8m0 -8l-8 8"
    return Markup('<path class="{} cross" d="{}"/>').format(style, path)


def _head(style: str, width: int, height: int, told: str) -> Markup:
    return Markup(
        '<svg class="plot {}" viewBox="0 0 {} {}" role="img" aria-label="{}"'
        ' xmlns="http://www.w3.org/2000/svg">'
    ).format(style, width, height, told)


def _line(style: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    return Markup('<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>').format(
        style, x1, y1, x2, y2
    )
