"""What all versions spell alike: figures, states, answers of a success."""

from __future__ import annotations

import math
import time

from edge.cloud_api.profiles import CloudProfile
from edge.store import MAX_PROFILES

IDENTIFIED_MOST = MAX_PROFILES
"""Profiles that a voice is compared with at once: the device's own limit."""


def seconds(value: float) -> float:
    """Seconds as the cloud rounded them."""
    return round(value, 2)


def remaining_s(shown: CloudProfile) -> float:
    """Seconds of speech that are missing; never 0 while any are."""
    return math.ceil(shown.profile.remaining * 100) / 100


def status_of(shown: CloudProfile) -> str:
    """The state of a profile: complete but not usable yet is what the cloud called training."""
    if shown.enrolled:
        return "Enrolled"
    return "Enrolling" if shown.profile.remaining > 0.0 else "Training"


def ticks(moment: float) -> str:
    """A Unix time as the cloud wrote it of operations: ISO 8601 in UTC, with seven digits."""
    whole = math.floor(moment)
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
    return f"{stamp}.{int((moment - whole) * 1e7):07d}Z"
