"""Looking for secrets in what a program said, in whatever writing."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

import numpy as np

PREFIX = 8
"""Bytes of a key that are looked for: whoever prints a key's beginning prints too much."""
_FEW, _MANY = 2, 6
_NUMBER = re.compile(rb"[-+]?[0-9]*\.[0-9]+(?:[eE][-+]?[0-9]+)?")

Array = np.ndarray[Any, Any]


def writings(secret: bytes) -> Iterable[bytes]:
    """Every way that some bytes are commonly written in."""
    yield secret
    digits = secret.hex()
    for sign in ("", ":", " ", "-"):
        spaced = sign.join(digits[place : place + 2] for place in range(0, len(digits), 2))
        yield from (spaced.encode(), spaced.upper().encode())
    for shift in range(3):  # wherever it lies in what was encoded
        for alphabet in (base64.b64encode, base64.urlsafe_b64encode):
            encoded = alphabet(bytes(shift) + secret)
            yield encoded[(shift * 8 + 5) // 6 : (shift + len(secret)) * 8 // 6]
    yield base64.b32encode(secret)[: len(secret) * 8 // 5]
    for sign in (", ", ",", " "):
        yield sign.join(map(str, secret)).encode()
    yield str(int.from_bytes(secret, "big")).encode()
    yield str(int.from_bytes(secret, "little")).encode()
    yield repr(secret)[2:-1].encode()
    yield "".join(f"\\x{each:02x}" for each in secret).encode()
    yield quote(secret).encode()


def leaks(said: bytes, secrets: Mapping[str, bytes]) -> list[str]:
    """Names of the secrets whose beginning, or all of which, is in what was said."""
    return [
        name
        for name, secret in secrets.items()
        if any(form in said for form in (*writings(secret[:PREFIX]), *writings(secret)))
    ]


def figures(said: bytes, values: Array) -> list[str]:
    """Runs of figures in what was said that are runs of `values`, as far as they were written out.

    Two in a row with six decimals or more, or six in a row with three or more; such runs do not
    come about by chance.
    """
    texts = [each.group() for each in _NUMBER.finditer(said)]
    wholes = [text.lower().partition(b"e") for text in texts]
    decimals = np.array([len(whole.partition(b".")[2]) for whole, _, _ in wholes], int)
    powers = np.array([int(power or 0) for _, _, power in wholes], float)
    numbers = np.array([float(text) for text in texts])
    tolerance = 0.51 * 10.0 ** (powers - decimals) + 1e-9
    found = []
    seen: set[tuple[bytes, ...]] = set()
    for start in range(len(texts) - _FEW + 1):
        length = _FEW if (decimals[start : start + _FEW] >= 6).all() else _MANY
        run = tuple(texts[start : start + length])
        if len(run) < length or run in seen or (decimals[start : start + length] < 3).any():
            continue
        seen.add(run)
        if not numbers[start : start + length].any():
            continue
        near = np.ones(len(values) - length + 1, bool)
        for step in range(length):
            place = values[step : step + len(near)]
            near &= np.abs(place - numbers[start + step]) <= tolerance[start + step]
            if not near.any():
                break
        else:
            found.append(b" ".join(run).decode())
    return found


def pieces(array: Array, count: int = 4) -> dict[str, bytes]:
    """Pieces of an array's bytes from where there is something in it, in the usual types."""
    loud = np.flatnonzero(np.abs(array[:-8]) > np.abs(array).mean())
    chosen = loud[np.linspace(0, len(loud) - 1, count).astype(int)]
    return {
        f"{kind} at {place}": array[place : place + 8].astype(kind).tobytes()
        for kind in ("<f4", "<f8")
        for place in chosen
    }


def sound_pieces(samples: Array, count: int = 4) -> dict[str, bytes]:
    """The same of sound, as 16-bit samples, and those written out as numbers."""
    wide = np.clip(samples * 32767, -32768, 32767).astype("<i2")
    loud = np.flatnonzero(np.abs(wide[:-8]) > np.abs(wide).mean())
    chosen = loud[np.linspace(0, len(loud) - 1, count).astype(int)]
    found = {}
    for place in chosen:
        piece = wide[place : place + 8]
        found[f"<i2 at {place}"] = piece.tobytes()
        for number, sign in enumerate((", ", ",", " ")):
            found[f"numbers at {place}, {number}"] = sign.join(map(str, piece)).encode()
    return found
