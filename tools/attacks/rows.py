"""Rows of docs/THREATS.md: each kind of attack, how often it was tried and how often accepted.

What ISO/IEC 30107-3 calls a presentation attack instrument species is a kind of attack here, and
the share that is accepted the IAPAR, the impostor attack presentation accept rate, of each kind
alone: what a door can be opened with is its worst kind, never the mean. Strangers who alter nothing
or what they like are impostors; theirs is a false-accept rate.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from edge.evaluation.metrics import exact_limits

HEAD = (
    "Attack", "Tried", "Accepted", "IAPAR (95 %)", "What holds it", "What does not",
    "`python -m tools.`",
)  # fmt: skip


@dataclass(frozen=True)
class Attack:
    """A kind of attack, and what came of it.

    Attributes:
        kind: what is presented; and what counts as accepted, unless it is that the door opens.
        holds: what holds it.
        fails: where that does not.
        part: the tool and its options that count it, after `python -m tools.`.
        chance: whether each try is one of many possible; else the same comes out every time.
    """

    kind: str
    tried: int
    accepted: int
    holds: str
    fails: str
    part: str
    chance: bool = True

    def as_dict(self) -> dict[str, Any]:
        """By the names in JSON, the interval in percent."""
        low, high = (round(100 * limit, 3) for limit in exact_limits(self.accepted, self.tried))
        return {
            "attack": self.kind,
            "tried": self.tried,
            "accepted": self.accepted,
            "interval_percent": [low, high] if self.chance else None,
            "holds": self.holds,
            "fails": self.fails,
            "command": f"python -m tools.{self.part}",
        }

    def line(self) -> str:
        """Its row of the table."""
        tried, accepted = f"{self.tried:,}", f"{self.accepted:,}"
        command = f"`{self.part}`"
        return _row(self.kind, tried, accepted, self.rate(), self.holds, self.fails, command)

    def rate(self) -> str:
        """Its IAPAR with the exact interval, in percent."""
        if not self.tried:
            return "not tried"
        share = _percent(self.accepted / self.tried)
        if not self.chance:
            return f"{share} %"
        low, high = map(_percent, exact_limits(self.accepted, self.tried))
        return f"{share} % ({low} to {high})"


def markdown(attacks: Iterable[Attack]) -> str:
    """The table, to be put into docs/THREATS.md."""
    head = (_row(*HEAD), _row("---", "---:", "---:", "---:", "---", "---", "---"))
    return "\n".join((*head, *(attack.line() for attack in attacks)))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _percent(rate: float) -> str:
    """A rate in percent, with two digits that count."""
    percent = 100.0 * rate
    return f"{percent:.0f}" if percent >= 10.0 else f"{percent:.2g}"
