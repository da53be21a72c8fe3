"""From the stream to decisions: on whole utterances, and on phrases found inside running speech.

An utterance that is a passphrase by itself is decided on as it was cut. Somebody who says "hello,
it's me, open the front door please" says no such utterance, so while speech is heard the enrolled
phrases are looked for inside it, and what is found is decided on alone, as if nothing had been said
around it. That also answers a lone passphrase before the end-pointer is sure that it is over.

A phrase found in mid-speech opens at once only where the decision is not a close one. A close one
waits for as long as the end-pointer does: the same phrase may be found to be nearer. To say no,
all that was heard has to be over. Speech may run on after a phrase was answered; another phrase in
it is answered too, but nothing that was said there is denied any more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from edge.access.decider import Decider, Judgment
from edge.audio.blocks import FRAME_SAMPLES
from edge.audio.end_pointing import EndPointer, OpenUtterance
from edge.recognition import Engine
from edge.recognition.keyword_spotter import KeywordHit, KeywordSpotter
from edge.types import SAMPLE_RATE, AudioBlock, Confidence, FloatArray, Profile, Utterance

_MARGINS_S = (0.0, 0.06, 0.12)
"""How much more is taken on both sides of what was found: its ends are only that exact."""
_OVERLAP_S = 0.3
"""How far a phrase may reach into one that was answered: where they end is only that exact."""
_MOST_AT_ONCE = 2
"""Places that end within the same 80 ms that are looked at."""
_MOST_TRIED = 4
"""Places in one utterance that are looked at again when it is over."""


class Answers(Protocol):
    """Whoever waits for an answer that is no passphrase: `edge.challenge.challenge.Challenge`."""

    @property
    def pending(self) -> bool:
        """Whether what is said next is an answer."""
        ...

    def judge(self, utterance: Utterance) -> Judgment | None:
        """What an answer came to; None for an utterance that is none."""
        ...

    def tick(self) -> Judgment | None:
        """What came of an answer that was not given in time, once."""
        ...


class Listener:
    """Cuts the stream, looks into it, and decides. Use it from one thread.

    Args:
        endpointer: cuts the stream into utterances.
        engine: the recognizer.
        decider: decides on an utterance.
        inside: whether phrases are looked for inside running speech.
        answers: gets what is said while it waits for an answer; None where nothing is asked.
    """

    def __init__(
        self,
        endpointer: EndPointer,
        engine: Engine,
        decider: Decider,
        *,
        inside: bool = True,
        answers: Answers | None = None,
    ) -> None:
        self._inside = inside
        self._answers = answers
        self.endpointer = endpointer
        self._engine = engine
        self._decider = decider
        self._profiles: Sequence[Profile] = ()
        self._candidates: list[Profile] = []
        self._spotter = KeywordSpotter(engine.models.phrase, [])
        self._opened: OpenUtterance | None = None
        self._answered_s: float | None = None
        self._close_ones: list[Judgment] = []

    def use(self, profiles: Sequence[Profile]) -> None:
        """Decide by these profiles from the next block on."""
        if profiles is self._profiles:
            return
        self._profiles = profiles
        self._candidates = self._decider.eligible(profiles) if self._inside else []
        examples = [
            [s.phrase_embedding for s in profile.samples if s.phrase_embedding is not None]
            for profile in self._candidates
        ]
        self._spotter = KeywordSpotter(self._engine.models.phrase, examples)
        self._close_ones = []  # they may be of somebody who is gone; who is not is found again
        if self._opened is not None:
            self._spotter.reset(self._opened.start_s)

    def feed(self, block: AudioBlock) -> Iterator[Judgment]:
        """Take in a block and give out what is decided with it, mostly nothing."""
        # In pieces of a frame: no utterance begins and ends within one, and a phrase is answered
        # where it ends, however long the blocks of a source are.
        for start in range(0, len(block.samples), FRAME_SAMPLES):
            piece = block.samples[start : start + FRAME_SAMPLES]
            after_s = (len(block.samples) - start - len(piece)) / SAMPLE_RATE
            lost = 0 if start else block.lost_samples
            yield from self._take(
                AudioBlock(
                    piece,
                    block.start_s + start / SAMPLE_RATE,
                    block.captured_at - after_s,
                    lost,
                )
            )

    def flush(self) -> Iterator[Judgment]:
        """The stream is over: decide on what was still being heard."""
        for utterance in self.endpointer.flush():
            yield from self._end(utterance)
        self._follow()

    def _take(self, block: AudioBlock) -> Iterator[Judgment]:
        for utterance in self.endpointer.feed(block):
            yield from self._end(utterance)
        self._follow()
        if self._answers is not None:
            unanswered = self._answers.tick()
            if unanswered is not None:
                yield unanswered
        opened = self._opened
        if opened is not None and self._candidates and not self._awaited:
            yield from self._look(opened, self._spotter.feed(self._unheard(opened)))

    @property
    def _awaited(self) -> bool:
        return self._answers is not None and self._answers.pending

    def _follow(self) -> None:
        """Begin anew with each utterance."""
        opened = self.endpointer.opened
        if opened is self._opened:
            return
        self._opened = opened
        self._answered_s = None
        self._close_ones = []
        if opened is not None:
            self._spotter.reset(opened.start_s)

    def _unheard(self, opened: OpenUtterance) -> FloatArray:
        return opened.samples_from(self._spotter.position_s)

    def _look(self, opened: OpenUtterance, spots: Sequence[KeywordHit]) -> Iterator[Judgment]:
        for judgment in self._found(opened, spots, _MOST_AT_ONCE):
            if judgment.decision.confidence is Confidence.LOW:
                self._close_ones.append(judgment)
            else:
                yield self._answer(judgment)
                return
        wait_s = self.endpointer.settings.end_silence_s
        if self._close_ones and opened.end_s - self._close_ones[0].utterance.end_s >= wait_s:
            yield self._answer(_nearest(self._close_ones))

    def _answer(self, judgment: Judgment) -> Judgment:
        self._answered_s = judgment.utterance.end_s
        self._close_ones = []
        return judgment

    def _found(
        self, opened: OpenUtterance, spots: Sequence[KeywordHit], most: int
    ) -> Iterator[Judgment]:
        """What of some places opens; with many people many places do not, and time is short."""
        for spot in sorted(spots, key=lambda spot: spot.cost)[:most]:
            if self._answered_s is None or spot.start_s > self._answered_s - _OVERLAP_S:
                judgment = self._judge(opened, spot)
                if judgment is not None:
                    yield judgment

    def _judge(self, opened: OpenUtterance, spot: KeywordHit) -> Judgment | None:
        """Decide on what was found, alone; None unless it opens."""
        profile = self._candidates[spot.owner]
        pieces = [opened.part(spot.start_s - more, spot.end_s + more) for more in _MARGINS_S]
        # The phrase first: it takes a fifth of the time, and mostly it is not the phrase.
        distances = [self._engine.phrase_distance(profile, piece) for piece in pieces]
        nearest = min(range(len(pieces)), key=distances.__getitem__)
        if not self._engine.is_phrase(distances[nearest], pieces[nearest].quality.snr_db):
            return None
        judgment = self._decider.judge(pieces[nearest], self._candidates)
        return judgment if judgment.decision.granted else None

    def _end(self, utterance: Utterance) -> Iterator[Judgment]:
        """An utterance is over: decide on it as a whole, then on what was found in it."""
        if self._answers is not None and self._answers.pending:
            # What a phrase was found in goes on being heard, and is no answer.
            answer = self._answers.judge(utterance) if self._answered_s is None else None
            if answer is not None:
                yield answer
            return
        whole = None
        if self._answered_s is None:
            whole = self._decider.judge(utterance, self._profiles)
            if whole.decision.granted:
                yield whole
                return
        found = list(self._close_ones)
        if self._opened is not None and self._candidates:
            late = self._spotter.feed(self._unheard(self._opened)) + self._spotter.finish()
            found += self._found(self._opened, late, _MOST_TRIED)
        if found:
            yield self._answer(_nearest(found))
        elif whole is not None:
            yield whole


def _nearest(judgments: Sequence[Judgment]) -> Judgment:
    return max(judgments, key=lambda each: each.decision.scores["joint"])
