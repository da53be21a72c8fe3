"""Enrolling through a satellite: what is said to its assistant is learned, and not obeyed.

Asked for at the command line of this machine, by a sealed request in the device's state, or over
MQTT by the unsigned commands that the configuration allows. Then it has to be confirmed, as
everything that is enrolled over MQTT.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edge.audio.utterance import utterance_in
from edge.config import Config
from edge.crypto.sealing import Sealer
from edge.enrollment import prompts
from edge.enrollment.process import DURESS, Enrollment, EnrollmentRequest
from edge.errors import EnrollmentRejected, ProfileError, StoreError
from edge.mqtt import MqttPublisher
from edge.mqtt.command_queue import CommandFailed, CommandQueue
from edge.mqtt.commands import CHOOSE
from edge.recognition import Engine
from edge.service.enrollment import LINGER_S, MOST_REFUSALS
from edge.service.enrollment_requests import REQUEST_KEY, RequestBox
from edge.store import MAX_PROFILES, ProfileStore
from edge.store.device_state import DeviceState
from edge.store.names import clean_name, name_key
from edge.types import AudioBlock, Detail, Event, EventKind, ProfileKind, ProfileStatus
from edge.types.microphone import SATELLITE
from edge.uptime import uptime

LOCK = "wyoming.lock"
"""Held in the state directory while a server runs."""
PURPOSE = "enrollment at an assistant"
"""What the key of requests and progress is derived for."""
ENDS = ("complete", "unconfirmed", "canceled", "timed_out", "failed")
"""States after which nothing more comes."""

_log = logging.getLogger(__name__)


def request_box(state: DeviceState, key: bytes, assistant: str) -> RequestBox:
    """Where a request to enroll through an assistant lies."""
    return RequestBox(state, key, f"{REQUEST_KEY}/{assistant}")


class ProgressBox:
    """Where the latest news of a request lies, for the command that made it.

    Every method raises `StoreError` where the state cannot be used.
    """

    def __init__(self, state: DeviceState, key: bytes, assistant: str) -> None:
        self._state = state
        self._sealer = Sealer(key)
        self._name = f"enrollment.progress/{assistant}"

    def put(self, told: Mapping[str, Any] | None) -> None:
        """Leave news in place of the ones before; None removes them."""
        sealed = None if told is None else self._sealer.seal(json.dumps(told).encode(), self._name)
        self._state.put(self._name, sealed.hex() if sealed else None)

    def look(self) -> dict[str, Any] | None:
        """The latest news, if they are genuine."""
        text = self._state.get(self._name)
        try:
            found = json.loads(self._sealer.open(bytes.fromhex(text or ""), self._name))
        except ValueError:  # a broken seal is one
            return None
        return found if isinstance(found, dict) else None


class _Session:
    def __init__(self, enrollment: Enrollment, request: str | None, now_s: float) -> None:
        self.id = request or str(uuid.uuid4())
        self.enrollment = enrollment
        self.requested = request is not None
        self.before = enrollment.profile.progress
        self.began_s = self.spoken_s = now_s
        self.refusals = 0


class AssistantEnrollment:
    """The enrollment that goes on at one assistant, if any; in the recognizer's thread.

    Attributes:
        running: whether what is said is learned; for any thread.

    Args:
        config: with the assistant in the device's place, as of its messages.
        record: writes an audit entry.
    """

    def __init__(
        self,
        config: Config,
        store: ProfileStore,
        state: DeviceState,
        publisher: MqttPublisher,
        record: Callable[[Event], None],
        clock: Callable[[], float] = uptime,
    ) -> None:
        self.running = False
        self._settings = config.enrollment
        self._store = store
        self._publisher = publisher
        self._record = record
        self._clock = clock
        key = store.derive_key(PURPOSE)
        self._requests = request_box(state, key, config.device.id)
        self._progress = ProgressBox(state, key, config.device.id)
        self._commands = CommandQueue(
            config.commands,
            config.device.id,
            state,
            {
                "enroll_start": self._start_unsigned,
                "enroll_cancel": self._cancel_command,
                CHOOSE: self._choose,
            },
            record=record,
        )
        publisher.listen(CommandQueue.filters, self._commands.receive)
        self._session: _Session | None = None
        self._chosen = ""
        self._shown_until_s = 0.0

    def tick(self) -> None:
        """Take up what is asked for, and end what takes too long. Raises `StoreError`."""
        self._commands.work()
        wanted = self._requests.take(self._clock())
        if wanted is not None and not wanted.person:
            self._end("canceled", "canceled")
        elif wanted is not None:
            try:
                self._start(wanted.person, request=wanted.id)
            except CommandFailed as failure:
                refused = {"id": wanted.id, "state": "failed", "message": failure.message}
                self._progress.put(refused)
        session, now_s = self._session, self._clock()
        if session is None:
            if self._shown_until_s and now_s >= self._shown_until_s:
                self._shown_until_s = 0.0
                self._publisher.set_status(enrollment=None)
        elif now_s - session.spoken_s >= self._settings.wait_s:
            self._end("timed_out", "nobody_spoke")
        elif now_s - session.began_s >= self._settings.total_s:
            self._end("timed_out", "too_long_in_all")

    def learn(self, engine: Engine, blocks: Sequence[AudioBlock]) -> None:
        """Take in an utterance."""
        session = self._session
        if session is None:
            return
        session.spoken_s = self._clock()
        enrollment = session.enrollment
        try:
            enrollment.add(engine, utterance_in(blocks))
            enrollment.finish()
        except EnrollmentRejected as rejected:
            session.refusals += 1
            self._tell(session, "refused", prompts.refused(rejected.reason))
            if session.refusals >= MOST_REFUSALS:
                self._end("failed", "too_many_refusals")
        except ProfileError:
            self._end("failed", "changed")
        except StoreError as error:
            _log.error("what was said could not be enrolled: %s", error)
            self._end("failed", "store")
        else:
            session.refusals = 0
            if enrollment.complete:
                self._end("complete" if enrollment.profile.confirmed else "unconfirmed", None)
            else:
                done, required = prompts.figures(enrollment.profile)
                self._tell(session, "accepted", f"{done} of {required} s: go on")

    def close(self) -> None:
        """The server stops."""
        self._end("canceled", "stopping")
        self._commands.close()

    # --- commands ---

    def _choose(self, arguments: Mapping[str, Any]) -> None:
        self._chosen = _clean(arguments["person"]) if arguments["person"] else ""
        self._publisher.set_status(enroll_person=self._chosen or None)

    def _start_unsigned(self, _: Mapping[str, Any]) -> None:
        if not self._chosen:
            raise CommandFailed("no_person", "no person given")
        self._start(self._chosen, request=None)

    def _cancel_command(self, _: Mapping[str, Any]) -> None:
        if self._session is None:
            raise CommandFailed("not_enrolling", "nobody is being enrolled")
        self._end("canceled", "canceled")

    def _start(self, person: str, request: str | None) -> None:
        if self._session is not None:
            raise CommandFailed("busy", "somebody is being enrolled: wait, or cancel")
        name = _clean(person)
        kind = EnrollmentRequest(name, ProfileKind.VOICE, remote=request is None)
        try:
            profile = self._store.get(name)
        except ProfileError:
            if self._store.count() >= MAX_PROFILES:
                text = f"no more than {MAX_PROFILES} profiles: delete one first"
                raise CommandFailed("full", text) from None
        else:
            if profile.status is ProfileStatus.UNCONFIRMED:
                raise CommandFailed("unconfirmed", f"{profile.name} is enrolled: confirm it")
        try:
            enrollment = Enrollment(self._store, kind, self._settings)
        except ProfileError as error:
            raise CommandFailed("exists", str(error)) from None
        enrollment.microphone = SATELLITE
        session = self._session = _Session(enrollment, request, self._clock())
        self.running = True
        _log.info("enrollment started: what is said to this assistant is not obeyed until it ends")
        required = prompts.figures(enrollment.profile)[1]
        text = f"read aloud to the satellite, {required} s of speech in all"
        self._tell(session, "started", text)

    def _end(self, state: str, reason: str | None) -> None:
        session, self._session = self._session, None
        self.running = False
        if session is None:
            return
        enrollment, profile = session.enrollment, session.enrollment.profile
        if profile.progress != session.before:
            detail: dict[str, Detail] = {
                "what": "enrolled",
                "complete": enrollment.complete and enrollment.stored,
                "signature": profile.kind.value,
                "by": "command line" if session.requested else "command",
            }
            self._record(Event(EventKind.ENROLLMENT, detail, profile.id))
        if enrollment.complete and name_key(self._chosen) == name_key(profile.name):
            self._chosen = ""
            self._publisher.set_status(enroll_person=None)
        if reason is not None:
            message = prompts.ended(reason, profile)
        elif profile.confirmed:
            message = prompts.complete(profile)
        else:
            message = prompts.unconfirmed(profile)
        _log.info("enrollment ended: %s%s", state, f" ({reason})" if reason else "")
        self._tell(session, state, message)
        self._shown_until_s = self._clock() + LINGER_S

    def _tell(self, session: _Session, state: str, message: str) -> None:
        profile = session.enrollment.profile
        done, required = prompts.figures(profile)
        shown = {
            "state": state, "person": profile.name, "done": done, "required": required,
            "message": message,
        }  # fmt: skip
        self._publisher.set_status(enrolling=self.running, enrollment=shown)
        self._shown_until_s = 0.0
        if session.requested:
            try:
                self._progress.put({"id": session.id, **shown})
            except StoreError as error:
                _log.warning("the command is not told how far the enrollment is: %s", error)


def _clean(name: str) -> str:
    try:
        cleaned = clean_name(name)
    except ProfileError:
        raise CommandFailed("bad_name", "invalid name: at most 64 printable characters") from None
    if name_key(cleaned).endswith(DURESS):
        raise CommandFailed("bad_name", f"a name cannot end in {DURESS}")
    return cleaned
