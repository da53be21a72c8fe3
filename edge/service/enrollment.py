"""Names that people are to be enrolled under, as they come in over MQTT."""

from __future__ import annotations

import contextlib
import logging
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from edge.audio.end_pointing import EndPointer
from edge.config import Config
from edge.enrollment import prompts
from edge.enrollment.process import DURESS, Enrollment, Examined, Wish
from edge.errors import EnrollmentRejected, ProfileError, StoreError
from edge.mqtt.command_queue import CommandFailed
from edge.recognition import Engine
from edge.store import MAX_PROFILES, ProfileStore
from edge.store.names import clean_name, clean_phrase, name_key
from edge.types import (
    AudioBlock,
    Detail,
    Event,
    EventKind,
    Profile,
    ProfileKind,
    ProfileStatus,
    ReasonCode,
    Utterance,
)


def clean(name: str) -> str:
    """The name as it is kept.

    Raises:
        CommandFailed: `bad_name`.
    """
    with contextlib.suppress(ProfileError):
        return clean_name(name)
    raise CommandFailed("bad_name", "no name: at most 64 characters, all of which print")


def refuse_duress(name: str) -> None:
    """Refuse the name of a duress phrase, whether there is one or not.

    That one is taken and another is not would tell who has one.

    Raises:
        CommandFailed: `bad_name`.
    """
    if name_key(name).endswith(DURESS):
        raise CommandFailed("bad_name", f"a name cannot end in {DURESS}: choose another")


MOST_REFUSALS = 8
"""Refusals in a row after which something else is wrong than the last repetition."""
LINGER_S = 60.0
"""How long the status says how the last session ended."""
_MOST_WAITING = 4
_MOST_FAILURES = 10
"""Times in a row that the store may be busy before a session is given up."""
_REMEMBERING = 4

_log = logging.getLogger(__name__)


class _Session:
    """One that is going on; `outcome` is the worker's to set and the main thread's to take."""

    def __init__(self, enrollment: Enrollment, now: float) -> None:
        self.id = str(uuid.uuid4())
        self.enrollment = enrollment
        self.before = enrollment.profile.progress
        self.began_at = now
        self.heard_at = now
        self.refusals = 0
        self.failures = 0
        self.waiting: deque[Utterance] = deque(maxlen=_MOST_WAITING)
        self.outcome: Examined | Exception | None = None


class Enrolling:
    """The enrollment that is going on at this device, if any.

    Args:
        store: where signatures go.
        engine: the recognizer; embeds in the worker's thread only.
        endpointer: cuts the stream.
        config: how much is required, and for how long anybody is waited for.
        listening: whether the device listens.
        refresh: makes the device know who is enrolled now, and what they said.
        publish: tells displays how it goes.
        status: changes what the retained status says.
        record: takes what happened, for the audit trail.
        wake: makes the main thread call `work` soon.
        clock: seconds that go on by one every second, as `time.monotonic`.
    """

    def __init__(
        self,
        store: ProfileStore,
        engine: Engine,
        endpointer: EndPointer,
        config: Config,
        *,
        listening: Callable[[], bool],
        refresh: Callable[[], None],
        publish: Callable[[Mapping[str, Any]], None],
        status: Callable[..., None],
        record: Callable[[Event], None],
        wake: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._engine = engine
        self._endpointer = endpointer
        self._config = config
        self._listening = listening
        self._refresh = refresh
        self._publish = publish
        self._status = status
        self._record = record
        self._wake = wake
        self._clock = clock
        self._session: _Session | None = None
        self._heard: _Session | None = None
        self._from_s = 0.0
        self._chosen = ""
        self._shown: tuple[float, str] | None = None

    @property
    def running(self) -> bool:
        """Whether somebody is being enrolled, so that nothing opens."""
        return self._session is not None

    # --- the worker's thread ---

    def hear(self, block: AudioBlock) -> bool:
        """Take a block, if somebody is being enrolled.

        Returns:
            Whether it was taken: nothing is to be decided on it then.
        """
        session = self._session
        if session is not self._heard:
            self._begin_or_end(session, block.start_s)
        if session is None:
            return False
        lost_before = self._endpointer.discarded
        utterances = [
            utterance
            for utterance in self._endpointer.feed(block)
            if utterance.start_s + utterance.lead_s >= self._from_s
            and utterance.speech_ended_at > session.began_at
        ]
        session.waiting.extend(utterances)
        if utterances or self._endpointer.speaking:
            session.heard_at = self._clock()
        if session.outcome is None:
            if self._endpointer.discarded > lost_before:
                session.outcome = EnrollmentRejected(prompts.LOST, "some of the sound was lost")
                self._wake()
            elif session.waiting:
                session.outcome = self._examine(session.enrollment, session.waiting.popleft())
                self._wake()
        return True

    def _begin_or_end(self, session: _Session | None, position_s: float) -> None:
        """What is being said at this moment belongs to neither side."""
        if session is None:
            self._endpointer.flush()
        # To flush here would make a repetition of the rest of somebody's sentence. And what still
        # waited in the machine when it began was not meant for it either.
        self._from_s = position_s
        self._heard = session

    def _examine(self, enrollment: Enrollment, utterance: Utterance) -> Examined | Exception:
        if utterance.truncated:
            return EnrollmentRejected(ReasonCode.TOO_LONG.value, "longer than an utterance may be")
        try:
            return enrollment.examine(self._engine, utterance)
        except EnrollmentRejected as rejected:
            return rejected
        except Exception as error:  # noqa: BLE001 (told by the main thread; the door comes first)
            return error

    # --- the main thread ---

    def choose(self, arguments: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Whom the next session is for that names nobody; an empty name is nobody.

        Raises:
            CommandFailed: `bad_name`.
        """
        name = arguments["person"]
        self._chosen = clean(name) if name else ""
        self._status(enroll_person=self._chosen or None)
        return None

    def start(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Enroll somebody, or go on with it.

        Raises:
            CommandFailed: `not_listening`, `busy`, `no_person`, `bad_name`, `exists`, `full`, or
                what was begun is of `other_kind`, of an `other_phrase` or of an `other_model`.
            StoreError: the store cannot be read.
        """
        person, phrase = arguments.get("person", self._chosen), arguments.get("phrase")
        if not self._listening():
            raise CommandFailed("not_listening", "listening is switched off: arm first")
        if self._session is not None:
            name = self._session.enrollment.profile.name
            raise CommandFailed("busy", f"{name} is being enrolled: wait, or enroll_cancel")
        if not person:
            raise CommandFailed("no_person", "nobody is chosen: name a person first")
        refuse_duress(person)
        try:
            profile = self._store.get(person)
        except ProfileError:
            name = clean(person)
            if self._store.count() >= MAX_PROFILES:
                text = f"there are {MAX_PROFILES} profiles, which is the most: delete one"
                raise CommandFailed("full", text) from None
        else:
            name = profile.name
            self._require_open(profile, phrase)
        wish = Wish(name, ProfileKind.PHRASE, phrase)
        try:
            enrollment = Enrollment(self._store, wish, self._config.enrollment)
        except ProfileError as error:  # a writer came between
            raise CommandFailed("exists", str(error)) from None
        session = _Session(enrollment, self._clock())
        self._session = session
        _log.info("an enrollment begins; nothing opens until it is over")
        message = prompts.begun(enrollment.profile)
        self._say(session, "started", None, message)
        done, required = prompts.figures(enrollment.profile)
        return {
            "session": session.id,
            "person": enrollment.profile.name,
            "profile_id": enrollment.profile.id or None,
            "done": done,
            "required": required,
            "message": message,
        }

    def cancel(self, reason: str = "canceled") -> Mapping[str, Any] | None:
        """End what is going on; does nothing where nothing is.

        Args:
            reason: why; see `edge.enrollment.prompts.ended`.

        Returns:
            How far it came; None where nothing was going on.
        """
        session = self._session
        if session is None:
            return None
        self._end(session, "canceled", reason)
        profile = session.enrollment.profile
        done, required = prompts.figures(profile)
        return {"profile_id": profile.id or None, "done": done, "required": required}

    def changed(self, profile: Profile) -> None:
        """Somebody is about to be deleted or reset: an enrollment of theirs is over."""
        session = self._session
        if session is not None and session.enrollment.profile.id == profile.id:
            self._end(session, "canceled", "changed")
        if self._shown is not None and self._shown[1] == name_key(profile.name):
            self._show_nothing()

    def work(self) -> None:
        """Store what was examined, and notice the end; for every tick of the main thread."""
        session = self._session
        if session is None:
            if self._shown is not None and self._clock() >= self._shown[0]:
                self._show_nothing()
            return
        outcome = session.outcome
        if outcome is not None:
            if self._settled(session, outcome):
                session.outcome = None
            return
        now = self._clock()
        if now - session.heard_at >= self._config.enrollment.wait_s:
            self._end(session, "timed_out", "nobody_spoke")
        elif now - session.began_at >= self._config.enrollment.total_s:
            self._end(session, "timed_out", "too_long_in_all")

    def close(self) -> None:
        """The device stops."""
        self.cancel("stopping")

    def _require_open(self, profile: Profile, phrase: str | None) -> None:
        if profile.duress_of is not None or profile.status is ProfileStatus.ENROLLED:
            raise CommandFailed("exists", "this name is enrolled already: reset or delete first")
        if profile.kind is not ProfileKind.PHRASE:
            text = f"{profile.name} is enrolled by free speech: edge-voice enroll --voice goes on"
            raise CommandFailed("other_kind", text)
        if not self._engine.fits(profile):
            text = f"{profile.name} was begun with another model: reset first"
            raise CommandFailed("other_model", text)
        if phrase is not None and clean_phrase(phrase) != profile.phrase:
            text = f"{profile.name} was begun with another phrase: leave it out, or reset first"
            raise CommandFailed("other_phrase", text)

    def _settled(self, session: _Session, outcome: Examined | Exception) -> bool:
        """Whether an outcome is dealt with; if not, it will be tried again."""
        if isinstance(outcome, Examined):
            return self._take(session, outcome)
        if isinstance(outcome, EnrollmentRejected):
            self._refuse(session, outcome.reason)
        elif isinstance(outcome, ProfileError):
            self._end(session, "failed", "other_model")
        else:
            _log.error("an enrollment failed", exc_info=outcome)
            self._end(session, "failed", "internal")
        return True

    def _take(self, session: _Session, examined: Examined) -> bool:
        enrollment = session.enrollment
        try:
            enrollment.accept(examined)
        except ProfileError:
            self._end(session, "failed", "changed")
            return True
        except StoreError as error:
            session.failures += 1
            if session.failures < _MOST_FAILURES:
                return False
            _log.error("an enrollment could not be stored: %s", error)
            self._end(session, "failed", "store")
            return True
        session.failures = session.refusals = 0
        if enrollment.complete:
            self._end(session, "complete", None)
        else:
            # By now, since power may fail before the end; what is not stored is tried again there.
            self._remembered(enrollment, last=False)
            self._say(session, "accepted", None, prompts.taken(enrollment.profile))
        return True

    def _refuse(self, session: _Session, reason: str) -> None:
        session.refusals += 1
        first = not session.enrollment.profile.samples
        self._say(session, "refused", reason, prompts.refused(reason, first=first))
        if session.refusals >= MOST_REFUSALS:
            self._end(session, "failed", "too_many_refusals")

    def _end(self, session: _Session, state: str, reason: str | None) -> None:
        enrollment, profile = session.enrollment, session.enrollment.profile
        # Before anybody can open with it: what was said to enroll must not open when played.
        self._remember(enrollment)
        if profile.progress != session.before:
            detail: dict[str, Detail] = {
                "what": "enrolled",
                "complete": enrollment.complete,
                "signature": profile.kind.value,
                "by": "command",
            }
            self._record(Event(EventKind.ENROLLMENT, detail, profile.id))
        self._refresh()
        self._session = None
        if enrollment.complete and name_key(self._chosen) == name_key(profile.name):
            self._chosen = ""
            self._status(enroll_person=None)
        message = prompts.complete(profile)
        if reason is not None:
            message = prompts.ended(reason, profile)
        _log.info("the enrollment is over: %s%s", state, f" ({reason})" if reason else "")
        self._say(session, state, reason, message)
        self._shown = (self._clock() + LINGER_S, name_key(profile.name))

    def _remember(self, enrollment: Enrollment) -> None:
        for left in reversed(range(_REMEMBERING)):
            if self._remembered(enrollment, last=left == 0):
                return

    def _remembered(self, enrollment: Enrollment, *, last: bool) -> bool:
        try:
            enrollment.remember(self._config.replay)
        except ProfileError:  # gone, and with it what it would open
            return True
        except StoreError as error:
            if last:
                _log.warning("a recording of this enrollment would not be known: %s", error)
            return False
        return True

    def _say(self, session: _Session, state: str, reason: str | None, message: str) -> None:
        profile = session.enrollment.profile
        done, required = prompts.figures(profile)
        shown = {
            "state": state,
            "person": profile.name,
            "done": done,
            "required": required,
            "message": message,
        }
        self._status(enrolling=self._session is not None, enrollment=shown)
        self._shown = None
        self._publish(
            {"id": session.id, "profile_id": profile.id or None, "reason": reason, **shown}
        )

    def _show_nothing(self) -> None:
        self._shown = None
        self._status(enrollment=None)
