"""Who is asked for digits, and who judges their answers.

Some always are, by their own rule or the door's. And whoever runs the house may demand digits of
the next one who says a passphrase, whoever it is.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from datetime import datetime

from edge.challenge.answers import AnswerJudge
from edge.challenge.rounds import ROUNDS, DigitRound
from edge.config import ChallengeConfig
from edge.errors import ProfileError
from edge.recognition.engine import Engine
from edge.types import Profile, ProfileKind

Digits = Callable[[str], Sequence[DigitRound]]
"""The enrolled rounds of a profile, by its id; may raise `EdgeVoiceError`."""

_Enrolled = tuple[object, ...]

_MOST_JUDGES = 64
DEMANDED_S = 300.0
"""How long a demand holds, seconds."""

_log = logging.getLogger(__name__)


class Asking:
    """The people who may be asked. Any thread may use it, but for `use` and `judge_of`.

    Args:
        config: whom to ask.
        engine: the recognizer.
        digits: where enrolled digits are found.
        now: the local time.

    Attributes:
        profiles: who is known.
    """

    def __init__(
        self,
        config: ChallengeConfig,
        engine: Engine,
        digits: Digits,
        now: Callable[[], datetime],
    ) -> None:
        self.profiles: Sequence[Profile] = ()
        self._config = config
        self._engine = engine
        self._digits = digits
        self._now = now
        self._judges: dict[str, tuple[_Enrolled, AnswerJudge]] = {}
        self._demanded_until = -1.0
        self._problems: dict[str, str] = {}

    def use(self, profiles: Sequence[Profile]) -> None:
        """Know these people from now on."""
        self.profiles = profiles
        self._problems = {}

    @property
    def problem(self) -> str | None:
        """Why somebody who must be asked cannot be, for the device's status; None if nobody."""
        return next(iter(list(self._problems.values())), None)

    @property
    def demanded(self) -> bool:
        """Whether the next one who says a passphrase is asked, whoever it is."""
        return time.monotonic() < self._demanded_until

    def demand(self) -> None:
        """Ask whoever says a passphrase next, until one has answered or `DEMANDED_S` are over.

        Who has enrolled no digits is not let in meanwhile.
        """
        self._demanded_until = time.monotonic() + DEMANDED_S

    def satisfied(self) -> None:
        """Somebody has answered: a demand is over."""
        self._demanded_until = -1.0

    def able(self) -> int:
        """How many people could answer; they are prepared for, as `prepare` does."""
        return sum(self._can_answer(profile) for profile in self._openers())

    def prepare(self) -> None:
        """Get ready for everybody who is asked, which takes a second each on a small device.

        May be called from another thread than the rest, such as after `use`.
        """
        for profile in self._openers():
            if profile.rule.challenge or self._config.required != "never":
                judge = self.judge_of(profile)
                if judge is not None:
                    judge.choices()

    def must_ask(self, profile: Profile) -> bool:
        """Whether somebody is asked now, demanded or not."""
        required = self._config.required
        if profile.rule.challenge or required == "always":
            return True
        if required == "never":
            return False
        now = self._now()
        minute = now.hour * 60 + now.minute
        begin, end = self._config.minutes
        if begin < end:
            return begin <= minute < end
        return minute >= begin or minute < end

    def judge_of(self, profile: Profile) -> AnswerJudge | None:
        """Who judges what somebody answers; None where they cannot be asked."""
        try:
            judge = self._known_judge(profile)
        except Exception as error:  # noqa: BLE001 - whatever is wrong, the door stays shut
            problem = (
                f"{profile.name} has to be asked for digits and cannot be ({error}):"
                f" run edge-voice enroll {profile.name!r} --digits"
            )
            if self._problems.get(profile.id) != problem:
                _log.warning("%s", problem)
            if self.must_ask(profile):  # a demand is soon over, and no problem of the device
                self._problems[profile.id] = problem
            return None
        self._problems.pop(profile.id, None)
        return judge

    def _can_answer(self, profile: Profile) -> bool:
        try:
            self._known_judge(profile).choices()
        except Exception as error:  # noqa: BLE001 (whatever is wrong, this one cannot)
            _log.debug("%s cannot be asked for digits: %s", profile.name, error)
            return False
        return True

    def _openers(self) -> list[Profile]:
        """Whose passphrase opens."""
        return [
            profile
            for profile in self.profiles
            if profile.kind is ProfileKind.PHRASE
            and profile.remaining <= 0
            and profile.duress_of is None
        ]

    def _known_judge(self, profile: Profile) -> AnswerJudge:
        """The judge of what is enrolled right now, as it was made before where that is the same."""
        model = self._engine.models.speaker.sha256
        every = self._digits(profile.id)
        rounds = [spoken for spoken in every if spoken.speaker_model == model]
        if len(rounds) < ROUNDS:
            what = "with another model" if len(every) >= ROUNDS else f"{len(rounds)} of {ROUNDS}"
            raise ProfileError(f"digits enrolled: {what}")
        enrolled = (profile.name, *(spoken.voice.created_at for spoken in rounds))
        known = self._judges.get(profile.id)
        if known is not None and known[0] == enrolled:
            return known[1]
        judge = AnswerJudge(self._engine, profile, rounds)
        if len(self._judges) >= _MOST_JUDGES:
            self._judges = {}
        self._judges[profile.id] = (enrolled, judge)
        return judge
