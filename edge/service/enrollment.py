"""Enrollment over MQTT: one person at a time, at the door's own microphone.

It ends with a profile that the owner has to confirm before it opens (`edge.service.confirmation`).

The worker's thread cuts and examines utterances; the main thread stores them and reports progress.
While somebody is being enrolled nothing opens.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from edge.audio.end_pointing import EndPointer
from edge.enrollment import prompts
from edge.enrollment.process import DURESS, Enrollment, EnrollmentRequest, Examined
from edge.enrollment.same_voice import others_with_voice
from edge.enrollment.trial import Trial, try_out
from edge.errors import EnrollmentRejected, ProfileError, StoreError
from edge.mqtt.command_queue import CommandFailed
from edge.service.confirmation import APART_S, Unconfirmed
from edge.service.context import ServiceContext
from edge.store import MAX_PROFILES
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

MOST_REFUSALS = 8
"""Refusals in a row after which the session fails."""
LINGER_S = 60.0
"""How long the status shows how the last session ended."""
_MOST_WAITING = 4
_MOST_FAILURES = 10
"""Times in a row that the store may be busy before a session fails."""
_REMEMBERING = 4
_MOST_TOLD = 64
_TRIALS = 3
_TRIAL_S, _TRIAL_WAIT_S = 60.0, 15.0
"""A trial can be skipped by saying nothing."""

_log = logging.getLogger(__name__)


class _Session:
    """One enrollment; the worker sets `outcome`, the main thread clears it."""

    def __init__(self, enrollment: Enrollment, now: float) -> None:
        self.id = str(uuid.uuid4())
        self.enrollment = enrollment
        self.before = enrollment.profile.progress
        self.began_at = now
        self.spoken_at = now
        self.refusals = 0
        self.failures = 0
        self.waiting: deque[Utterance] = deque(maxlen=_MOST_WAITING)
        self.outcome: Examined | Trial | Exception | None = None
        self.trials = 0
        self.trying = False


class RemoteEnrollment:
    """The enrollment going on at this device, if any.

    Attributes:
        wants_blocks: whether `feed` is to be called, else it would do nothing.
        microphone: the kind of microphone that is listened to, see `edge.types.microphone`.
        told: what was reported, for those who watch; the oldest make room.
    """

    def __init__(
        self,
        context: ServiceContext,
        endpointer: EndPointer,
        unconfirmed: Unconfirmed,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.wants_blocks = False
        self.microphone = ""
        self.told: deque[Mapping[str, Any]] = deque(maxlen=_MOST_TOLD)
        self._context = context
        self._store = context.store
        self._settings = context.config.enrollment
        self._endpointer = endpointer
        self._unconfirmed = unconfirmed
        self._usual = endpointer.settings
        self._clock = clock
        self._session: _Session | None = None
        self._fed: _Session | None = None
        self._from_s = 0.0
        self._chosen = ""
        self._shown: tuple[float, str] | None = None

    @property
    def running(self) -> bool:
        """Whether somebody is being enrolled."""
        return self._session is not None

    # --- the worker's thread ---

    def feed(self, block: AudioBlock) -> bool:
        """Take in a block; False where nobody is being enrolled."""
        self.wants_blocks = False  # before the look at the session, which `start` may set now
        session = self._session
        if session is not self._fed:
            self._begin_or_end(session, block.start_s)
        if session is None:
            return False
        self.wants_blocks = True
        lost_before = self._endpointer.discarded
        utterances = [
            utterance
            for utterance in self._endpointer.feed(block)
            if utterance.start_s + utterance.lead_s >= self._from_s
            and utterance.speech_ended_at > session.began_at
        ]
        session.waiting.extend(utterances)
        if utterances or self._endpointer.speaking:
            session.spoken_at = self._clock()
        if session.outcome is None:
            if self._endpointer.discarded > lost_before:
                session.outcome = EnrollmentRejected(prompts.LOST, "some of the sound was lost")
                self._context.control.wake.set()
            elif session.waiting:
                work = self._try_out if session.trying else self._examine
                session.outcome = work(session.enrollment, session.waiting.popleft())
                self._context.control.wake.set()
        return True

    def _begin_or_end(self, session: _Session | None, position_s: float) -> None:
        """What is being said at this moment belongs neither to the session nor to the door."""
        if session is None:
            self._endpointer.flush()
            self._endpointer.use(self._usual)
        else:
            self._endpointer.use(self._usual.patient())
        # At the beginning, a flush would make a repetition of the rest of somebody's sentence.
        self._from_s = position_s
        self._fed = session

    def _examine(self, enrollment: Enrollment, utterance: Utterance) -> Examined | Exception:
        if utterance.truncated:
            return EnrollmentRejected(ReasonCode.TOO_LONG.value, "longer than an utterance may be")
        try:
            return enrollment.examine(self._context.engine, utterance)
        except EnrollmentRejected as rejected:
            return rejected
        except Exception as error:  # noqa: BLE001 (logged by the main thread; the worker must go on)
            return error

    def _try_out(self, enrollment: Enrollment, utterance: Utterance) -> Trial | Exception:
        context = self._context
        try:
            # It reads the store in this thread: nothing opens meanwhile, and the engine is here.
            return try_out(
                context.engine, context.store, context.config, enrollment.profile, utterance
            )
        except Exception as error:  # noqa: BLE001 (logged by the main thread; the worker must go on)
            return error

    # --- the main thread ---

    def choose(self, arguments: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Choose the person for a `start` that names nobody; an empty name clears the choice.

        Raises:
            CommandFailed: `bad_name`.
        """
        name = arguments["person"]
        self._chosen = _clean(name) if name else ""
        self._context.publisher.set_status(enroll_person=self._chosen or None)
        return None

    def require_possible(self) -> None:
        """Raise `CommandFailed` where nobody can be enrolled now: `not_listening` or `busy`."""
        if not self._context.listening.on:
            raise CommandFailed("not_listening", "listening is switched off: arm first")
        if self._session is not None:
            name = self._session.enrollment.profile.name
            raise CommandFailed("busy", f"{name} is being enrolled: wait, or enroll_cancel")

    def start(self, arguments: Mapping[str, Any], *, trial: bool = False) -> Mapping[str, Any]:
        """Begin or continue an enrollment, or a second session of somebody who is unconfirmed.

        With `trial` something is said once more at the end, to see whether it would open.

        Raises:
            CommandFailed: `not_listening`, `busy`, `no_person`, `bad_name`, `exists`, `full`,
                `unconfirmed`, `other_kind`, `other_phrase` or `other_model`.
            StoreError: the store cannot be read.
        """
        person, phrase = arguments.get("person", self._chosen), arguments.get("phrase")
        self.require_possible()
        if not person:
            raise CommandFailed("no_person", "no person given")
        _refuse_duress(person)
        try:
            profile = self._store.get(person)
        except ProfileError:
            name = _clean(person)
            if self._store.count() >= MAX_PROFILES:
                text = f"no more than {MAX_PROFILES} profiles: delete one first"
                raise CommandFailed("full", text) from None
        else:
            name = profile.name
            self._require_open(profile, phrase)
            if profile.status is ProfileStatus.UNCONFIRMED:
                self._require_second(profile, signed="person" in arguments)
        request = EnrollmentRequest(name, ProfileKind.PHRASE, phrase, remote=True)
        try:
            replay = self._context.config.replay
            enrollment = Enrollment(self._store, request, self._settings, replay)
        except ProfileError as error:  # a writer came between
            raise CommandFailed("exists", str(error)) from None
        enrollment.microphone = self.microphone
        session = _Session(enrollment, self._clock())
        session.trials = _TRIALS if trial else 0
        self._session = session
        self.wants_blocks = True
        _log.info("enrollment started; nothing opens until it ends")
        profile = enrollment.profile
        message = prompts.started(profile)
        self._report(session, "started", None, message)
        return {
            "session": session.id, "person": profile.name, **_progress(profile), "message": message,
        }  # fmt: skip

    def cancel(self, reason: str = "canceled") -> Mapping[str, Any] | None:
        """End the session, for a reason of `edge.enrollment.prompts.ended`.

        Returns how far it came; None where there was no session.
        """
        session = self._session
        if session is None:
            return None
        if session.trying:
            self._end_trial(session)
        else:
            self._end(session, "canceled", reason)
        return _progress(session.enrollment.profile)

    def to_confirm(self) -> str:
        """Id of whom an unsigned confirmation is for: the one who is chosen, or who alone waits.

        Raises:
            CommandFailed: `no_person`.
        """
        waiting = self._unconfirmed.waiting
        if self._chosen:
            chosen = name_key(self._chosen)
            waiting = [profile for profile in waiting if name_key(profile.name) == chosen]
        if len(waiting) != 1:
            raise CommandFailed("no_person", "not one person waits: choose whom to confirm")
        return waiting[0].id

    def changed(self, profile: Profile) -> None:
        """End the session of somebody who is about to be deleted, reset or confirmed."""
        session = self._session
        if session is not None and session.enrollment.profile.id == profile.id:
            self.cancel("changed")
        if self._shown is not None and self._shown[1] == name_key(profile.name):
            self._show_nothing()

    def tick(self) -> None:
        """Store what was examined, end a session that takes too long, remove who waits too long."""
        for profile in self._unconfirmed.expired():
            self._expire(profile)
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
        if session.trying:
            if now - session.spoken_at >= _TRIAL_WAIT_S or now - session.began_at >= _TRIAL_S:
                self._end_trial(session)
        elif now - session.spoken_at >= self._settings.wait_s:
            self._end(session, "timed_out", "nobody_spoke")
        elif now - session.began_at >= self._settings.total_s:
            self._end(session, "timed_out", "too_long_in_all")

    def close(self) -> None:
        """The service stops."""
        self.cancel("stopping")

    def _require_open(self, profile: Profile, phrase: str | None) -> None:
        if profile.duress_of is not None or profile.status is ProfileStatus.ENROLLED:
            raise CommandFailed("exists", "already enrolled: reset or delete first")
        if profile.kind is not ProfileKind.PHRASE:
            text = f"{profile.name} enrolls by free speech: use edge-voice enroll --voice"
            raise CommandFailed("other_kind", text)
        if not self._context.engine.fits(profile):
            text = f"{profile.name} was begun with another model: reset first"
            raise CommandFailed("other_model", text)
        if phrase is not None and clean_phrase(phrase) != profile.phrase:
            text = f"{profile.name} was begun with another phrase: omit the phrase, or reset first"
            raise CommandFailed("other_phrase", text)

    def _require_second(self, profile: Profile, *, signed: bool) -> None:
        """Refuse a second session that anyone may have begun, or that is no other occasion."""
        wait_s = APART_S - self._unconfirmed.age_s(profile)
        if not signed or wait_s > 0:
            again = f", or enroll once more in {math.ceil(wait_s / 60)} minutes" if signed else ""
            raise CommandFailed("unconfirmed", f"{profile.name} is enrolled: confirm it{again}")

    def _expire(self, profile: Profile) -> None:
        self.changed(profile)
        try:
            if self._store.get(profile.id).status is ProfileStatus.UNCONFIRMED:
                self._store.reset(profile.id)
        except ProfileError:
            return  # deleted meanwhile
        except StoreError as error:
            _log.warning("an enrollment that nobody confirmed is not removed yet: %s", error)
            return
        _log.info("an enrollment was removed: nobody has confirmed it")
        detail: dict[str, Detail] = {"what": "reset", "by": "nobody confirmed it"}
        self._context.trail.record(Event(EventKind.CHANGE, detail, profile.id))
        self._context.profiles.refresh()

    def _settled(self, session: _Session, outcome: Examined | Trial | Exception) -> bool:
        """Whether an outcome is dealt with; if not, it is tried again."""
        if session.trying or isinstance(outcome, Trial):
            self._tried(session, outcome)
            return True
        if isinstance(outcome, Examined):
            return self._store_sample(session, outcome)
        if isinstance(outcome, EnrollmentRejected):
            self._refuse(session, outcome.reason)
        elif isinstance(outcome, ProfileError):
            self._end(session, "failed", "other_model")
        else:
            _log.error("enrollment failed", exc_info=outcome)
            self._end(session, "failed", "internal")
        return True

    def _store_sample(self, session: _Session, examined: Examined) -> bool:
        enrollment = session.enrollment
        try:
            if not enrollment.complete:  # only the store was busy
                enrollment.accept(examined)
            enrollment.finish()
        except ProfileError:
            self._end(session, "failed", "changed")
            return True
        except StoreError as error:
            session.failures += 1
            if session.failures < _MOST_FAILURES:
                return False
            _log.error("enrollment could not be stored: %s", error)
            self._end(session, "failed", "store")
            return True
        session.failures = session.refusals = 0
        if enrollment.confirms and enrollment.complete:
            self._end(session, "complete", None)
        elif enrollment.complete:
            self._end(session, "unconfirmed", None)
        else:
            # Power may fail before the end, where what is not stored now is tried again.
            self._remember(enrollment)
            self._report(session, "accepted", None, prompts.accepted(enrollment.profile))
        return True

    def _refuse(self, session: _Session, reason: str) -> None:
        session.refusals += 1
        first = not session.enrollment.profile.samples
        self._report(session, "refused", reason, prompts.refused(reason, first=first))
        if session.refusals >= MOST_REFUSALS:
            self._end(session, "failed", "too_many_refusals")

    def _end(self, session: _Session, state: str, reason: str | None) -> None:
        enrollment, profile = session.enrollment, session.enrollment.profile
        # Before anybody can open: a recording of the enrollment must not.
        self._remember(enrollment, tries=_REMEMBERING)
        if profile.progress != session.before:
            detail: dict[str, Detail] = {
                "what": "second session" if enrollment.confirms else "enrolled",
                "complete": enrollment.complete and enrollment.stored,
                "signature": profile.kind.value,
                "by": "command",
            }
            self._context.trail.record(Event(EventKind.ENROLLMENT, detail, profile.id))
        self._context.profiles.refresh()
        self._session = None
        if enrollment.complete and name_key(self._chosen) == name_key(profile.name):
            self._chosen = ""
            self._context.publisher.set_status(enroll_person=None)
        message = self._message_at_end(session, reason)
        _log.info("enrollment ended: %s%s", state, f" ({reason})" if reason else "")
        self._report(session, state, reason, message)
        self._shown = (self._clock() + LINGER_S, name_key(profile.name))
        if session.trials and reason is None:
            self._begin_trial(session)

    def _message_at_end(self, session: _Session, reason: str | None) -> str:
        enrollment = session.enrollment
        profile = enrollment.profile
        if reason is not None:
            return prompts.ended(reason, profile, saved=not enrollment.confirms)
        if enrollment.confirms:
            return prompts.complete(profile)
        return prompts.unconfirmed(profile, twice=self.enrolled_twice(profile))

    def enrolled_twice(self, profile: Profile) -> bool:
        """Whether somebody is enrolled under another name too."""
        card = self._context.engine.models.speaker.card
        return bool(others_with_voice(profile, self._context.profiles.profiles, card))

    def _remember(self, enrollment: Enrollment, tries: int = 0) -> None:
        """Store the fingerprints of what was said; after the last try a busy store is logged."""
        try:
            enrollment.remember(self._context.config.replay)
        except ProfileError:
            pass  # deleted, and with it what a recording would open
        except StoreError as error:
            if tries > 1:
                self._remember(enrollment, tries - 1)
            elif tries == 1:
                _log.warning("a recording of this enrollment will not be recognized: %s", error)

    def _begin_trial(self, session: _Session) -> None:
        """Go on listening, for what is only judged: nothing opens, and nothing is stored."""
        now = self._clock()
        session.trying, session.began_at, session.spoken_at = True, now, now
        session.waiting.clear()
        self._session = session
        self.wants_blocks = True
        self._context.publisher.set_status(enrolling=True)
        self._tell(session, "trying", "now a trial: say it once more, as at the door")

    def _tried(self, session: _Session, outcome: Examined | Trial | Exception) -> None:
        session.trials -= 1
        if isinstance(outcome, Trial):
            self._tell(session, "tried", outcome.meaning, trial=outcome.as_dict())
            if outcome.accepted or not session.trials:
                self._end_trial(session)
        elif isinstance(outcome, EnrollmentRejected):  # some of the sound was lost
            self._tell(session, "trying", prompts.refused(outcome.reason))
        else:
            error = outcome if isinstance(outcome, Exception) else None
            _log.error("a trial failed", exc_info=error)
            self._end_trial(session)

    def _end_trial(self, session: _Session) -> None:
        self._session = None
        self._context.publisher.set_status(enrolling=False)
        self._tell(session, "over", "the trial is over")

    def _tell(self, session: _Session, state: str, message: str, **fields: Any) -> None:
        profile = session.enrollment.profile
        shown = {"id": session.id, "state": state, "person": profile.name, **_progress(profile)}
        self.told.append({**shown, "message": message, **fields})

    def _report(self, session: _Session, state: str, reason: str | None, message: str) -> None:
        profile = session.enrollment.profile
        progress = _progress(profile)
        profile_id = progress.pop("profile_id")
        shown = {"state": state, "person": profile.name, **progress, "message": message}
        self._context.publisher.set_status(enrolling=self._session is not None, enrollment=shown)
        self._shown = None
        told = {"id": session.id, "profile_id": profile_id, "reason": reason, **shown}
        self._context.messages.enrollment(told)
        self.told.append(told)

    def _show_nothing(self) -> None:
        self._shown = None
        self._context.publisher.set_status(enrollment=None)


def _progress(profile: Profile) -> dict[str, Any]:
    done, required = prompts.figures(profile)
    return {"profile_id": profile.id or None, "done": done, "required": required}


def _clean(name: str) -> str:
    with contextlib.suppress(ProfileError):
        return clean_name(name)
    raise CommandFailed("bad_name", "invalid name: at most 64 printable characters")


def _refuse_duress(name: str) -> None:
    """Refuse the name of a duress phrase, whether it exists or not, as that would reveal it."""
    if name_key(name).endswith(DURESS):
        raise CommandFailed("bad_name", f"a name cannot end in {DURESS}")
