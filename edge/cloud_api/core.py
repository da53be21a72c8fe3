"""What a call means, whatever version it came in: the store's side and the recognizer's side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from starlette.concurrency import run_in_threadpool

from edge.cloud_api.audio import Limits, require_wav
from edge.cloud_api.calls import Asked
from edge.cloud_api.operations import Operations
from edge.cloud_api.profiles import CloudProfile, CloudProfiles, Resource
from edge.cloud_api.recognition import Enrolled, Identified, Recognition, Verified
from edge.mqtt.command_queue import FloodLog
from edge.store.api_keys import ApiRole
from edge.types import Detail, EventKind
from edge.web.context import WebContext


@dataclass(frozen=True)
class SentRecording:
    """A recording that was sent, and its length in seconds."""

    data: bytes
    seconds: float


class Core:
    """The service behind every version; one for each server.

    Every method raises `Fault` and `Refused`.
    """

    def __init__(self, context: WebContext) -> None:
        self.profiles = CloudProfiles(context.store, context.config)
        self.recognition = Recognition(
            context.store, context.config, self.profiles, context.attempts
        )
        self.operations = Operations()
        # More than of refused commands: a program that verifies all day is what keys are for.
        self._compared = FloodLog(EventKind.VERIFICATION, burst=1000, per_s=1000 / 86400.0)

    async def every(self, resource: Resource) -> list[CloudProfile]:
        """All profiles of a resource, by id."""
        return await run_in_threadpool(self.profiles.every, resource)

    async def get(self, resource: Resource, profile_id: str) -> CloudProfile:
        """One profile."""
        return await run_in_threadpool(self.profiles.get, resource, profile_id)

    async def require(self, resource: Resource, profile_ids: Sequence[str]) -> None:
        """Refuse a group that one is missing of."""
        await run_in_threadpool(self.profiles.group, resource, profile_ids)

    async def phrases(self, asked: Asked) -> list[str]:
        """The household's phrases in writing, for a key that may see what opens the door."""
        if not asked.key.role.may(ApiRole.MANAGE):
            return []
        return await run_in_threadpool(self.profiles.phrases)

    async def create(self, asked: Asked, resource: Resource, seconds: float) -> CloudProfile:
        """A new profile with the locale in the body."""
        locale = await asked.locale()
        made = await run_in_threadpool(self.profiles.create, resource, locale, seconds)
        asked.record(EventKind.CHANGE, made.id, what="created")
        return made

    async def reset(self, asked: Asked, resource: Resource, profile_id: str) -> None:
        """Remove what was enrolled."""
        await run_in_threadpool(self.profiles.reset, resource, profile_id)
        asked.record(EventKind.CHANGE, profile_id, what="reset")

    async def delete(self, asked: Asked, resource: Resource, profile_id: str) -> None:
        """Delete a profile."""
        await run_in_threadpool(self.profiles.delete, resource, profile_id)
        asked.record(EventKind.DELETION, profile_id)

    async def recording(self, asked: Asked, limits: Limits) -> SentRecording:
        """The recording in the body."""
        data = await asked.audio()
        return SentRecording(data, require_wav(data, asked.media_type, limits))

    async def enroll(
        self,
        asked: Asked,
        resource: Resource,
        profile_id: str,
        recording: SentRecording,
        *,
        complete: bool,
    ) -> Enrolled:
        """Enroll a recording; with `complete` its speech is enough."""
        await self.get(resource, profile_id)
        enrolled = await asked.run(
            partial(
                self.recognition.enroll,
                resource=resource,
                profile_id=profile_id,
                data=recording.data,
                audio_s=recording.seconds,
                complete=complete,
            )
        )
        count = enrolled.shown.count
        asked.record(EventKind.ENROLLMENT, profile_id, state="accepted", samples=count)
        return enrolled

    async def verify(
        self,
        asked: Asked,
        resource: Resource,
        profile_id: str,
        recording: SentRecording,
        limits: Limits,
    ) -> Verified:
        """Whether it is this person."""
        await self.get(resource, profile_id)
        found = await asked.run(
            partial(
                self.recognition.verify,
                resource=resource,
                profile_id=profile_id,
                data=recording.data,
                limits=limits,
            )
        )
        self._record(
            asked,
            profile_id,
            accepted=found.accepted,
            reason=found.reason.value,
            score=found.score,
        )
        return found

    async def identify(
        self,
        asked: Asked,
        resource: Resource,
        profile_ids: Sequence[str],
        recording: SentRecording,
        limits: Limits,
    ) -> Identified:
        """Who of a group speaks."""
        found = await asked.run(
            partial(
                self.recognition.identify,
                resource=resource,
                profile_ids=profile_ids,
                data=recording.data,
                limits=limits,
            )
        )
        self._record(
            asked,
            found.profile_id if found.accepted else None,
            accepted=found.accepted,
            reason=found.reason.value,
            score=found.score,
            among=len(profile_ids),
        )
        return found

    def _record(self, asked: Asked, profile_id: str | None, **detail: Detail) -> None:
        """Put a comparison into the audit trail; who has a key may send one recording forever."""
        told = {**detail, "by": "http", "key": asked.key.id}
        self._compared.add(asked.key.id, told, profile_id)
        for event in self._compared.due():
            asked.context.trail.record(event)


def core_of(asked: Asked) -> Core:
    """The service of the server that a request came to."""
    state = asked.request.app.state
    core = getattr(state, "cloud_core", None)
    if core is None:
        core = state.cloud_core = Core(asked.context)
    found: Core = core
    return found
