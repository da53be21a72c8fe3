"""What the commands that come in over MQTT do; in the service's main thread."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from edge.access.lockout import LockOut
from edge.challenge.policy import DEMAND_S, ChallengePolicy
from edge.errors import EdgeVoiceError, InputError, ProfileError
from edge.mqtt.command_queue import CommandFailed, Handler
from edge.mqtt.commands import CHOOSE
from edge.service.confirmation import shown_of
from edge.service.context import ServiceContext
from edge.service.enrollment import RemoteEnrollment
from edge.service.identification import IdentificationSwitch
from edge.store import require_passphrase
from edge.types import Detail, Event, EventKind, Profile, ProfileStatus

MOST_LISTED = 50
"""People in one answer; more would be larger than a small receiver takes."""
_BY = "command"

_Arguments = Mapping[str, Any]
_Result = Mapping[str, Any] | None


class CommandHandlers:
    """Carries out commands."""

    def __init__(
        self,
        context: ServiceContext,
        lockout: LockOut,
        enrollment: RemoteEnrollment,
        challenge: ChallengePolicy,
        identification: IdentificationSwitch,
    ) -> None:
        self._context = context
        self._store = context.store
        self._lockout = lockout
        self._enrollment = enrollment
        self._challenge = challenge
        self._identification = identification

    def handlers(self) -> dict[str, Handler]:
        """By the names of the commands."""
        handlers: dict[str, Handler] = {
            "status": self._status,
            "list": self._list,
            "arm": self._arm,
            "disarm": self._disarm,
            "identify_start": lambda _: self._identify(on=True),
            "identify_stop": lambda _: self._identify(on=False),
            "lift_lockout": lambda _: {"was_locked_out": self._lockout.lift(_BY)},
            "lock_out": self._lock_out,
            "challenge": self._demand,
            "enroll_start": self._enrollment.start,
            "enroll_cancel": self._cancel,
            "enroll_confirm": self._confirm,
            CHOOSE: self._enrollment.choose,
            "delete": self._delete,
            "reset": self._reset,
            "disable": lambda arguments: self._enable(arguments, enabled=False),
            "enable": lambda arguments: self._enable(arguments, enabled=True),
        }
        if self._context.control.can_reload:
            handlers["reload"] = self._reload
        return handlers

    def _status(self, _: _Arguments) -> _Result:
        # To be kept elsewhere. With a silent alarm the trail grows as it does without one.
        head = self._context.trail.head()
        return {
            "listening": self._context.listening.on,
            "enrolling": self._enrollment.running,
            **self._lockout.as_dict(),
            "audit_head": str(head) if head else None,
        }

    def _list(self, _: _Arguments) -> _Result:
        # Neither a duress phrase, nor the words of a phrase, which open the door.
        people = [profile for profile in self._store.list() if profile.duress_of is None]
        shown = [_shown(profile) for profile in people[:MOST_LISTED]]
        return {"people": shown, "more": len(people) - len(shown)}

    def _arm(self, _: _Arguments) -> _Result:
        self._context.listening.set(True)
        return {"listening": True}

    def _disarm(self, _: _Arguments) -> _Result:
        self._enrollment.cancel("not_listening")
        self._context.listening.set(False)
        return {"listening": False}

    def _identify(self, *, on: bool) -> _Result:
        if not self._identification.available:
            text = "identification.enabled is off in the configuration"
            raise CommandFailed("switched_off", text)
        self._identification.set(on)
        return {"identifying": on}

    def _lock_out(self, _: _Arguments) -> _Result:
        if not self._lockout.begin(_BY):
            raise CommandFailed("switched_off", "lockout.enabled is off in the configuration")
        return dict(self._lockout.as_dict())

    def _demand(self, _: _Arguments) -> _Result:
        able = self._challenge.count_able()
        if not able:
            # It would keep everybody out, which is what lock_out is for.
            text = "nobody has enrolled digits: edge-voice enroll NAME --digits"
            raise CommandFailed("nobody_can_answer", text)
        self._challenge.demand()
        return {"people_who_can_answer": able, "lasts_s": DEMAND_S}

    def _cancel(self, _: _Arguments) -> _Result:
        result = self._enrollment.cancel()
        if result is None:
            raise CommandFailed("not_enrolling", "nobody is being enrolled")
        return result

    def _confirm(self, arguments: _Arguments) -> _Result:
        if "person" in arguments:
            profile = self._person(arguments)
        else:
            profile = self._store.get(self._enrollment.to_confirm())
        if profile.status is not ProfileStatus.UNCONFIRMED:
            text = f"{profile.name} is not waiting to be confirmed"
            raise CommandFailed("nothing_to_confirm", text)
        self._enrollment.changed(profile)
        profile = self._store.confirm(profile.id)
        self._changed(profile, EventKind.CHANGE, what="confirmed")
        return {**shown_of(profile), "enrolled_twice": self._enrollment.enrolled_twice(profile)}

    def _enable(self, arguments: _Arguments, *, enabled: bool) -> _Result:
        profile = self._person(arguments)
        try:
            require_passphrase(profile)
        except InputError as error:
            raise CommandFailed("opens_nothing", str(error)) from None
        self._store.set_rule(profile.id, replace(profile.rule, enabled=enabled))
        self._changed(profile, EventKind.CHANGE, enabled=enabled)
        return {"profile_id": profile.id, "enabled": enabled}

    def _reset(self, arguments: _Arguments) -> _Result:
        profile = self._person(arguments)
        self._enrollment.changed(profile)
        self._store.reset(profile.id)
        self._changed(profile, EventKind.CHANGE, what="reset")
        return {"profile_id": profile.id}

    def _delete(self, arguments: _Arguments) -> _Result:
        profile = self._person(arguments)
        self._enrollment.changed(profile)
        self._store.delete(profile.id)
        self._changed(profile, EventKind.DELETION)
        return {"profile_id": profile.id}

    def _reload(self, _: _Arguments) -> _Result:
        try:
            self._context.control.reload()
        except EdgeVoiceError as error:
            raise CommandFailed("bad_config", f"{error}; nothing has changed") from None
        return {"message": "reloading the configuration"}

    def _person(self, arguments: _Arguments) -> Profile:
        profile = self._store.get(arguments["person"])
        if profile.duress_of is not None:
            # A stolen phone must neither reveal a duress phrase nor remove it by a guessed name.
            # What is done to a person is done to both phrases.
            raise ProfileError("there is no such profile")
        return profile

    def _changed(self, profile: Profile, kind: EventKind, **detail: Detail) -> None:
        self._context.profiles.refresh()
        self._context.trail.record(Event(kind, {**detail, "by": _BY}, profile.id))


def _shown(profile: Profile) -> dict[str, Any]:
    return {
        "profile_id": profile.id,
        "name": profile.name,
        "kind": profile.kind.value,
        "complete": profile.status is ProfileStatus.ENROLLED,
        "unconfirmed": profile.status is ProfileStatus.UNCONFIRMED,
        "samples": len(profile.enrolled),
        "required": profile.required,
        "remaining": round(profile.remaining, 2),
        "enabled": profile.rule.enabled,
    }
