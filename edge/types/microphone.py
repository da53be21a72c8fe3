"""Kinds of microphones, in words that are stored with a profile: no address, number or argument."""

from __future__ import annotations

import re
from collections.abc import Sequence

RECORDING = "recording"
"""A file, or sound that another program has sent: which microphone made it is not known."""
BROWSER = "browser"
SATELLITE = "Wyoming satellite"
MAX_KINDS = 8
"""Kinds that a profile remembers, the latest."""
MAX_KIND = 120
"""Characters of a kind."""

_CARD = re.compile(r"(\s*\(hw:\d+,\d+\)|\s*#\d+)+$")


def device_kind(name: str) -> str:
    """The kind of a sound card's microphone, without the numbers that depend on what is plugged."""
    return _bounded(f"microphone {_CARD.sub('', name)}")


def program_kind(program: str) -> str:
    """The kind of a program that is listened to, by its name alone."""
    return _bounded(f"program {program}")


def is_kind(value: object) -> bool:
    """Whether a value from elsewhere may be a kind."""
    return isinstance(value, str) and 0 < len(value) <= MAX_KIND and value.isprintable()


def with_kind(kinds: Sequence[str], kind: str) -> tuple[str, ...]:
    """The kinds and one more; an empty one is not known, and adds nothing."""
    if not kind or kind in kinds:
        return tuple(kinds)
    return (*kinds, kind)[-MAX_KINDS:]


def is_another(kinds: Sequence[str], kind: str) -> bool:
    """Whether a microphone is of another kind than all that a voice was enrolled with."""
    return bool(kind and kinds) and kind not in kinds and RECORDING not in kinds


def _bounded(kind: str) -> str:
    return "".join(sign if sign.isprintable() else "?" for sign in kind)[:MAX_KIND]
