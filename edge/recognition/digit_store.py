"""Where enrolled digits are kept: a sealed item of the store for each round."""

from __future__ import annotations

from collections.abc import Sequence

from edge.recognition.digit_codec import decode, encode
from edge.recognition.digit_round import MOST_ROUNDS, DigitRound
from edge.store import ProfileStore

KIND = "digit"


def rounds_of(store: ProfileStore, profile_id: str) -> list[DigitRound]:
    """The rounds of a profile, oldest first.

    Raises:
        ProfileError: there is no such profile.
        StoreError: the store cannot be read, or a round in it is damaged.
    """
    return [decode(item.payload) for item in store.kept(KIND, profile_id)]


def keep_round(
    store: ProfileStore, profile_id: str, spoken: DigitRound, most: int = MOST_ROUNDS
) -> None:
    """Keep a round; the oldest ones beyond `most` go.

    Raises:
        ProfileError: there is no such profile.
        StoreError: the store cannot be written.
    """
    store.keep(KIND, encode(spoken), profile=profile_id, most=most)


def replace_rounds(store: ProfileStore, profile_id: str, rounds: Sequence[DigitRound]) -> None:
    """Keep these rounds in place of all earlier ones; an interruption leaves some of both.

    Raises:
        ProfileError: there is no such profile.
        StoreError: the store cannot be written.
    """
    for spoken in rounds:
        keep_round(store, profile_id, spoken, most=len(rounds))


def forget_rounds(store: ProfileStore, profile_id: str) -> int:
    """Remove all rounds of a profile, and return how many there were."""
    return store.discard(KIND, profile_id)
