"""Signatures on disk."""

from __future__ import annotations

from pathlib import Path

from edge.config import StoreConfig
from edge.store.profiles import ProfileStore, require_passphrase
from edge.store.records import MAX_PROFILES

FILE_NAME = "signatures.sqlite"

__all__ = [
    "FILE_NAME",
    "MAX_PROFILES",
    "ProfileStore",
    "open_store",
    "require_passphrase",
]


def open_store(
    state_directory: Path, busy_s: float = 5.0, settings: StoreConfig | None = None
) -> ProfileStore:
    """Open the device's own store, creating it where there is none; see `ProfileStore`."""
    return ProfileStore(state_directory / FILE_NAME, busy_s, settings)
