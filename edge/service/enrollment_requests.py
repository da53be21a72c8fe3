"""Enrollments at the door's microphone that the page asks for, from another process.

A request lies in the device's state, sealed under the store's key: it has a name and maybe a
phrase, and whoever has that key can enroll at the command line too. First the room is listened to,
as there; then somebody is enrolled as over MQTT, with a trial at the end.
"""

from __future__ import annotations

import json
import logging
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass

from edge.audio.end_pointing import EndPointer
from edge.crypto.sealing import Sealer
from edge.enrollment.room_noise import LISTEN_S, RoomNoise, target_range
from edge.errors import StoreError
from edge.mqtt.command_queue import CommandFailed
from edge.service.enrollment import RemoteEnrollment
from edge.service.observers import Observer, SoundLevel
from edge.store.device_state import DeviceState
from edge.types import SAMPLE_RATE
from edge.uptime import uptime

REQUEST_KEY = "enrollment.request"
PURPOSE = "enrollment requests"
"""What the key of the requests is derived for."""
EXPIRES_S = 10.0
"""A request that is older is dropped: whoever made it no longer stands at the door."""
_ROOM_TRIES = 3
_NO_SOUND_S = 15.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Requested:
    """A request: to enroll a person, or with none to end the enrollment that goes on.

    Attributes:
        id: repeated in the messages up to the beginning.
        phrase: in writing; None to leave it as it is.
        at_s: by `uptime`.
    """

    id: str
    person: str
    phrase: str | None
    at_s: float


class RequestBox:
    """Where a request lies between the two processes.

    Every method raises `StoreError` where the state cannot be used.

    Args:
        key: what `ProfileStore.derive_key` makes for `PURPOSE`.
        name: of the place in the state.
    """

    def __init__(self, state: DeviceState, key: bytes, name: str = REQUEST_KEY) -> None:
        self._state = state
        self._name = name
        self._sealer = Sealer(key)

    def put(self, wanted: Requested) -> None:
        """Leave a request for the running service."""
        sealed = self._sealer.seal(json.dumps(asdict(wanted)).encode(), self._name)
        self._state.put(self._name, sealed.hex())

    def take(self, now_s: float) -> Requested | None:
        """Take out a request, if there is one that is genuine and not too old."""
        text = self._state.get(self._name)
        if text is None:
            return None
        self._state.put(self._name, None)
        try:
            content = self._sealer.open(bytes.fromhex(text), self._name)
        except ValueError:  # a broken seal is one
            _log.warning("a request to enroll was dropped: it is damaged, or from elsewhere")
            return None
        wanted = Requested(**json.loads(content))
        if not 0.0 <= now_s - wanted.at_s <= EXPIRES_S:
            _log.info("a request to enroll was dropped: it is too old")
            return None
        return wanted


class EnrollmentRequests(Observer):
    """Listens to the room and starts the enrollment that was asked for, or says why not."""

    def __init__(
        self,
        box: RequestBox,
        enrollment: RemoteEnrollment,
        endpointer: EndPointer,
        clock: Callable[[], float] = uptime,
    ) -> None:
        self._box = box
        self._enrollment = enrollment
        self._endpointer = endpointer
        self._clock = clock
        self._wanted: Requested | None = None
        self._levels: list[float] = []
        self._samples = 0
        self._spoken = 0
        self._tries = 0
        self._until = 0.0

    def level(self, level: SoundLevel) -> None:
        """Take in the level of the room."""
        if self._wanted is None:
            return
        self._levels.append(level.level_dbfs)
        self._samples += level.samples
        self._spoken += level.samples * self._endpointer.speaking
        if self._samples >= LISTEN_S * SAMPLE_RATE:
            # A door that closes or a cough is no noise of the room.
            self._measured(RoomNoise(statistics.median(self._levels), self._spoken / SAMPLE_RATE))

    def tick(self) -> None:
        """Take up a request."""
        try:
            wanted = self._box.take(self._clock())
        except StoreError as error:
            _log.debug("a request to enroll cannot be read: %s", error)
            return
        if wanted is not None:
            self._take_up(wanted)
        elif self._wanted is not None and self._clock() >= self._until:
            self._fail(self._wanted, "no_sound", "no sound comes from the microphone")

    def _take_up(self, wanted: Requested) -> None:
        if not wanted.person:
            if self._wanted is not None:
                self._fail(self._wanted, "canceled", "canceled")
            self._enrollment.cancel()
        elif self._wanted is not None:
            self._fail(wanted, "busy", "somebody is being enrolled: wait, or cancel")
        else:
            self._listen(wanted, _ROOM_TRIES, "please be silent: listening to the room")

    def _listen(self, wanted: Requested, tries: int, message: str) -> None:
        self._wanted, self._tries = wanted, tries
        self._levels, self._samples, self._spoken = [], 0, 0
        self._until = self._clock() + _NO_SOUND_S
        self.live = True
        try:
            self._enrollment.require_possible()
        except CommandFailed as failure:
            self._fail(wanted, failure.reason, failure.message)
        else:
            self._tell(wanted, "measuring", message)

    def _measured(self, noise: RoomNoise) -> None:
        wanted, tries = self._wanted, self._tries - 1
        if wanted is None:
            return
        if noise.spoken and tries:
            self._listen(wanted, tries, "somebody spoke: once more, in silence")
            return
        self._stop()
        low, high = target_range(noise)
        self._tell(
            wanted,
            "room",
            noise.explanation(),
            noise=noise.as_dict(),
            target_dbfs=[round(low, 1), round(high, 1)],
        )
        given = {"person": wanted.person}
        if wanted.phrase is not None:
            given["phrase"] = wanted.phrase
        try:
            self._enrollment.start(given, trial=True)
        except CommandFailed as failure:
            self._fail(wanted, failure.reason, failure.message)
        except StoreError as error:
            _log.warning("nobody can be enrolled: %s", error)
            self._fail(wanted, "store", "could not be stored")

    def _fail(self, wanted: Requested, reason: str, message: str) -> None:
        if wanted is self._wanted:
            self._stop()
        state = "canceled" if reason == "canceled" else "failed"
        self._tell(wanted, state, message, reason=reason)

    def _stop(self) -> None:
        self._wanted, self.live = None, False

    def _tell(self, wanted: Requested, state: str, message: str, **fields: object) -> None:
        self._enrollment.told.append(
            {
                "request": wanted.id,
                "state": state,
                "person": wanted.person,
                "message": message,
                **fields,
            }
        )
