"""Draws a screen as a self-contained SVG: no font, script or picture from elsewhere."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

from rich.console import Console
from rich.terminal_theme import DEFAULT_TERMINAL_THEME, SVG_EXPORT_THEME
from rich.text import Text

THEMES = {"dark": SVG_EXPORT_THEME, "light": DEFAULT_TERMINAL_THEME}
_FONTS = "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace"


def svg_of(lines: Sequence[Text], columns: int, title: str, theme: str) -> str:
    """A picture of a terminal.

    Args:
        lines: its content.
        columns: its width.
        title: the command, shown above it.
        theme: one of `THEMES`.
    """
    console = Console(
        record=True,
        width=columns,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
    )
    for line in [*lines, Text()]:  # the drawing ends a little above the end of the last line
        console.print(line, no_wrap=True, overflow="crop", crop=True)
    drawn = console.export_svg(title=title, theme=THEMES[theme], unique_id="terminal")
    return alone(drawn)


def alone(svg: str) -> str:
    """The picture without the fonts that rich loads from the network, and a little smaller."""
    svg = re.sub(r"\s*@font-face\s*\{.*?\}", "", svg, flags=re.DOTALL)
    svg = re.sub(r"\s*<!--.*?-->", "", svg, flags=re.DOTALL)
    for before, after in (
        ("Fira Code, monospace", _FONTS),
        ("font-family: arial;", "font-family: sans-serif;"),
        # A white border around a white terminal is invisible.
        ("rgba(255,255,255,0.35)", "rgba(128,128,128,0.5)"),
    ):
        svg = svg.replace(before, after)
    return re.sub(r"\n\s+", "\n", svg).strip() + "\n"


def strangers(svg: str, private: Sequence[str]) -> list[str]:
    """Forbidden content of a picture: addresses to load from, and private words.

    Args:
        svg: the picture.
        private: names and paths of this machine.
    """
    # The name of the format itself is an address from which nothing is loaded.
    plain = svg.replace("http://www.w3.org/2000/svg", "").replace("&#160;", " ")
    found = re.findall(r"(?:https?:|//|@import|url\((?!#))[^\s\"')]*", plain)
    return [*found, *(word for word in private if word and word in plain)]
