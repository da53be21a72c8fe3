"""Names and phrases in writing: what is allowed, and when two names are the same."""

from __future__ import annotations

import difflib
import unicodedata
import uuid
from collections.abc import Iterable

from edge.errors import ProfileError

MAX_NAME_LENGTH = 64
MAX_PHRASE_LENGTH = 200

# Persian and several Indic scripts need these two inside a word; they print as nothing.
_JOINERS = "\u200c\u200d"


def clean_name(name: str) -> str:
    """The name as it is kept: composed (NFC), stripped, single spaces.

    Raises:
        ProfileError: it is empty, longer than 64 characters, does not print, or looks like an id.
    """
    text = _clean(name, "a name", MAX_NAME_LENGTH)
    if not name_key(text):
        raise ProfileError("a name must have at least one character that prints")
    try:
        uuid.UUID(text)
    except ValueError:
        return text
    raise ProfileError(f"a name must not look like a profile's id: {text}")


def clean_phrase(phrase: str) -> str:
    """The phrase as it is kept. Raises `ProfileError` above 200 characters, or unprintable ones."""
    return _clean(phrase, "a phrase in writing", MAX_PHRASE_LENGTH)


def name_key(name: str) -> str:
    """What two names are compared by: without regard to case, width or invisible joiners."""
    text = unicodedata.normalize("NFKC", name).translate(dict.fromkeys(map(ord, _JOINERS)))
    return " ".join(unicodedata.normalize("NFKC", text.casefold()).split())


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint to append to "no such profile": the nearest names, or what there is."""
    by_key = {name_key(each): each for each in known}
    if not by_key:
        return "nobody is enrolled yet"
    near = difflib.get_close_matches(name_key(name), by_key, n=3, cutoff=0.6)
    if near:
        return "did you mean " + " or ".join(by_key[key] for key in near) + "?"
    return "'edge-voice profiles list' shows who there is"


def _clean(given: str, what: str, longest: int) -> str:
    text = unicodedata.normalize("NFC", given).strip()
    # Length first: the message below would otherwise repeat a megabyte of garbage.
    if len(text) > longest:
        raise ProfileError(f"{what} may be {longest} characters long at most, not {len(text)}")
    for character in text:
        if not character.isprintable() and character not in _JOINERS:
            raise ProfileError(
                f"{what} may hold only characters that print, not U+{ord(character):04X}"
            )
    return " ".join(text.split())
