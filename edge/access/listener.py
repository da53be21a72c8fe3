"""From the stream to decisions: on whole utterances, and on phrases found inside running speech.

An utterance that is a passphrase by itself is decided on as the end-pointer cut it. For "hello,
it's me, open the front door please" the enrolled phrases are looked for inside the speech while it
goes on, and a hit is decided on alone, without what surrounds it. That also answers a lone
passphrase before the end-pointer is sure that it is over.

A phrase in running speech that opens nothing is an attempt like any other: it is given out once,
unpublished, for the lock-out to count.

During a lock-out every utterance gets the same answer, a fixed time after its end. It is judged all
the same, since a duress phrase raises the alarm and recordings of it are to be known again; but
nothing of that is published, and how long it took does not delay the answer.

A phrase found in mid-speech opens at once unless the decision is a close one. A close one waits as
long as the end-pointer does, for a nearer hit of the same phrase. A denial waits for the end of the
utterance. After a phrase was answered another one in the same utterance is answered too, but
nothing in it is denied.

Who stops in the midst of a phrase says it in two utterances. A denial therefore waits until no
second half can come any more, or until that is over: where both together are an enrolled phrase,
whoever says it, one decision on both is given, and else one on each.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol

from edge.access.decider import Decider, Judgment
from edge.audio.end_pointing import EndPointer, OpenUtterance
from edge.recognition import Engine
from edge.recognition.keyword_spotter import KeywordHit, KeywordSpotter
from edge.recognition.scoring import NORMAL_FROM
from edge.types import AudioBlock, Confidence, Profile, ProfileKind, ReasonCode, Utterance

_MARGINS_S = (0.06, 0.0, 0.12)
"""Added at both sides of a hit, whose ends are only that exact. The first one mostly does."""
_OVERLAP_S = 0.3
"""How far a phrase may reach into one that was answered: where they end is only that exact."""
_MOST_AT_ONCE = 2
"""Hits that end within the same 80 ms that are decided on."""
_MOST_AT_END = 4
"""Hits in one utterance that are decided on when it is over."""
_LOCKED_ANSWER_S = 2.0
"""From the end of an utterance to the answer during a lock-out: longer than any judgment takes."""


class Answers(Protocol):
    """Waits for an answer that is not a passphrase: `edge.challenge.challenge.Challenge`."""

    @property
    def pending(self) -> bool:
        """Whether the next utterance is an answer."""
        ...

    def judge(self, utterance: Utterance) -> Judgment | None:
        """The decision on an answer; None for an utterance that is not one."""
        ...

    def tick(self) -> Judgment | None:
        """The decision on an answer that was not given in time, once."""
        ...

    def cancel(self) -> None:
        """Stop waiting for an answer."""
        ...


class Listener:
    """Cuts the stream, looks for phrases in it, and decides. Use it from one thread.

    Unless `inside`, phrases are not looked for inside running speech. `answers` gets the utterances
    while it waits for an answer; None where nothing is asked. `locked` says whether there is a
    lock-out.
    """

    _close_ones: list[Judgment]
    _refused: list[Judgment]
    _withheld: list[Judgment]

    def __init__(
        self,
        endpointer: EndPointer,
        engine: Engine,
        decider: Decider,
        *,
        inside: bool = True,
        answers: Answers | None = None,
        locked: Callable[[], bool] = lambda: False,
    ) -> None:
        self._locked = locked
        self._locked_until_s = float("-inf")
        self._unanswered: deque[tuple[float, Utterance]] = deque()
        self._inside = inside
        self._answers = answers
        self.endpointer = endpointer
        self._engine = engine
        self._decider = decider
        self._profiles: Sequence[Profile] = ()
        self._eligible: list[Profile] = []
        self._candidates: list[Profile] = []
        self._denied: Judgment | None = None
        self._spotter = KeywordSpotter(engine.models.phrase, [])
        self._begin(None)

    def use(self, profiles: Sequence[Profile]) -> None:
        """Decide by these profiles from the next block on."""
        if profiles is self._profiles:
            return
        self._profiles = profiles
        self._eligible = self._decider.eligible(profiles)
        self._candidates = self._eligible if self._inside else []
        examples = [
            [s.phrase_embedding for s in profile.samples if s.phrase_embedding is not None]
            for profile in self._candidates
        ]
        self._spotter = KeywordSpotter(self._engine.models.phrase, examples)
        self._close_ones = []  # their profile may be deleted; the others are found again
        if self._opened is not None:
            self._spotter.reset(self._opened.start_s)

    def feed(self, block: AudioBlock) -> Iterator[Judgment]:
        """Process a block and return the decisions made with it, mostly none."""
        if self._locked():
            yield from self._keep_shut(block)
        for utterance in self.endpointer.feed(block):
            yield from self._end(utterance)
        opened = self.endpointer.opened
        if opened is not self._opened:
            self._begin(opened)
        if not self.endpointer.may_go_on:
            yield from self.settle()
        answers = self._answers
        if answers is not None and answers.pending:
            unanswered = answers.tick()
            if unanswered is not None:
                yield unanswered
        elif opened is not None and self._candidates:
            yield from self._answer_inside(opened)
        while self._unanswered and block.end_s >= self._unanswered[0][0]:
            yield self._decider.unheard(self._unanswered.popleft()[1])

    def flush(self) -> Iterator[Judgment]:
        """The stream is over: decide on the utterance that was still open."""
        for utterance in self.endpointer.flush():
            yield from self._end(utterance)
        yield from self.settle()
        while self._unanswered:
            yield self._decider.unheard(self._unanswered.popleft()[1])

    def settle(self) -> Iterator[Judgment]:
        """The denial that waited, if any, as of now: it is not late."""
        denied, self._denied = self._denied, None
        if denied is not None:
            said, decision = denied.utterance, denied.decision
            waited_s = time.monotonic() - said.closed_at
            yield replace(
                denied,
                utterance=replace(said, speech_ended_at=said.speech_ended_at + waited_s),
                decision=replace(decision, time=decision.time + waited_s),
            )

    def _keep_shut(self, block: AudioBlock) -> Iterator[Judgment]:
        self._locked_until_s = block.end_s
        if self._answers is not None and self._answers.pending:
            self._answers.cancel()
        waiting, self._close_ones = self._close_ones, []
        for judgment in waiting:
            yield from self._withhold(judgment)

    def _begin(self, opened: OpenUtterance | None) -> None:
        """Start over with each utterance."""
        self._opened = opened
        self._answered_s: float | None = None
        self._close_ones = []
        self._refused = []
        self._withheld = []
        if opened is not None:
            self._spotter.reset(opened.start_s)

    def _answer_inside(self, opened: OpenUtterance) -> Iterator[Judgment]:
        """Decide on the phrases that ended in the latest block."""
        for judgment in self._opening(opened, self._hits(opened), _MOST_AT_ONCE):
            if not judgment.published:
                yield judgment
            elif judgment.decision.confidence is not Confidence.LOW:
                yield from self.settle()
                yield self._answer(judgment)
                return
            else:
                self._close_ones.append(judgment)
        wait_s = self.endpointer.settings.end_silence_s
        if self._close_ones and opened.end_s - self._close_ones[0].utterance.end_s >= wait_s:
            yield from self.settle()
            yield self._answer(_nearest(self._close_ones))
        # Longer than the end-pointer: said alone, the utterance itself is the attempt.
        if self._refused and opened.end_s - self._refused[0].utterance.end_s >= 2.0 * wait_s:
            yield _unpublished(self._refused.pop(0))

    def _opening(
        self, opened: OpenUtterance, hits: Sequence[KeywordHit], most: int
    ) -> Iterator[Judgment]:
        """Those of the hits that open, unpublished where a lock-out keeps them from it."""
        for judgment in self._judged(opened, hits, most):
            if judgment.locked_out:
                yield from self._withhold(judgment)
            elif judgment.decision.granted:
                yield judgment
            else:
                self._refuse(judgment)

    def _refuse(self, judgment: Judgment) -> None:
        """Note a phrase that opens nothing, once, until it is sure that no nearer hit does."""
        if not _is_among(judgment, self._refused):
            self._refused.append(judgment)

    def _withhold(self, judgment: Judgment) -> Iterator[Judgment]:
        """Give out a phrase that would have opened without the lock-out, unpublished and once."""
        if judgment.decision.granted and not _is_among(judgment, self._withheld):
            self._withheld.append(judgment)
            yield replace(judgment, published=False, locked_out=True)

    def _hits(self, opened: OpenUtterance) -> list[KeywordHit]:
        return self._spotter.feed(opened.samples_from(self._spotter.position_s))

    def _answer(self, judgment: Judgment) -> Judgment:
        self._answered_s = judgment.utterance.end_s
        self._close_ones = []
        self._refused = [each for each in self._refused if not _is_among(each, [judgment])]
        self.endpointer.forget_last()
        return judgment

    def _judged(
        self, opened: OpenUtterance, hits: Sequence[KeywordHit], most: int
    ) -> Iterator[Judgment]:
        """The nearest `most` hits that are the phrase; with many people there are too many."""
        for hit in sorted(hits, key=lambda hit: hit.cost)[:most]:
            if self._answered_s is None or hit.start_s > self._answered_s - _OVERLAP_S:
                judgment = self._decide(opened, hit)
                if judgment is not None:
                    yield judgment

    def _decide(self, opened: OpenUtterance, hit: KeywordHit) -> Judgment | None:
        """Decide on a hit, alone; None unless it is the phrase."""
        # The phrase first: it takes a fifth of the time, and mostly it is not the phrase.
        owner = self._candidates[hit.owner]
        nearest = float("-inf")
        for more in _MARGINS_S:
            part = opened.part(hit.start_s - more, hit.end_s + more)
            embedding = self._engine.embed_phrase(part)
            margin = self._engine.phrase_margin([owner], embedding, part.quality)
            if margin > nearest:
                nearest, piece, phrase = margin, part, embedding
            if margin >= NORMAL_FROM:
                break
        if nearest < 0.0:
            return None
        judgment = self._decider.decide(piece, self._candidates, phrase)
        if hit.start_s < self._locked_until_s:
            return replace(judgment, locked_out=True)
        return judgment

    def _end(self, utterance: Utterance) -> Iterator[Judgment]:
        """An utterance is over: decide on it as a whole, then on the hits in it."""
        if self._answered_s is not None:
            self.endpointer.forget_last()
        if self._answers is not None and self._answers.pending:
            yield from self.settle()
            # The rest of an utterance in which a phrase was answered is not an answer.
            answer = self._answers.judge(utterance) if self._answered_s is None else None
            if answer is not None:
                yield answer
            yield from map(_unpublished, self._refused)
            return
        whole = None
        if self._answered_s is None:
            whole = self._decider.decide(utterance, self._profiles)
        if whole is not None and utterance.start_s + utterance.lead_s < self._locked_until_s:
            yield from self._answer_later(whole)
            whole = None
        elif whole is not None and whole.decision.granted:
            yield from self.settle()
            yield self._answer(whole)
            return
        found = list(self._close_ones)
        for judgment in self._late():
            if judgment.published:
                found.append(judgment)
            else:
                yield judgment
        if found:
            yield from self.settle()
            yield self._answer(_nearest(found))
        elif whole is not None:
            yield from self._deny(whole)
            if whole.decision.reason is ReasonCode.UNKNOWN_SPEAKER:
                return  # that is the attempt
        yield from map(_unpublished, self._refused)

    def _late(self) -> Iterator[Judgment]:
        """As `_opening`, of the last hits of the utterance that is over."""
        if self._opened is not None and self._candidates:
            late = self._hits(self._opened) + self._spotter.finish()
            yield from self._opening(self._opened, late, _MOST_AT_END)

    def _deny(self, whole: Judgment) -> Iterator[Judgment]:
        """Nothing in an utterance opens: perhaps it is one half of a phrase."""
        phrase = self._decide_joined(whole.utterance.joined)
        if phrase is not None:
            self._denied = None
            yield self._answer(phrase)
            return
        yield from self.settle()
        if self._eligible and self.endpointer.may_go_on:
            self._denied = whole
        else:
            yield whole

    def _decide_joined(
        self, utterance: Utterance | None, *, locked: bool = False
    ) -> Judgment | None:
        """Decide on two utterances as one; None unless they are an enrolled phrase.

        Where a part of them was said during a lock-out, only for `locked`.
        """
        if utterance is None or not self._eligible:
            return None
        if not locked and utterance.start_s + utterance.lead_s < self._locked_until_s:
            return None
        if self._engine.refusal(utterance, ProfileKind.PHRASE) is not None:
            return None
        phrase = self._engine.embed_phrase(utterance)
        if self._engine.phrase_margin(self._eligible, phrase, utterance.quality) < 0.0:
            return None
        return self._decider.decide(utterance, self._profiles, phrase)

    def _answer_later(self, whole: Judgment) -> Iterator[Judgment]:
        """Have an utterance during a lock-out answered, and give out what it was, unpublished."""
        closed_s = whole.utterance.end_s + self.endpointer.settings.end_silence_s
        self._unanswered.append((closed_s + _LOCKED_ANSWER_S, whole.utterance))
        if not self._withheld:
            said = self._decide_joined(whole.utterance.joined, locked=True) or whole
            self._withheld.append(said)
            yield replace(said, published=False, locked_out=True)


def _unpublished(judgment: Judgment) -> Judgment:
    return replace(judgment, published=False)


def _is_among(judgment: Judgment, others: Sequence[Judgment]) -> bool:
    """Whether one of the others is on the same part of the stream."""
    return any(judgment.utterance.shares(each.utterance) for each in others)


def _nearest(judgments: Sequence[Judgment]) -> Judgment:
    return max(judgments, key=lambda each: each.decision.scores["joint"])
