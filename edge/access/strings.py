"""Random digits, none of them near those of before."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Sequence

REMEMBERED = 32
"""Earlier strings that a new one keeps away from."""
_TRIES = 1000


class DigitStrings:
    """Strings of digits for the challenge; those of before are forgotten at a restart."""

    def __init__(self) -> None:
        self._recent: deque[tuple[int, ...]] = deque(maxlen=REMEMBERED)

    def next(self, choices: Sequence[int], count: int) -> tuple[int, ...]:
        """Digits that differ from one another, and as a string from those before.

        Args:
            choices: the digits to choose from, `count` or more.
            count: how many, two or more.

        Returns:
            A string that differs from the last one in every place and, where there are choices
            enough, from the `REMEMBERED` last ones in two or more.
        """
        chance = secrets.SystemRandom()
        last = self._recent[-1] if self._recent else ()
        while True:
            for _ in range(_TRIES):
                digits = tuple(chance.sample(list(choices), count))
                if not _alike(digits, last) and all(
                    _alike(digits, earlier) <= len(earlier) - 2 for earlier in self._recent
                ):
                    self._recent.append(digits)
                    return digits
            # So few to choose from that all are near an old one.
            self._recent.clear()


def _alike(one: Sequence[int], other: Sequence[int]) -> int:
    """In how many places two strings are the same."""
    return sum(a == b for a, b in zip(one, other))
