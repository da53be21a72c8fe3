"""How far what was said is from enrolled sayings of a phrase, in whichever place they are heard."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from edge.recognition.dtw import dtw_distances
from edge.types import FloatArray

VARIANT_COST = 0.06
"""What a variant's distance counts for more: in noise and echo everything sounds more alike, near
misses too, and a saying in a quiet room should not have to come nearer because of them."""


def example_distances(sayings: Sequence[Sequence[FloatArray]], said: FloatArray) -> list[float]:
    """Distance of what was said from each enrolled saying.

    Args:
        sayings: of each the embedding as it was said, then those of its variants; each of shape
            (t, e).
        said: the embedding of what was said, shape (u, e).

    Returns:
        The least warping distance from the examples of each saying, `VARIANT_COST` added to those
        of variants.

    Raises:
        ValueError: as `warping_distances`; or a saying has no example.
    """
    if not all(sayings):
        raise ValueError("a saying without an example cannot be compared")
    distances = iter(dtw_distances(list(itertools.chain.from_iterable(sayings)), said))
    found = []
    for examples in sayings:
        own = np.asarray(list(itertools.islice(distances, len(examples))))
        own[1:] += VARIANT_COST
        found.append(float(own.min()))
    return found
