"""Whether somebody is enrolled under another name already."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from edge.inference.card import ModelCard
from edge.recognition.scoring import cosine, signature_of
from edge.types import Profile

_MARGIN = 0.15
"""How much more alike two whole enrollments of one person are than two of their utterances must be.

Of 128 pairs of enrollments by one person 126 are found; of 4,756 pairs by two people 9 are
mistaken for one, six of these among 15 people with the same equipment, some perhaps related
(`tools.measure_same_voice`)."""


def others_with_voice(
    profile: Profile, people: Iterable[Profile], card: ModelCard
) -> list[Profile]:
    """The people whose voice is that of a profile; `card` is that of the speaker model.

    Raises:
        ModelError: the card lacks the threshold.
    """
    return [other for other in people if other.id != profile.id and _alike(profile, other, card)]


def enrolled_twice(people: Iterable[Profile], card: ModelCard) -> list[tuple[Profile, Profile]]:
    """The pairs of people with one voice. Raises as `others_with_voice`."""
    return [pair for pair in itertools.combinations(people, 2) if _alike(*pair, card)]


def _alike(one: Profile, other: Profile, card: ModelCard) -> bool:
    """Whether two people are enrolled whole, in the same way, and with one voice."""
    if (one.kind, one.speaker_model) != (other.kind, other.speaker_model):
        return False
    if any(each.duress_of is not None or each.remaining > 0 for each in (one, other)):
        return False
    likeness = cosine(signature_of(one.enrolled), signature_of(other.enrolled))
    return likeness >= card.threshold("enrollment") + _MARGIN
