"""The canonical form of messages for signing, and strict parsing of received ones.

The canonical form is that of RFC 8785 (JSON Canonicalization Scheme): UTF-8, no spaces, members
sorted by name, strings escaped only where JSON demands it, numbers as ECMAScript writes them. Only
those messages are signed, and accepted, on which every JSON library agrees without knowing the RFC:

- Names of members are printable ASCII, so that sorting by bytes, by code points and by UTF-16 units
  is the same.
- Integers are within +-(2^53 - 1), which a double holds exactly.
- Other numbers are 0.0001 to 10^15 in size. There the shortest digits that give the double back are
  what ECMAScript, Python, Go, Rust, Java and C++ (`std::to_chars`) write, without an exponent. A
  whole number is written without `.0`, and minus zero as 0.
- Text holds no half of a surrogate pair, and nothing is nested deeper than eight levels.

So `json.dumps(message, sort_keys=True, separators=(",", ":"), ensure_ascii=False)` in Python, or
`JSON.stringify` over sorted keys, gives the signed bytes of a message without its `signature`. Sent
numbers are written that way too: a receiver without floating point may copy each as it stands. 1,
1.0 and 1e0 are the same number, which a signature cannot and need not tell apart.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any, NoReturn

from edge.types.decision import one_line

MAX_DEPTH = 8
LARGEST_INTEGER = 2**53 - 1
LARGEST_NUMBER = 1e15
SMALLEST_NUMBER = 1e-4
_MAX_BRACKETS = 64
_MAX_DIGITS = 32


class MessageProblem(Exception):
    """A message cannot be read, or cannot be signed.

    Attributes:
        reason: why, in one word for programs: `too_large`, `not_json`, `not_an_object`,
            `duplicate_name`, `too_deep`, `bad_number`, `bad_text`.
    """

    @property
    def reason(self) -> str:
        """Why it cannot."""
        return str(self)


def canonical(message: Mapping[str, Any]) -> bytes:
    """The canonical form of an object, the bytes that are signed. Raises `MessageProblem`."""
    _check(message, 1)
    return one_line(message, sort=True).encode("utf-8")


def wire(message: Mapping[str, Any]) -> str:
    """An object for sending: its own order, numbers as in `canonical`. Raises `MessageProblem`."""
    _check(message, 1)
    return one_line(message)


def read_message(data: bytes, most: int) -> dict[str, Any]:
    """Read an object from outside, up to `most` bytes. Raises `MessageProblem` and nothing else."""
    if len(data) > most:
        raise MessageProblem("too_large")
    # Inside a text they count too; a message of ours has no use for so many.
    if data.count(b"[") + data.count(b"{") > _MAX_BRACKETS:
        raise MessageProblem("too_deep")
    try:
        message = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_object,
            parse_int=partial(_number, int),
            parse_float=partial(_number, float),
            parse_constant=_constant,
        )
    except (ValueError, RecursionError):
        raise MessageProblem("not_json") from None
    if not isinstance(message, dict):
        raise MessageProblem("not_an_object")
    _check(message, 1)
    return message


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Of two members with one name, one reader takes the first and another the last.
    members = dict(pairs)
    if len(members) != len(pairs):
        raise MessageProblem("duplicate_name")
    return members


def _number(kind: type[float], digits: str) -> float:
    if len(digits) > _MAX_DIGITS:
        raise MessageProblem("bad_number")
    return kind(digits)


def _constant(_: str) -> NoReturn:
    raise MessageProblem("bad_number")


def _check(value: Any, depth: int) -> None:
    if depth > MAX_DEPTH + 1:
        raise MessageProblem("too_deep")
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise MessageProblem("bad_text") from None
    elif value is None or isinstance(value, bool):
        return
    elif isinstance(value, (int, float)):
        _check_number(value)
    elif isinstance(value, Mapping):
        for name, each in value.items():
            if not (isinstance(name, str) and name.isascii() and name.isprintable()):
                raise MessageProblem("bad_text")
            _check(each, depth + 1)
    elif isinstance(value, (list, tuple)):
        for each in value:
            _check(each, depth + 1)
    else:
        raise MessageProblem("not_json")


def _check_number(value: float) -> None:
    if isinstance(value, int) or value.is_integer():
        good = abs(value) <= LARGEST_INTEGER
    else:
        good = SMALLEST_NUMBER <= abs(value) <= LARGEST_NUMBER
    if not good:
        raise MessageProblem("bad_number")
