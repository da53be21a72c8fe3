"""An enrolment over MQTT: whoever speaks at the device is enrolled, and nothing opens meanwhile.

The worker's thread cuts utterances and examines them; the main thread stores what was taken, tells
how it goes, and ends it. One utterance at a time: the next one is examined against what the one
before it left in the store.

A session ends by itself: once the signature is complete, when nobody speaks or it takes too long,
and after too many refusals in a row. What was taken is kept, as at the command line, and the next
session for the same person goes on from there.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from edge.audio.endpoint import EndPointer
from edge.config import Config
from edge.daemon.naming import clean, refuse_duress
from edge.enrolment import prompts
from edge.enrolment.process import Enrolment, Examined, Wish
from edge.errors import EnrolmentRejected, ProfileError, StoreError
from edge.mqtt.desk import CommandFailed
from edge.recognition import Engine
from edge.store import MAX_PROFILES, ProfileStore
from edge.store.names import clean_phrase, name_key
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

    def __init__(self, enrolment: Enrolment, now: float) -> None:
        self.id = str(uuid.uuid4())
        self.enrolment = enrolment
        self.before = enrolment.profile.progress
        self.began_at = now
        self.heard_at = now
        self.refusals = 0
        self.failures = 0
        self.waiting: deque[Utterance] = deque(maxlen=_MOST_WAITING)
        self.outcome: Examined | Exception | None = None


class Enrolling:
    """The enrolment that is going on at this device, if any.

    Args:
        store: where signatures go.
        engine: the recogniser; embeds in the worker's thread only.
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
                session.outcome = EnrolmentRejected(prompts.LOST, "some of the sound was lost")
                self._wake()
            elif session.waiting:
                session.outcome = self._examine(session.enrolment, session.waiting.popleft())
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

    def _examine(self, enrolment: Enrolment, utterance: Utterance) -> Examined | Exception:
        if utterance.truncated:
            return EnrolmentRejected(ReasonCode.TOO_LONG.value, "longer than an utterance may be")
        try:
            return enrolment.examine(self._engine, utterance)
        except EnrolmentRejected as rejected:
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
        self._status(enrol_person=self._chosen or None)
        return None

    def start(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Enrol somebody, or go on with it.

        Raises:
            CommandFailed: `not_listening`, `busy`, `no_person`, `bad_name`, `exists`, `full`, or
                what was begun is of `other_kind`, of an `other_phrase` or of an `other_model`.
            StoreError: the store cannot be read.
        """
        person, phrase = arguments.get("person", self._chosen), arguments.get("phrase")
        if not self._listening():
            raise CommandFailed("not_listening", "listening is switched off: arm first")
        if self._session is not None:
            name = self._session.enrolment.profile.name
            raise CommandFailed("busy", f"{name} is being enrolled: wait, or enrol_cancel")
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
            enrolment = Enrolment(self._store, wish, self._config.enrolment)
        except ProfileError as error:  # a writer came between
            raise CommandFailed("exists", str(error)) from None
        session = _Session(enrolment, self._clock())
        self._session = session
        _log.info("an enrolment begins; nothing opens until it is over")
        message = prompts.begun(enrolment.profile)
        self._say(session, "started", None, message)
        done, required = prompts.figures(enrolment.profile)
        return {
            "session": session.id,
            "person": enrolment.profile.name,
            "profile_id": enrolment.profile.id or None,
            "done": done,
            "required": required,
            "message": message,
        }

    def cancel(self, reason: str = "cancelled") -> Mapping[str, Any] | None:
        """End what is going on; does nothing where nothing is.

        Args:
            reason: why; see `edge.enrolment.prompts.ended`.

        Returns:
            How far it came; None where nothing was going on.
        """
        session = self._session
        if session is None:
            return None
        self._end(session, "cancelled", reason)
        profile = session.enrolment.profile
        done, required = prompts.figures(profile)
        return {"profile_id": profile.id or None, "done": done, "required": required}

    def changed(self, profile: Profile) -> None:
        """Somebody is about to be deleted or reset: an enrolment of theirs is over."""
        session = self._session
        if session is not None and session.enrolment.profile.id == profile.id:
            self._end(session, "cancelled", "changed")
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
        if now - session.heard_at >= self._config.enrolment.wait_s:
            self._end(session, "timed_out", "nobody_spoke")
        elif now - session.began_at >= self._config.enrolment.total_s:
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
        if isinstance(outcome, EnrolmentRejected):
            self._refuse(session, outcome.reason)
        elif isinstance(outcome, ProfileError):
            self._end(session, "failed", "other_model")
        else:
            _log.error("an enrolment failed", exc_info=outcome)
            self._end(session, "failed", "internal")
        return True

    def _take(self, session: _Session, examined: Examined) -> bool:
        enrolment = session.enrolment
        try:
            enrolment.accept(examined)
        except ProfileError:
            self._end(session, "failed", "changed")
            return True
        except StoreError as error:
            session.failures += 1
            if session.failures < _MOST_FAILURES:
                return False
            _log.error("an enrolment could not be stored: %s", error)
            self._end(session, "failed", "store")
            return True
        session.failures = session.refusals = 0
        if enrolment.complete:
            self._end(session, "complete", None)
        else:
            # By now, since power may fail before the end; what is not stored is tried again there.
            self._remembered(enrolment, last=False)
            self._say(session, "accepted", None, prompts.taken(enrolment.profile))
        return True

    def _refuse(self, session: _Session, reason: str) -> None:
        session.refusals += 1
        first = not session.enrolment.profile.samples
        self._say(session, "refused", reason, prompts.refused(reason, first=first))
        if session.refusals >= MOST_REFUSALS:
            self._end(session, "failed", "too_many_refusals")

    def _end(self, session: _Session, state: str, reason: str | None) -> None:
        enrolment, profile = session.enrolment, session.enrolment.profile
        # Before anybody can open with it: what was said to enrol must not open when played.
        self._remember(enrolment)
        if profile.progress != session.before:
            detail: dict[str, Detail] = {
                "what": "enrolled",
                "complete": enrolment.complete,
                "signature": profile.kind.value,
                "by": "command",
            }
            self._record(Event(EventKind.ENROLMENT, detail, profile.id))
        self._refresh()
        self._session = None
        if enrolment.complete and name_key(self._chosen) == name_key(profile.name):
            self._chosen = ""
            self._status(enrol_person=None)
        message = prompts.complete(profile)
        if reason is not None:
            message = prompts.ended(reason, profile)
        _log.info("the enrolment is over: %s%s", state, f" ({reason})" if reason else "")
        self._say(session, state, reason, message)
        self._shown = (self._clock() + LINGER_S, name_key(profile.name))

    def _remember(self, enrolment: Enrolment) -> None:
        for left in reversed(range(_REMEMBERING)):
            if self._remembered(enrolment, last=left == 0):
                return

    def _remembered(self, enrolment: Enrolment, *, last: bool) -> bool:
        try:
            enrolment.remember(self._config.replay)
        except ProfileError:  # gone, and with it what it would open
            return True
        except StoreError as error:
            if last:
                _log.warning("a recording of this enrolment would not be known: %s", error)
            return False
        return True

    def _say(self, session: _Session, state: str, reason: str | None, message: str) -> None:
        profile = session.enrolment.profile
        done, required = prompts.figures(profile)
        shown = {
            "state": state,
            "person": profile.name,
            "done": done,
            "required": required,
            "message": message,
        }
        self._status(enrolling=self._session is not None, enrolment=shown)
        self._shown = None
        self._publish(
            {"id": session.id, "profile_id": profile.id or None, "reason": reason, **shown}
        )

    def _show_nothing(self) -> None:
        self._shown = None
        self._status(enrolment=None)
