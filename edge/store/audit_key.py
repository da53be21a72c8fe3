"""The key that authenticates the audit trail."""

from __future__ import annotations

import secrets

from edge.errors import StoreError
from edge.store.profiles import ProfileStore
from edge.store.state import DeviceState

_PURPOSE = "audit"
_STATE_NAME = "audit.key"
_KEY_BYTES = 32


def audit_key(store: ProfileStore, state: DeviceState) -> bytes:
    """The key of the device's audit trail, 32 bytes.

    It is derived from the store's own key. A store without one leaves no place for a secret but
    the state directory itself: then a random key is kept there, which finds accidents and an edit
    of the trail's file alone, not somebody who reads the whole directory.

    Raises:
        StoreError: the store's key or the device's state cannot be used.
    """
    derive = getattr(store, "derive_key", None)
    if derive is not None:
        return bytes(derive(_PURPOSE))
    kept = state.get(_STATE_NAME)
    if kept is None:
        state.put(_STATE_NAME, secrets.token_hex(_KEY_BYTES))
        kept = state.get(_STATE_NAME)
    try:
        key = bytes.fromhex(kept or "")
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise StoreError(
            f"{state.path} is damaged ({_STATE_NAME}): put a backup in its place, or move it away"
        )
    return key
