"""Commands that change something say so in the audit trail."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from edge.cli.output import complain
from edge.errors import StoreError

if TYPE_CHECKING:
    from edge.config import Config
    from edge.store import ProfileStore
    from edge.store.audit import AuditTrail
    from edge.types import Detail


@contextlib.contextmanager
def trail_of(store: ProfileStore, config: Config) -> Iterator[AuditTrail]:
    """The device's audit trail, to be read or written. Raises `StoreError`."""
    from edge.store.audit import AUDIT_KEY, AuditTrail
    from edge.store.device_state import DeviceState

    with contextlib.closing(DeviceState(config.state_path)) as state:
        key = store.derive_key(AUDIT_KEY)
        with AuditTrail(config.state_path, key, state, config.audit) as trail:
            yield trail


class Recorder(Protocol):
    """What tells the audit trail that something was done."""

    def __call__(self, kind: str, profile_id: str | None = None, **detail: Detail) -> None:
        """`kind` is an `EventKind`'s value; no name, phrase or secret may be in the detail."""


def audited(store: ProfileStore, config: Config) -> Recorder:
    """What a command tells the audit trail with, once it has done what it was asked to.

    What was done is on the disk when the call returns, with the user who asked for it. If it
    cannot be, the command has been carried out all the same, and a warning says so: a full disk
    must not keep a person from being deleted.

    Args:
        store: the signature store, open; its key makes the trail's.
        config: all settings.
    """

    def record(kind: str, profile_id: str | None = None, **detail: Detail) -> None:
        from edge.types import Event, EventKind

        asked: dict[str, Detail] = {"by": "command line", "uid": _user()}
        try:
            with trail_of(store, config) as trail:
                trail.record(Event(EventKind(kind), {**asked, **detail}, profile_id))
                trail.flush()
        except StoreError as error:
            complain(f"it is done, but not in the audit trail: {error}")

    return record


def _user() -> int:
    """Who asked: behind sudo, the person who typed it, as far as sudo says."""
    given = os.environ.get("SUDO_UID", "") if os.getuid() == 0 else ""
    return int(given[:10]) if given.isascii() and given.isdigit() else os.getuid()
