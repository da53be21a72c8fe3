"""The store as a file: opened, closed, locked with keys, with small things beside the profiles."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from edge.config import StoreConfig
from edge.crypto.keys import KeySources, WrappingKey
from edge.crypto.sealing import derive
from edge.store.database import StoreFile
from edge.store.items import ItemRows, Kept
from edge.store.rotation import KeyState, lock_with, state_of
from edge.store.rows import ProfileRows

_Self = TypeVar("_Self", bound="SealedStore")


class SealedStore:
    """What a store can do beside its profiles; see `ProfileStore`."""

    def __init__(
        self, path: Path, busy_s: float = 5.0, settings: StoreConfig | None = None
    ) -> None:
        self.path = path
        self._file = StoreFile(path, busy_s, KeySources(settings or StoreConfig(), path.parent))
        self._rows = ProfileRows(self._file)
        self._items = ItemRows(self._file)

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file; a second call does nothing."""
        self._file.close()

    def data_version(self) -> tuple[int, int]:
        """A cheap mark of the profiles in the store: it differs after any change by any process.

        To be compared for equality with an earlier mark of the same object. A file that was put in
        the store's place, such as a backup, is opened here and counts as a change. Items do not
        count.

        Raises:
            StoreError: the file is gone, or another one in its place is no store.
        """
        return self._file.version()

    def keep(
        self,
        kind: str,
        payload: bytes,
        *,
        profile: str | None = None,
        most: int | None = None,
    ) -> int:
        """Keep a small thing, sealed; with a profile, for as long as the profile is there.

        Args:
            kind: what it is; 1 to 32 small letters, digits, - or _. The kind is not sealed.
            payload: up to 1 MiB.
            profile: id or name of the profile that it belongs to.
            most: how many of this kind (and this profile, or none) there may be afterwards; the
                oldest ones make room.

        Returns:
            Its id.

        Raises:
            ProfileError: no such profile.
            ValueError: the kind or size is impossible.
        """
        with self._file.writing():
            profile_id = None if profile is None else self._rows.resolve(profile)
            return self._items.add(kind, payload, profile_id, most)

    def kept(self, kind: str, profile: str | None = None) -> list[Kept]:
        """What is kept of a kind, oldest first.

        Args:
            kind: as `keep`.
            profile: id or name; None for all, those of the device itself included.

        Raises:
            ProfileError: no such profile.
        """
        with self._file.reading():
            profile_id = None if profile is None else self._rows.resolve(profile)
            return self._items.all(kind, profile_id)

    def discard(
        self, kind: str, profile: str | None = None, ids: Sequence[int] | None = None
    ) -> int:
        """Remove what is kept of a kind.

        Args:
            kind: as `keep`.
            profile: id or name; None for all, those of the device itself included.
            ids: which of them; None for all.

        Returns:
            How many there were.

        Raises:
            ProfileError: no such profile.
        """
        with self._file.writing():
            profile_id = None if profile is None else self._rows.resolve(profile)
            return self._items.discard(kind, profile_id, ids)

    def derive_key(self, purpose: str) -> bytes:
        """A key of 32 bytes for another file of this device, the same on every call.

        It follows (HKDF) from a random secret that lies wrapped in the store, apart from the data
        key: it survives rotation and a change of the wrapping key, and is lost with the store.

        Args:
            purpose: what it is for; another purpose's key does not follow from it.
        """
        with self._file.reading():
            return derive(self._file.vault.secrets.root, f"for {purpose}")

    @property
    def key_sources(self) -> KeySources:
        """Where the store looks for its key."""
        return self._file.sources

    def key_state(self) -> KeyState:
        """Which keys the store is locked with."""
        with self._file.reading():
            return state_of(self._file)

    def rotate_key(self) -> None:
        """Make a new data key, and seal every row with it.

        Raises:
            StoreError: a row is damaged, or the file cannot be written; nothing was changed.
        """
        with self._file.reading():
            key = self._file.sources.find(self._file.vault.lock)
        lock_with(self._file, key, rotate=True)

    def lock_with(self, key: WrappingKey, *, rotate: bool = False) -> None:
        """Lock the store with another key; the former one opens nothing any more.

        Args:
            key: the new one, which must be kept where it will be found.
            rotate: whether to make a new data key too, as for a former key that others know: with
                it and an old copy of the file they have the present data key.

        Raises:
            StoreError: as `rotate_key`.
        """
        lock_with(self._file, key, rotate=rotate)
