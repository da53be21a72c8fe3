"""Formatting of the reference pages."""

from __future__ import annotations

import re
from collections.abc import Sequence

MADE = "<!-- Made from {what} by: python -m tools.make_docs -->\n\n"

_UNITS = {"s": "seconds", "dB full scale": "dB relative to full scale"}


def unit(name: str) -> str:
    """A unit in words."""
    return _UNITS.get(name, name)


def sentence(text: str) -> str:
    """A text with a capital and a period; code stays as it is."""
    text = text.strip()
    if text and text[-1] not in ".:?":
        text += "."
    return text[:1].upper() + text[1:] if not text.startswith("`") else text


def cell(text: str) -> str:
    """A text escaped for a table cell."""
    return " ".join(text.split()).replace("|", "\\|")


def anchor(heading: str) -> str:
    """The anchor of a heading, on GitHub and in the site."""
    return re.sub(r"[^\w\s-]", "", heading).strip().lower().replace(" ", "-")


def prose(text: str) -> str:
    """A text of the program in Markdown; elements and options become code."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else _marked(part) for part in parts)


def _marked(text: str) -> str:
    text = re.sub(r"(?<![\w`/])(--[a-z][a-z-]*|[~$]?/?[\w~.$-]*/[\w./~$+-]*\w)", r"`\1`", text)
    return re.sub(r"([<>*])", r"\\\1", text)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; missing cells are empty."""
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    lines += ["| " + " | ".join(cell(text) for text in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"
