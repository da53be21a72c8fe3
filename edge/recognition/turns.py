"""Who speaks when: turns of one voice each in running speech, found as they are spoken.

The last second and a half of speech is embedded, from three quarters of a second on: each quarter
until the turn has two seconds, then each half second. Within a turn the embeddings are averaged, so
a name gets surer the longer somebody speaks. Two embeddings in a row that are unlike the turn's
begin another one; speech after a silence goes on with the last turn where it is of the same voice,
else it begins its own.

Who speaks for an hour is compared thousands of times. To give a name takes so much that a stream of
other people's speech gets at most about a thousand times the false-accept rate of false names an
hour: one at 1 in 1,000. To keep a name takes less.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edge.audio.blocks import FRAME_S, QUIETEST_DB
from edge.audio.end_pointing import CONTINUE
from edge.audio.vad import BACKLOG_FRAMES, SPEECH, FrameDetector, SpeechDetector
from edge.recognition.dtw import unit
from edge.recognition.engine import Engine
from edge.recognition.results import Analysis
from edge.recognition.scoring import confidence_of, cosine
from edge.types import AudioBlock, Confidence, FloatArray, Profile, Quality, SpeakerMatch

_FIRST_FRAMES = 24
"""Speech before anything is said of who it is, 0.77 s."""
_EARLY_FRAMES = 64
"""Speech of a turn, 2 s, until which it is looked at each `_SOON_FRAMES`."""
_SOON_FRAMES = 8
_STEP_FRAMES = 16
_WINDOW_FRAMES = 47
"""Speech that one embedding covers, 1.5 s: in longer ones a change of speaker is found too late."""
_SHORTEST_FRAMES = 20
"""A turn that ends sooner, after 0.64 s, is nobody's."""
_LEAST_FRESH = 4
_ANOTHER, _ANOTHER_SHORT = 0.5, 0.4
"""Cosine below which an embedding is not of the turn's voice, and from which speech after a silence
is; the second is for embeddings of less than `_LONG_FRAMES`, in which any voice is less like
itself."""
_LONG_FRAMES = 40
_CHANCES = 30
"""How many strangers an hour counts as, in thousands: by so much less is each look's rate. Found on
half of the people of speechocean762, docs/accuracy.md."""
_KEPT, _SAME_VOICE = 3.0, 5.0
"""How much less a name has to be likely to be kept, and a single embedding to be of the voice of
the person whose turn it is: log-likelihood ratios below the threshold of one comparison."""
_LATER_S = 2.0
"""Silence after which the same voice begins a turn of its own."""


@dataclass(frozen=True)
class Turn:
    """Speech of one voice, as far as it is known: later ones of the same `number` replace it.

    Attributes:
        number: counts the turns of a stream, from 1.
        start_s: where it begins in the stream, seconds.
        end_s: where its last speech so far ends, seconds.
        speaker: whose voice it is; None for nobody of the group.
        over: whether it has ended.
    """

    number: int
    start_s: float
    end_s: float
    speaker: SpeakerMatch | None
    confidence: Confidence
    over: bool = False


@dataclass
class _Open:
    """The turn that goes on: its embeddings summed, and its speech in frames."""

    turn: Turn
    total: FloatArray
    spoken: int
    pending: tuple[FloatArray, float, int] | None = None
    """The last embedding, where it was another voice's, where it began, and its fresh frames."""

    @property
    def voice(self) -> FloatArray:
        return unit(self.total)


class TurnFinder:
    """Finds turns in a stream of blocks; from one thread at a time.

    Args:
        profiles: who may speak, of either kind; the false-accept rate holds for all together.
        silence_s: silence that ends a turn, seconds.
        detector: tells what is speech; by default one of its own.

    Raises:
        ProfileError: there is nobody, or one of them is not ready.
    """

    def __init__(
        self,
        engine: Engine,
        profiles: Sequence[Profile],
        silence_s: float = 0.6,
        *,
        detector: FrameDetector | None = None,
    ) -> None:
        engine.require_group(profiles)
        self._engine = engine
        self._profiles = list(profiles)
        self._most_quiet = max(1, round(silence_s / FRAME_S))
        self._detector: FrameDetector = detector or SpeechDetector()
        self._recent: deque[AudioBlock] = deque(maxlen=BACKLOG_FRAMES)
        self._speech: deque[AudioBlock] = deque(maxlen=_WINDOW_FRAMES)
        self._spoken = self._fresh = self._quiet = 0
        """Frames of speech since the last silence, since the last look, of silence since speech."""
        self._count = 0
        self._open: _Open | None = None

    def feed(self, block: AudioBlock) -> list[Turn]:
        """Take in a block of the stream; the turns that have begun, changed or ended with it."""
        found: list[Turn] = []
        if block.lost_samples:
            found += self.finish()
        if len(block.samples) < len(self._recent[-1].samples if self._recent else block.samples):
            return found  # the rest of a file
        self._recent.append(block)
        probabilities = self._detector.feed(block.samples)
        # When the gate opens, what was quiet so far is classified in retrospect.
        for heard, probability in zip(
            list(self._recent)[-len(probabilities) :], probabilities[-len(self._recent) :]
        ):
            found += self._take(heard, speech=self._is_speech(probability))
        return found

    def finish(self) -> list[Turn]:
        """The stream has ended, or broken off: what is still open is over."""
        found = self._end_of_speech()
        if self._open is not None:
            found.append(replace(self._open.turn, over=True))
        self._open = None
        self._recent.clear()
        self._detector.reset()
        return found

    def _is_speech(self, probability: float) -> bool:
        return probability > (CONTINUE if self._spoken and not self._quiet else SPEECH)

    def _take(self, block: AudioBlock, *, speech: bool) -> list[Turn]:
        if speech:
            self._quiet = 0
            self._speech.append(block)
            self._spoken += 1
            self._fresh += 1
            return self._look() if self._fresh >= self._due else []
        self._quiet += 1
        found = self._end_of_speech() if self._quiet == self._most_quiet else []
        if self._open is not None and block.end_s - self._open.turn.end_s > _LATER_S:
            found.append(replace(self._open.turn, over=True))
            self._open = None
        return found

    @property
    def _due(self) -> int:
        """Frames of speech from one look to the next."""
        if self._fresh == self._spoken:
            return _FIRST_FRAMES
        current = self._open
        early = current is None or current.pending is not None or current.spoken < _EARLY_FRAMES
        return _SOON_FRAMES if early else _STEP_FRAMES

    def _end_of_speech(self) -> list[Turn]:
        """Look at what was said since the last look, before the silence."""
        found: list[Turn] = []
        if self._spoken >= _SHORTEST_FRAMES and self._fresh > _LEAST_FRESH:
            found = self._look()
        elif self._fresh < self._spoken and self._open is not None:
            self._open.turn = replace(self._open.turn, end_s=self._speech[-1].end_s)
        if self._open is not None:
            self._open.pending = None
        self._speech.clear()
        self._spoken = self._fresh = 0
        return found

    def _look(self) -> list[Turn]:
        """Embed the last speech, and see whose turn it is."""
        fresh, self._fresh = self._fresh, 0
        follows_silence = fresh == self._spoken
        voice = self._engine.models.speaker.embed(
            np.concatenate([block.samples for block in self._speech])
        )
        start_s, end_s = self._speech[0].start_s, self._speech[-1].end_s
        current = self._open
        if current is None:
            return [self._begin(voice, start_s, end_s, fresh)]
        if self._goes_on(current, voice):
            current.pending = None
            return [self._go_on(current, voice, end_s, fresh)]
        if follows_silence:  # nothing of the last turn is in it
            return [replace(current.turn, over=True), self._begin(voice, start_s, end_s, fresh)]
        if current.pending is None:
            # Half of what was embedded may be the turn's own: the next look decides.
            current.pending = voice, (start_s + end_s) / 2.0, fresh
            return []
        before, changed_s, earlier = current.pending
        ended = replace(current.turn, end_s=min(current.turn.end_s, changed_s), over=True)
        return [ended, self._begin(before + voice, changed_s, end_s, earlier + fresh)]

    def _goes_on(self, current: _Open, voice: FloatArray) -> bool:
        """Whether an embedding is of the turn's voice, or of the person whose turn it is."""
        least = _ANOTHER if len(self._speech) >= _LONG_FRAMES else _ANOTHER_SHORT
        if cosine(current.voice, voice) >= least:
            return True
        speaker = current.turn.speaker
        return speaker is not None and any(
            match.profile_id == speaker.profile_id and match.margin >= -_SAME_VOICE
            for match in self._matches(voice, among=1)
        )

    def _begin(self, total: FloatArray, start_s: float, end_s: float, spoken: int) -> Turn:
        self._count += 1
        turn = Turn(self._count, start_s, end_s, None, Confidence.LOW)
        self._open = _Open(turn, total, spoken)
        return self._named(self._open)

    def _go_on(self, current: _Open, voice: FloatArray, end_s: float, spoken: int) -> Turn:
        current.total = current.total + voice
        current.spoken += spoken
        current.turn = replace(current.turn, end_s=end_s)
        return self._named(current)

    def _named(self, current: _Open) -> Turn:
        """The turn, with whoever is nearest to all of it."""
        before = current.turn.speaker
        chances = len(self._profiles) * _CHANCES
        best = max(self._matches(current.voice, chances), key=lambda match: match.score)
        speaker, margin = (best if best.accepted else None), best.margin
        if speaker is None and before is not None and before.profile_id == best.profile_id:
            once = next(
                match
                for match in self._matches(current.voice, among=1)
                if match.profile_id == best.profile_id
            )
            kept = replace(once, threshold=once.threshold - _KEPT)
            if kept.accepted:
                speaker, margin = kept, 0.0
        current.turn = replace(current.turn, speaker=speaker, confidence=confidence_of([margin]))
        return current.turn

    def _matches(self, voice: FloatArray, among: int) -> list[SpeakerMatch]:
        # Its length makes no difference to the calibration.
        quality = Quality(QUIETEST_DB, QUIETEST_DB, 0.0, 0.0, _WINDOW_FRAMES * FRAME_S)
        analysis = Analysis(voice, None, quality, {})
        return self._engine.match_speakers(self._profiles, analysis, among=among)


def turns(
    engine: Engine,
    profiles: Sequence[Profile],
    blocks: Iterable[AudioBlock],
    silence_s: float = 0.6,
) -> Iterator[Turn]:
    """Who speaks when in a stream, as it comes: each turn again whenever more is known of it.

    Raises:
        ProfileError: there is nobody, or one of them is not ready.
    """
    finder = TurnFinder(engine, profiles, silence_s)
    for block in blocks:
        yield from finder.feed(block)
    yield from finder.finish()
