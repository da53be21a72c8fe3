"""The settings of what is done about recordings."""

# The helpers called as defaults return dataclasses.field(...), which the rule cannot see.

from __future__ import annotations

from dataclasses import dataclass

from edge.config.rules import setting


@dataclass(frozen=True)
class ReplayConfig:
    """Recordings of what was said here before, played again."""

    enabled: bool = setting(
        True,
        "Whether an utterance that is too like an earlier one to be a second saying is refused.",
    )
    remembered: int = setting(
        50,
        "How many utterances are remembered of each person, and as many again that were refused;"
        " the oldest make room. Each takes about 1 kB for each second that it lasts.",
        unit="utterances",
        least=5,
        most=500,
    )
    days: int = setting(
        365, "For how long an utterance is remembered.", unit="days", least=1, most=3650
    )
