"""What the commands that come in over MQTT do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from edge.access.lockout import LockOut
from edge.challenge.policy import DEMAND_S, ChallengePolicy
from edge.errors import EdgeVoiceError, ProfileError
from edge.mqtt.command_queue import CommandFailed, Handler
from edge.mqtt.commands import CHOOSE
from edge.service.enrollment import Enrolling
from edge.store import ProfileStore
from edge.types import Event, EventKind, Profile, ProfileStatus

MOST_LISTED = 50
"""People in one answer; more would be larger than a small receiver takes."""
_BY = "command"

_Arguments = Mapping[str, Any]
_Detail = Mapping[str, Any] | None


class ListeningSwitch:
    """Whether the device listens; any thread may ask and say.

    Args:
        changed: told whenever it changes.
        on: whether it listens to begin with.
    """

    def __init__(self, changed: Callable[[bool], None], *, on: bool = True) -> None:
        self._listening = threading.Event()
        if on:
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


class CommandHandlers:
    """Carries out what a command asks for; in the daemon's main thread.

    Args:
        store: who is enrolled.
        refresh: has the device know at once when somebody is changed, not at the next tick.
        lockout: lifted and begun.
        ear: opened and closed.
        enrolling: begun and ended.
        challenge: who has to answer a challenge.
        status: what there is to say of the device.
        record: takes what happened to people, for the audit trail.
        reload: has the device go on with what the configuration file says now; raises
            `EdgeVoiceError` where that cannot be used. None where there is no such file.
    """

    def __init__(
        self,
        store: ProfileStore,
        refresh: Callable[[], None],
        lockout: LockOut,
        ear: ListeningSwitch,
        enrolling: Enrolling,
        challenge: ChallengePolicy,
        *,
        status: Callable[[], Mapping[str, Any]],
        record: Callable[[Event], None],
        reload: Callable[[], None] | None = None,
    ) -> None:
        self._store = store
        self._refresh = refresh
        self._lockout = lockout
        self._ear = ear
        self._enrolling = enrolling
        self._challenge = challenge
        self._status = status
        self._record = record
        self._reload_now = reload

    def handlers(self) -> dict[str, Handler]:
        """By the names of the commands."""
        handlers: dict[str, Handler] = {
            "status": lambda _: self._status(),
            "list": self._list,
            "arm": self._arm,
            "disarm": self._disarm,
            "lift_lockout": lambda _: {"was_locked_out": self._lockout.lift(_BY)},
            "lock_out": self._lock,
            "challenge": self._ask,
            "enroll_start": self._enrolling.start,
            "enroll_cancel": self._cancel,
            CHOOSE: self._enrolling.choose,
            "delete": self._delete,
            "reset": self._reset,
            "disable": lambda arguments: self._enable(arguments, enabled=False),
            "enable": lambda arguments: self._enable(arguments, enabled=True),
        }
        if self._reload_now is not None:
            handlers["reload"] = self._reload
        return handlers

    def _list(self, _: _Arguments) -> _Detail:
        # Nobody is told over MQTT that there is a second phrase. And no phrase: it opens the door.
        people = [profile for profile in self._store.list() if profile.duress_of is None]
        shown = [_shown(profile) for profile in people[:MOST_LISTED]]
        return {"people": shown, "more": len(people) - len(shown)}

    def _arm(self, _: _Arguments) -> _Detail:
        self._ear.set(True)
        return {"listening": True}

    def _disarm(self, _: _Arguments) -> _Detail:
        self._enrolling.cancel("not_listening")
        self._ear.set(False)
        return {"listening": False}

    def _lock(self, _: _Arguments) -> _Detail:
        if not self._lockout.begin(_BY):
            raise CommandFailed("switched_off", "lockout.enabled is off in the configuration")
        return dict(self._lockout.as_dict())

    def _ask(self, _: _Arguments) -> _Detail:
        able = self._challenge.count_able()
        if not able:
            # It would keep everybody out, which lock_out says in so many words.
            text = "nobody has enrolled digits: edge-voice enroll NAME --digits"
            raise CommandFailed("nobody_can_answer", text)
        self._challenge.demand()
        return {"people_who_can_answer": able, "seconds": DEMAND_S}

    def _cancel(self, _: _Arguments) -> _Detail:
        detail = self._enrolling.cancel()
        if detail is None:
            raise CommandFailed("not_enrolling", "nobody is being enrolled")
        return detail

    def _person(self, arguments: _Arguments) -> Profile:
        profile = self._store.get(arguments["person"])
        if profile.duress_of is not None:
            # Whoever holds somebody's phone must not find out, or take the alarm away, by guessing
            # its name. What holds for a person holds for both phrases.
            raise ProfileError("there is no such profile")
        return profile

    def _enable(self, arguments: _Arguments, *, enabled: bool) -> _Detail:
        profile = self._person(arguments)
        self._store.set_rule(profile.id, replace(profile.rule, enabled=enabled))
        self._refresh()
        self._record(Event(EventKind.CHANGE, {"enabled": enabled, "by": _BY}, profile.id))
        return {"profile_id": profile.id, "enabled": enabled}

    def _reset(self, arguments: _Arguments) -> _Detail:
        profile = self._person(arguments)
        self._enrolling.changed(profile)
        self._store.reset(profile.id)
        self._refresh()
        self._record(Event(EventKind.CHANGE, {"what": "reset", "by": _BY}, profile.id))
        return {"profile_id": profile.id}

    def _delete(self, arguments: _Arguments) -> _Detail:
        profile = self._person(arguments)
        self._enrolling.changed(profile)
        self._store.delete(profile.id)
        self._refresh()
        self._record(Event(EventKind.DELETION, {"by": _BY}, profile.id))
        return {"profile_id": profile.id}

    def _reload(self, _: _Arguments) -> _Detail:
        if self._reload_now is None:
            raise CommandFailed("unsupported")
        try:
            self._reload_now()
        except EdgeVoiceError as error:
            raise CommandFailed("bad_config", f"{error}; nothing has changed") from None
        return {"message": "goes on with the new configuration in a moment"}


def _shown(profile: Profile) -> dict[str, Any]:
    return {
        "profile_id": profile.id,
        "name": profile.name,
        "kind": profile.kind.value,
        "complete": profile.status is ProfileStatus.ENROLLED,
        "samples": len(profile.enrolled),
        "required": profile.required,
        "remaining": round(profile.remaining, 2),
        "enabled": profile.rule.enabled,
    }
