"""The settings of what happens after too many rejections."""

# The helpers called as defaults return dataclasses.field(...), which the rule cannot see.

from __future__ import annotations

from dataclasses import dataclass

from edge.config.rules import setting


@dataclass(frozen=True)
class LockOutConfig:
    """What happens after too many rejections in a short time."""

    enabled: bool = setting(
        True,
        "Whether to lock out at all: nobody is let in for a while, longer each time. Whoever"
        " stands at the door can bring that about on purpose; keep another way in.",
    )
    rejections: int = setting(
        5, "How many rejections it takes.", unit="rejections", least=1, most=100
    )
    within_s: float = setting(300.0, "Within how long.", unit="s", least=10.0, most=86400.0)
    first_s: float = setting(
        60.0, "How long the first lock-out lasts.", unit="s", least=5.0, most=86400.0
    )
    growth: float = setting(
        2.0, "How many times longer each one is than the one before.", least=1.0, most=10.0
    )
    longest_s: float = setting(
        3600.0, "How long a lock-out lasts at most.", unit="s", least=5.0, most=604800.0
    )
    forget_s: float = setting(
        86400.0,
        "After how long without a rejection the next lock-out is a first one again.",
        unit="s",
        least=60.0,
        most=604800.0,
    )
    count_wrong_phrase: bool = setting(
        False,
        "Whether an enrolled voice that says something else counts, as a guesser with a good"
        " imitation would. So does whatever residents say near the microphone: only for a place"
        " where they do not talk.",
    )
    count_unknown_speaker: bool = setting(
        True, "Whether an enrolled phrase in a voice that is not its owner's counts."
    )
    count_no_match: bool = setting(
        False,
        "Whether speech that is neither an enrolled voice nor an enrolled phrase counts. A"
        " television or people who walk by would then lock the door within minutes.",
    )
