"""Enrolling the digits of a person: ten digits make a round, and a few rounds are needed."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from edge.challenge.answers import strong_digits
from edge.challenge.matching import DIGITS, DigitExample
from edge.challenge.rounds import (
    ROUNDS,
    DigitRound,
    complete_round,
    keep_round,
    make_example,
    replace_rounds,
    rounds_of,
    weakness_of,
)
from edge.errors import ProfileError
from edge.recognition.engine import Engine
from edge.store import ProfileStore
from edge.types import Profile, ProfileKind, Utterance


class DigitEnrollment:
    """The digits of one person, round by round; each complete round is stored at once.

    With `again`, nothing is stored until every round is complete: the old ones stay until then.

    Raises:
        ProfileError: the profile cannot be used for access, or its digits are complete.
    """

    def __init__(
        self, store: ProfileStore, engine: Engine, profile: Profile, wanted: int, *, again: bool
    ) -> None:
        if profile.kind is not ProfileKind.PHRASE:
            raise ProfileError(f"{profile.name} has no passphrase, and digits need one")
        engine.require_ready(profile)
        if profile.duress_of is not None:
            raise ProfileError(
                f"{profile.name} is a duress phrase: enroll digits under the person's own name"
            )
        self._store = store
        self._engine = engine
        self.profile = profile
        self.wanted = wanted
        self._again = again
        self.rounds: list[DigitRound] = [] if again else rounds_of(store, profile.id)
        self.new = 0
        self._begin()
        model = engine.models.speaker.sha256
        if any(spoken.speaker_model != model for spoken in self.rounds):
            raise ProfileError(
                f"the digits of {profile.name} were enrolled with another model: add --again"
            )
        if self.complete:
            raise ProfileError(
                f"the digits of {profile.name} are already enrolled: add --again to replace them"
            )

    @property
    def complete(self) -> bool:
        """Whether no round is missing."""
        return len(self.rounds) >= self.wanted

    @property
    def keeps_old(self) -> bool:
        """Whether the digits enrolled before are still in use."""
        return self._again and not self.complete

    @property
    def missing(self) -> list[int]:
        """The digits the current round still needs, in the order in which to ask for them."""
        return [digit for digit in self._order if digit not in self._examples]

    def add(self, digit: int, utterance: Utterance) -> None:
        """Add a digit; the tenth completes a round.

        Raises:
            EnrollmentRejected: it does not fit; if the voice does not, the round starts over.
        """
        self._examples[digit] = make_example(self._engine, utterance, digit, self.rounds)
        self._utterances[digit] = utterance
        if self.missing:
            return
        utterances, examples = self._utterances, self._examples
        self._begin()
        spoken = complete_round(self._engine, self.profile, utterances, examples)
        self.rounds.append(spoken)
        self.new += 1
        if not self._again:
            keep_round(self._store, self.profile.id, spoken)
        elif self.complete:
            replace_rounds(self._store, self.profile.id, self.rounds)

    def _begin(self) -> None:
        # Shuffled, so that nobody falls into the singsong of counting.
        self._order = secrets.SystemRandom().sample(DIGITS, len(DIGITS))
        self._examples: dict[int, DigitExample] = {}
        self._utterances: dict[int, Utterance] = {}


def summary_of(rounds: Sequence[DigitRound]) -> dict[str, Any]:
    """How many rounds there are, which digits are asked for, and which sound too much alike."""
    asked: list[int] = []
    confusable: list[list[int]] = []
    if len(rounds) >= ROUNDS:
        asked = list(strong_digits(rounds))
        weakness = weakness_of(rounds[-ROUNDS:])
        confusable = [[digit, weakness[digit][0]] for digit in DIGITS if digit not in asked]
    return {"rounds": len(rounds), "required": ROUNDS, "asked": asked, "confusable": confusable}
