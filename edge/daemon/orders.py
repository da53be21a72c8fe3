"""What the commands that come in over MQTT do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Optional

from edge.access.lockout import LockOut
from edge.daemon.household import Household
from edge.mqtt.desk import Handler
from edge.store import ProfileStore
from edge.types import Event, EventKind

_BY = "command"


class Ear:
    """Whether the device listens; any thread may ask and say.

    Args:
        changed: told whenever it changes.
    """

    def __init__(self, changed: Callable[[bool], None]) -> None:
        self._listening = threading.Event()
        self._listening.set()
        self._changed = changed

    @property
    def listening(self) -> bool:
        """Whether what is heard is worked on."""
        return self._listening.is_set()

    def set(self, on: bool) -> None:
        """Listen, or let everything pass unheard."""
        if on:
            self._listening.set()
        else:
            self._listening.clear()
        self._changed(on)


class Orders:
    """Carries out what a command asks for; in the daemon's main thread.

    Args:
        store: who is enrolled.
        household: reread at once when somebody is changed, not at the next tick.
        lockout: lifted and begun.
        ear: opened and closed.
        status: what there is to say of the device.
        record: takes what happened to people, for the audit trail.
    """

    def __init__(
        self,
        store: ProfileStore,
        household: Household,
        lockout: LockOut,
        ear: Ear,
        *,
        status: Callable[[], Mapping[str, Any]],
        record: Callable[[Event], None],
    ) -> None:
        self._store = store
        self._household = household
        self._lockout = lockout
        self._ear = ear
        self._status = status
        self._record = record

    def handlers(self) -> dict[str, Handler]:
        """By the names of the commands."""
        return {
            "status": lambda _: self._status(),
            "lift_lockout": self._lift,
            "lock_out": self._lock,
            "set_listening": self._listen,
            "disable_person": lambda arguments: self._enable(arguments, enabled=False),
            "enable_person": lambda arguments: self._enable(arguments, enabled=True),
            "delete_person": self._delete,
        }

    def _lift(self, _: Mapping[str, Any]) -> Optional[Mapping[str, Any]]:
        return {"was_locked_out": self._lockout.lift(_BY)}

    def _lock(self, _: Mapping[str, Any]) -> Optional[Mapping[str, Any]]:
        return {"locked_out": self._lockout.begin(_BY)}

    def _listen(self, arguments: Mapping[str, Any]) -> Optional[Mapping[str, Any]]:
        self._ear.set(arguments["on"])
        return None

    def _enable(
        self, arguments: Mapping[str, Any], *, enabled: bool
    ) -> Optional[Mapping[str, Any]]:
        profile = self._store.get(arguments["person"])
        if profile.duress_of is not None:  # what holds for a person holds for both phrases
            profile = self._store.get(profile.duress_of)
        self._store.set_rule(profile.id, replace(profile.rule, enabled=enabled))
        self._household.refresh()
        self._record(Event(EventKind.CHANGE, {"enabled": enabled, "by": _BY}, profile.id))
        return {"profile_id": profile.id}

    def _delete(self, arguments: Mapping[str, Any]) -> Optional[Mapping[str, Any]]:
        profile = self._store.get(arguments["person"])
        self._store.delete(profile.id)
        self._household.refresh()
        self._record(Event(EventKind.DELETION, {"by": _BY}, profile.id))
        return {"profile_id": profile.id}
