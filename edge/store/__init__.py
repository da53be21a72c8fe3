"""Signatures on disk."""

from edge.store.profiles import MAX_PROFILES, MAX_SAMPLES, ProfileStore

__all__ = ["MAX_PROFILES", "MAX_SAMPLES", "ProfileStore"]
