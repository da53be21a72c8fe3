"""What a listener answers and when, step by step, with made-up hits and decisions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from edge.access import listener
from edge.access.decider import Judgment
from edge.access.listener import Listener
from edge.audio.end_pointing import EndPointSettings
from edge.recognition.keyword_spotter import KeywordHit
from edge.types import (
    AudioBlock,
    Confidence,
    Profile,
    ProfileKind,
    Quality,
    ReasonCode,
    Utterance,
)
from tests.unit.judgments import QUALITY, judgment_of
from tests.unit.sound_system import Clock
from tests.unit.stores import make_sample

ADA, BOB = Profile.begin("ada"), Profile.begin("bob")
PEOPLE = [ADA, BOB]


def utterance(start_s: float, end_s: float) -> Utterance:
    return Utterance(np.zeros(1, np.float32), round(start_s, 2), round(end_s, 2), QUALITY)


def hit(start_s: float, end_s: float, cost: float = 0.1, owner: int = 0) -> KeywordHit:
    return KeywordHit(owner, start_s, end_s, cost)


@dataclass
class Opened:
    """Speech that goes on."""

    start_s: float = 1.0
    end_s: float = 1.0

    def part(self, start_s: float, end_s: float) -> Utterance:
        return utterance(start_s, end_s)

    def samples_from(self, start_s: float) -> tuple[Any, float]:
        return (self, start_s)


@dataclass
class Stage:
    """Everything around a listener.

    A piece is decided on by where it begins: `verdicts` holds the confidence with which it opens
    and its joint score, None denies it. What is not in it is no phrase.
    """

    verdicts: dict[float, tuple[Confidence, float] | None] = field(default_factory=dict)
    margins: dict[float, float] = field(default_factory=dict)
    decided: list[tuple[float, float]] = field(default_factory=list)
    compared: list[tuple[str, float]] = field(default_factory=list)
    # The end-pointer's.
    settings: EndPointSettings = field(default_factory=lambda: EndPointSettings(end_silence_s=0.6))
    opened: Opened | None = None
    ended: list[Utterance] = field(default_factory=list)
    may_go_on: bool = False
    forgotten: int = 0
    # The spotter's.
    hits: list[KeywordHit] = field(default_factory=list)
    unfinished: list[KeywordHit] = field(default_factory=list)
    position_s: float = 0.0
    resets: list[float] = field(default_factory=list)
    taken: list[Any] = field(default_factory=list)
    # The recognizer's.
    refused: ReasonCode | None = None
    # The question's.
    pending: bool = False
    answer: Judgment | None = None
    late: Judgment | None = None
    heard: list[Utterance] = field(default_factory=list)
    # The lock-out's.
    locked: bool = False

    def feed(self, given: Any) -> list[Any]:
        if isinstance(given, AudioBlock):
            found, self.ended = self.ended, []
            return found
        self.taken.append(given)
        hits, self.hits = self.hits, []
        return hits

    def forget_last(self) -> None:
        self.forgotten += 1
        self.may_go_on = False

    def refusal(self, said: Utterance, kind: ProfileKind) -> ReasonCode | None:
        assert kind is ProfileKind.PHRASE
        return self.refused

    def flush(self) -> list[Utterance]:
        found, self.ended, self.opened = self.ended, [], None
        return found

    def reset(self, start_s: float) -> None:
        self.resets.append(start_s)

    def finish(self) -> list[KeywordHit]:
        return self.unfinished

    def judge(self, said: Utterance) -> Judgment | None:
        self.heard.append(said)
        return self.answer

    def tick(self) -> Judgment | None:
        return self.late

    def cancel(self) -> None:
        self.pending = False

    def unheard(self, said: Utterance) -> Judgment:
        made = judgment_of(ReasonCode.LOCKED_OUT)
        return replace(made, utterance=said, candidate=None, locked_out=True)

    def eligible(self, profiles: Sequence[Profile]) -> list[Profile]:
        return list(profiles)

    def embed_phrase(self, piece: Utterance) -> Any:
        return piece

    def phrase_margin(
        self, profiles: Sequence[Profile], phrase: Utterance, quality: Quality
    ) -> float:
        assert quality == QUALITY
        self.compared += [(profile.name, phrase.start_s) for profile in profiles]
        start_s = phrase.start_s
        return self.margins.get(start_s, 1.0 if start_s in self.verdicts else -1.0)

    def decide(self, said: Utterance, profiles: Any, phrase: Any = None) -> Judgment:
        assert phrase in (None, said)
        self.decided.append((said.start_s, said.end_s))
        verdict = self.verdicts.get(said.start_s)
        # What comes with its phrase is one.
        refused = ReasonCode.NO_MATCH if phrase is None else ReasonCode.UNKNOWN_SPEAKER
        made = judgment_of(ReasonCode.RECOGNIZED if verdict else refused)
        if verdict:
            decision = replace(made.decision, confidence=verdict[0], scores={"joint": verdict[1]})
            made = replace(made, decision=decision)
        return replace(made, utterance=said)


class Door:
    """A listener on a stage, and what it answered: where each piece began, and whether it opens."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, *, inside: bool = True, asks: bool = False
    ) -> None:
        self.stage = stage = Stage()
        self.examples: list[Any] = []

        def spotter(_: Any, examples: Any) -> Stage:
            self.examples.append(examples)
            return stage

        monkeypatch.setattr("edge.access.listener.KeywordSpotter", spotter)
        engine: Any = stage
        engine.models = stage
        engine.phrase = None
        options: dict[str, Any] = {"locked": lambda: stage.locked}
        if asks:
            options["answers"] = stage
        if not inside:
            options["inside"] = False
        self.listener = Listener(engine, engine, engine, **options)
        self.now_s = 0.0
        self.unpublished: list[tuple[float, str]] = []

    def open(self, start_s: float = 1.0) -> None:
        self.stage.opened = Opened(start_s, start_s)
        assert self.step() == []

    def step(
        self, *hits: KeywordHit, at_s: float | None = None, ended: Utterance | None = None
    ) -> list[tuple[float, bool]]:
        self.stage.hits = list(hits)
        if ended is not None:
            self.stage.ended, self.stage.opened = [ended], None
        elif self.stage.opened is not None and at_s is not None:
            self.stage.opened.end_s = at_s
        return self.take(self.listener.feed(self.block()))

    def block(self) -> AudioBlock:
        end_s = self.stage.opened.end_s if self.stage.opened is not None else self.now_s
        self.now_s = max(self.now_s, end_s)
        return AudioBlock(np.zeros(512, np.float32), self.now_s - 0.032, 0.0)

    def take(self, judgments: Any) -> list[tuple[float, bool]]:
        """What is published; the rest is noted."""
        found = list(judgments)
        for each in found:
            if not each.published:
                reason = "locked_out" if each.locked_out else each.decision.reason.value
                self.unpublished.append((each.utterance.start_s, reason))
        told = [each for each in found if each.published]
        return [(each.utterance.start_s, each.decision.granted) for each in told]


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> Door:
    door = Door(monkeypatch)
    door.listener.use(PEOPLE)
    door.open()
    return door


HIGH, LOW = (Confidence.HIGH, 9.0), (Confidence.LOW, 1.0)


@pytest.mark.parametrize(
    ("margins", "decided", "compared"),
    [
        ({1.94: 0.1, 2.0: 0.3, 1.88: 0.2}, (2.0, 3.0), 3),
        ({1.94: 0.0, 2.0: -0.1, 1.88: -0.2}, (1.94, 3.06), 3),
        ({1.94: -0.3, 2.0: -0.2, 1.88: 1.0}, (1.88, 3.12), 3),
        ({1.94: 0.1, 2.0: 1.1, 1.88: 2.0}, (2.0, 3.0), 2),
        ({1.94: 1.1, 2.0: 1.2, 1.88: 2.0}, (1.94, 3.06), 1),
    ],
)
def test_of_a_hit_the_nearest_of_three_pieces_or_the_first_clear_one_is_decided_on(
    door: Door, margins: dict[float, float], decided: tuple[float, float], compared: int
) -> None:
    """Its ends are only that exact; a margin of log 3 is clear."""
    door.stage.margins = margins
    door.stage.verdicts = {decided[0]: HIGH}
    assert door.step(hit(2.0, 3.0, owner=1)) == [(decided[0], True)]
    assert door.stage.compared == [("bob", start_s) for start_s in (1.94, 2.0, 1.88)][:compared]
    assert door.stage.decided == [decided]


def test_what_is_no_phrase_is_not_decided_on_and_a_denial_not_told(door: Door) -> None:
    assert door.step(hit(2.0, 3.0)) == []
    assert door.stage.decided == []
    door.stage.verdicts = {1.88: None}
    assert door.step(hit(2.0, 3.0)) == []
    assert door.stage.decided == [(1.88, 3.12)]


def test_the_two_nearest_hits_of_a_step_and_the_four_nearest_of_an_utterance(door: Door) -> None:
    starts = (6.88, 5.88, 4.88, 3.88, 2.88)
    hits = [hit(start + 0.12, 9.0, 0.1 + start / 100) for start in starts]
    door.stage.verdicts = dict.fromkeys(starts)
    assert door.step(*hits) == []
    assert [start for start, _ in door.stage.decided] == [2.88, 3.88]
    door.stage.decided.clear()
    door.stage.unfinished = hits[:2]
    assert door.step(*hits[2:], ended=utterance(1.0, 9.0)) == [(1.0, False)]
    assert [start for start, _ in door.stage.decided] == [1.0, 2.88, 3.88, 4.88, 5.88]


@pytest.mark.parametrize(
    ("start_s", "again"), [(2.99, False), (3.0, False), (3.01, True), (4.0, True)]
)
def test_what_reaches_far_into_an_answered_phrase_is_no_other_one(
    door: Door, start_s: float, again: bool
) -> None:
    """Up to 0.3 s before the end of the answered one at 3.3."""
    door.stage.verdicts = {1.88: HIGH, round(start_s - 0.12, 2): HIGH}
    assert door.step(hit(2.0, 3.18)) == [(1.88, True)]
    assert len(door.step(hit(start_s, 4.0))) == again


def test_one_that_is_sure_opens_at_once_and_alone(door: Door) -> None:
    door.stage.verdicts = {1.88: HIGH, 2.88: HIGH}
    assert door.step(hit(3.0, 4.0, 0.2), hit(2.0, 3.0, 0.1)) == [(1.88, True)]
    assert door.stage.decided == [(1.88, 3.12)]
    assert door.step(at_s=9.0) == []
    assert door.step(ended=utterance(1.0, 9.0)) == []


def test_a_close_one_waits_for_a_nearer_one_as_long_as_the_end_pointer(door: Door) -> None:
    door.stage.verdicts = {1.88: LOW, 2.88: (Confidence.LOW, 2.0), 3.88: (Confidence.LOW, 1.5)}
    door.stage.settings = EndPointSettings(end_silence_s=0.5)
    assert door.step(hit(2.0, 2.88), at_s=3.2) == []
    assert door.step(hit(3.0, 3.2), hit(4.0, 4.2), at_s=3.49) == []
    assert door.step(at_s=3.5) == [(2.88, True)]
    assert door.step(at_s=9.0) == []


def test_a_close_one_is_forgotten_with_speech_that_was_dropped(door: Door) -> None:
    door.stage.verdicts = {1.88: LOW}
    assert door.step(hit(2.0, 3.0), at_s=3.2) == []
    door.open(5.0)  # samples were lost
    assert door.step(at_s=9.0) == []


def test_a_sure_one_goes_before_close_ones(door: Door) -> None:
    door.stage.verdicts = {1.88: (Confidence.LOW, 99.0), 2.88: HIGH}
    assert door.step(hit(2.0, 3.0), at_s=3.2) == []
    assert door.step(hit(3.0, 3.5), at_s=3.5) == [(2.88, True)]
    assert door.step(at_s=9.0) == []


# --- phrases that open nothing ---


def test_a_phrase_in_running_speech_that_opens_nothing_is_an_attempt(door: Door) -> None:
    door.stage.verdicts = {1.88: None, 3.88: None}
    assert door.step(hit(2.0, 3.0), at_s=4.31) == []
    assert door.step(hit(2.02, 3.0), hit(2.0, 3.0, owner=1), at_s=4.31) == []
    assert door.unpublished == [], "a nearer hit may open yet"
    assert door.step(hit(4.0, 5.0), at_s=4.32) == []
    assert door.unpublished == [(1.88, "unknown_speaker")]
    assert door.step(ended=utterance(1.0, 6.0)) == [(1.0, False)]
    assert door.unpublished == [(1.88, "unknown_speaker"), (3.88, "unknown_speaker")]


def test_one_that_a_nearer_hit_opens_is_none(door: Door) -> None:
    door.stage.verdicts = {1.88: None, 1.93: HIGH}
    assert door.step(hit(2.0, 3.0), at_s=3.1) == []
    assert door.step(hit(2.05, 3.0), at_s=3.2) == [(1.93, True)]
    assert door.step(at_s=9.0) == []
    assert door.step(ended=utterance(1.0, 9.0)) == []
    assert door.unpublished == []


def test_said_alone_it_is_one_denial(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = judgment_of(ReasonCode.UNKNOWN_SPEAKER)
    door.stage.verdicts = {1.88: None}
    assert door.step(hit(2.0, 3.0), at_s=3.2) == []
    said = utterance(1.5, 3.1)
    monkeypatch.setattr(door.stage, "decide", lambda *_: replace(whole, utterance=said))
    assert door.step(ended=said) == [(1.5, False)]
    assert door.unpublished == []


def test_phrases_one_after_another_are_as_many_attempts(door: Door) -> None:
    """Although their pieces overlap at the ends."""
    door.stage.verdicts = {1.88: None, 2.88: None, 3.88: None}
    door.step(hit(2.0, 3.0), hit(3.0, 4.0), at_s=4.2)
    door.step(hit(4.0, 5.0), at_s=5.2)
    door.step(ended=utterance(1.0, 5.0))
    assert [start for start, _ in door.unpublished] == [1.88, 2.88, 3.88]


# --- during a lock-out ---


def locked_answers(door: Door, *verdicts: Any) -> list[tuple[float, int]]:
    """When what is said during a lock-out is answered, and how many times."""
    door.stage.locked = True
    door.stage.verdicts = {1.88: verdicts[0], 1.0: verdicts[0]}
    told = [(3.2, door.step(hit(2.0, 3.0), at_s=3.2)), (4.0, door.step(at_s=4.0))]
    told.append((4.0, door.step(ended=utterance(1.0, 3.4))))
    for now_s in (4.5, 5.0, 5.9, 6.1, 7.0, 9.0):
        door.now_s = now_s
        told.append((now_s, door.step()))
    assert all(each == [(1.0, False)] for _, each in told if each)
    return [(now_s, len(each)) for now_s, each in told if each]


@pytest.mark.parametrize("verdict", [HIGH, LOW, None], ids=["sure", "close", "denied"])
def test_the_answer_and_its_time_do_not_depend_on_what_was_said(door: Door, verdict: Any) -> None:
    assert locked_answers(door, verdict) == [(6.1, 1)]
    # It is judged all the same: the voice may have said a duress phrase.
    assert door.unpublished == [(1.88 if verdict else 1.0, "locked_out")]


def test_a_stream_that_ends_during_a_lock_out_is_answered(door: Door) -> None:
    door.stage.locked = True
    door.step(at_s=2.0)
    door.stage.ended = [utterance(1.0, 3.5)]
    assert door.take(door.listener.flush()) == [(1.0, False)]
    assert door.unpublished == [(1.0, "locked_out")]


def test_what_began_before_a_lock_out_ends_as_if_said_during_it(door: Door) -> None:
    door.stage.verdicts = {1.88: LOW, 1.0: HIGH}
    assert door.step(hit(2.0, 3.0), at_s=3.2) == []
    door.stage.locked = True
    assert door.step(at_s=3.3) == []
    assert door.unpublished == [(1.88, "locked_out")]
    door.stage.locked = False
    assert door.step(at_s=3.5) == []
    assert door.step(ended=utterance(1.0, 3.4)) == []
    assert door.unpublished == [(1.88, "locked_out")], "a duress phrase would alarm twice"
    door.now_s = 6.1
    assert door.step() == [(1.0, False)]


def test_after_it_in_the_same_speech_a_phrase_opens(door: Door) -> None:
    door.stage.locked = True
    assert door.step(at_s=3.0) == []
    door.stage.locked = False
    door.stage.verdicts = {2.88: HIGH, 3.88: HIGH}
    assert door.step(hit(3.0 - 0.01, 3.9), at_s=4.0) == []
    assert door.step(hit(4.0, 5.0), at_s=5.2) == [(3.88, True)]
    assert door.step(ended=utterance(1.0, 5.5)) == []
    door.now_s = 30.0
    assert door.step() == []


def test_what_is_said_after_it_is_answered_as_ever(door: Door) -> None:
    door.stage.locked = True
    assert door.step(at_s=1.5) == []
    assert door.step(ended=utterance(1.0, 1.4)) == []
    door.stage.locked = False
    door.open(2.0)
    assert door.step(ended=utterance(2.0, 3.0)) == [(2.0, False)]
    assert door.step() == []
    door.now_s = 4.0
    assert door.step() == [(1.0, False)]


# --- at the end of an utterance ---


def test_the_whole_is_decided_on_first(door: Door) -> None:
    door.stage.verdicts = {1.0: HIGH, 1.88: HIGH}
    assert door.step(hit(2.0, 3.0), ended=utterance(1.0, 4.0)) == [(1.0, True)]
    assert door.stage.decided == [(1.0, 4.0)]


def test_a_denied_whole_may_hold_a_phrase(door: Door) -> None:
    """The nearest of what waited, of the last hits, and of those that were not complete."""
    door.stage.verdicts = {1.88: LOW, 2.88: (Confidence.NORMAL, 3.0), 3.88: (Confidence.LOW, 2.0)}
    assert door.step(hit(2.0, 3.0), at_s=3.2) == []
    door.stage.unfinished = [hit(4.0, 5.0)]
    assert door.step(hit(3.0, 4.0), ended=utterance(1.0, 5.0)) == [(2.88, True)]


def test_a_stream_that_ends_is_an_utterance_that_ends(door: Door) -> None:
    door.stage.verdicts = {1.88: LOW}
    assert door.step(hit(2.0, 3.0), at_s=3.2) == []
    door.stage.ended = [utterance(1.0, 3.5)]
    assert door.take(door.listener.flush()) == [(1.88, True)]
    door.open(5.0)
    assert door.step(at_s=9.0) == []


def test_each_utterance_begins_anew(door: Door) -> None:
    door.stage.verdicts = {1.88: HIGH, 0.88: HIGH}
    assert door.step(hit(2.0, 3.0)) == [(1.88, True)]
    assert door.step(ended=utterance(1.0, 4.0)) == []
    door.open(0.5)
    assert door.stage.resets[-2:] == [1.0, 0.5]
    assert door.step(hit(1.0, 2.0)) == [(0.88, True)]
    assert door.step(ended=utterance(0.5, 2.0)) == []
    assert door.step(ended=utterance(0.1, 0.4)) == [(0.1, False)]


def test_only_what_is_new_is_searched(door: Door) -> None:
    door.stage.position_s = 1.5
    door.step(at_s=2.0)
    assert door.stage.taken[-1] == (door.stage.opened, 1.5)


# --- who is enrolled ---


def test_a_change_of_the_profiles_begins_the_search_anew(door: Door) -> None:
    door.stage.verdicts = {1.88: LOW}
    assert door.step(hit(2.0, 3.0), at_s=3.2) == []
    door.listener.use(PEOPLE)  # the same ones
    assert (len(door.examples), door.stage.resets) == (2, [1.0])
    door.listener.use([BOB])
    assert (len(door.examples), door.stage.resets) == (3, [1.0, 1.0])
    assert door.step(at_s=9.0) == []


@pytest.mark.parametrize("inside", [True, False])
def test_without_anybody_to_find_nothing_is_searched(
    monkeypatch: pytest.MonkeyPatch, inside: bool
) -> None:
    door = Door(monkeypatch, inside=inside)
    door.stage.verdicts = {1.88: HIGH}
    if not inside:
        door.listener.use(PEOPLE)
    door.open()
    assert door.step(hit(2.0, 3.0)) == []
    door.stage.unfinished = [hit(2.0, 3.0)]
    assert door.step(ended=utterance(1.0, 4.0)) == [(1.0, False)]
    assert door.stage.taken == []
    with_phrase, without = make_sample(1), make_sample(2, phrase=False)
    door.listener.use([replace(ADA, samples=(without, with_phrase, without)), BOB])
    assert door.examples[-1] == ([[with_phrase.phrase_embedding], []] if inside else [])


# --- while an answer is waited for ---


@pytest.fixture
def asking(monkeypatch: pytest.MonkeyPatch) -> Door:
    door = Door(monkeypatch, asks=True)
    door.listener.use(PEOPLE)
    return door


def test_an_utterance_is_the_answer(asking: Door) -> None:
    asking.stage.pending = True
    asking.open()
    asking.stage.verdicts = {1.0: HIGH, 1.88: HIGH}
    assert asking.step(hit(2.0, 3.0)) == []
    assert asking.step(ended=utterance(1.0, 4.0)) == []
    assert asking.stage.heard[0].start_s == 1.0
    asking.stage.answer = replace(judgment_of(ReasonCode.RECOGNIZED), utterance=utterance(7.0, 8.0))
    asking.open(7.0)
    assert asking.step(ended=utterance(7.0, 8.0)) == [(7.0, True)]
    assert asking.stage.decided == []
    asking.stage.late = replace(
        judgment_of(ReasonCode.CHALLENGE_FAILED), utterance=utterance(9.0, 9.5)
    )
    assert asking.step() == [(9.0, False)]
    asking.stage.pending = False
    assert asking.step() == []


def test_the_rest_of_what_was_answered_is_no_answer(asking: Door) -> None:
    asking.open()
    asking.stage.verdicts = {1.88: HIGH}
    assert asking.step(hit(2.0, 3.0)) == [(1.88, True)]
    asking.stage.pending = True
    asking.stage.answer = judgment_of(ReasonCode.RECOGNIZED)
    assert asking.step(ended=utterance(1.0, 4.0)) == []
    assert asking.stage.heard == []


# --- a phrase in two utterances ---

FIRST = utterance(1.0, 2.0)
BOTH = utterance(1.5, 4.0)
SECOND = replace(utterance(3.0, 4.0), joined=BOTH)
"""The second half; what both are together is told apart by where it begins."""


def half_said(door: Door) -> None:
    """The first half of a phrase is over, and its denial waits."""
    door.stage.may_go_on = True
    assert door.step(ended=FIRST) == []
    assert door.stage.decided == [(1.0, 2.0)]


def test_a_denial_waits_until_nothing_can_follow(door: Door) -> None:
    half_said(door)
    assert door.step() == []
    door.stage.may_go_on = False
    assert door.step() == [(1.0, False)]
    assert door.step() == []


def test_a_denial_that_waited_is_not_late(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(1_000.0)
    clock.govern(monkeypatch, listener)
    door.stage.may_go_on = True
    said = replace(FIRST, speech_ended_at=999.4, closed_at=1_000.0)
    assert door.step(ended=said) == []
    clock.now = 1_002.5
    (denied,) = door.listener.flush()
    assert denied.utterance.speech_ended_at == pytest.approx(1_001.9)
    assert denied.decision.time == judgment_of(ReasonCode.NO_MATCH).decision.time + 2.5


def test_a_denial_of_which_nothing_can_be_a_part_waits_for_nothing(door: Door) -> None:
    door.listener.use([])
    door.stage.may_go_on = True
    assert door.step(ended=FIRST) == [(1.0, False)]


def test_at_the_end_of_the_stream_nothing_waits(door: Door) -> None:
    half_said(door)
    door.open(3.0)
    door.stage.ended = [utterance(3.0, 4.0)]
    assert door.take(door.listener.flush()) == [(1.0, False), (3.0, False)]


@pytest.mark.parametrize("opens", [True, False])
@pytest.mark.parametrize("inside", [True, False])
def test_a_phrase_in_two_utterances_is_one_attempt(
    monkeypatch: pytest.MonkeyPatch, opens: bool, inside: bool
) -> None:
    """Also where it does not open: a stranger who says it is denied once."""
    door = Door(monkeypatch, inside=inside)
    door.listener.use(PEOPLE)
    door.open()
    door.stage.verdicts = {1.5: HIGH if opens else None}
    half_said(door)
    door.open(3.0)
    assert door.step(ended=SECOND) == [(1.5, opens)]
    assert door.stage.decided[1:] == [(3.0, 4.0), (1.5, 4.0)]
    assert door.stage.forgotten == 1
    assert list(door.listener.settle()) == []


def test_two_utterances_that_are_no_phrase_are_two_attempts(door: Door) -> None:
    half_said(door)
    door.open(3.0)
    door.stage.may_go_on = True
    assert door.step(ended=SECOND) == [(1.0, False)]
    assert (1.5, 4.0) not in door.stage.decided
    door.stage.may_go_on = False
    assert door.step() == [(3.0, False)]


def test_what_cannot_be_judged_as_one_is_two(door: Door) -> None:
    door.stage.verdicts, door.stage.refused = {1.5: HIGH}, ReasonCode.TOO_LONG
    half_said(door)
    door.open(3.0)
    door.stage.may_go_on = False
    assert door.step(ended=SECOND) == [(1.0, False), (3.0, False)]


@pytest.mark.parametrize("how", ["alone", "inside", "at the end"])
def test_what_opens_by_itself_is_no_second_half(door: Door, how: str) -> None:
    half_said(door)
    door.open(3.0)
    door.stage.verdicts = {1.5: HIGH, {"alone": 3.0}.get(how, 3.88): HIGH}
    if how == "inside":
        assert door.step(hit(4.0, 5.0)) == [(1.0, False), (3.88, True)]
        assert door.step(ended=SECOND) == []
        assert door.stage.forgotten == 2
    else:
        hits = [hit(4.0, 5.0)] if how == "at the end" else []
        opened = 3.88 if hits else 3.0
        assert door.step(*hits, ended=SECOND) == [(1.0, False), (opened, True)]
    assert (1.5, 4.0) not in door.stage.decided


def test_a_denial_is_told_before_an_answer_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    door = Door(monkeypatch, asks=True)
    door.listener.use(PEOPLE)
    door.open()
    half_said(door)
    door.open(3.0)
    door.stage.pending = True
    assert door.step(ended=SECOND) == [(1.0, False)]
    assert door.stage.heard == [SECOND]
