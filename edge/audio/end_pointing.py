"""End-pointing: cuts the stream into utterances, and gives pieces of the one that goes on.

Somebody may stop in the midst of a phrase. Where an utterance begins shortly after the last one,
it is given together with that one too; which of the two was meant is for the listener to decide.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from edge.audio.blocks import FRAME_S, FRAME_SAMPLES
from edge.audio.quality import measure_quality
from edge.audio.vad import BACKLOG_FRAMES, SPEECH, SpeechDetector
from edge.config import AudioConfig
from edge.types import PAUSE_S, AudioBlock, FloatArray, Utterance

CONTINUE = 0.35
"""Speech goes on down to a lower probability than it begins at, as Silero's authors advise."""

PATIENT_SILENCE_S = 1.1
"""Silence after which even somebody who hesitates is done."""

JOINED_SILENCE_S = 1.2
"""Silence after which a phrase does not go on."""

LONGEST_SEQUEL_S = 4.0
"""Speech that goes on for longer after a pause is not the second half of a phrase."""

_LOG = logging.getLogger(__name__)


@dataclass
class Frame:
    """A block of the stream and its probability of speech, 0 to 1."""

    block: AudioBlock
    probability: float


class OpenUtterance:
    """The utterance that is being spoken.

    Attributes:
        frames: all of it, in order.
        speech: which of them are speech; `last_speech` is the index of the last one, negative
            where it has been dropped.
        truncated: whether its beginning was dropped, since it is longer than allowed.
        before: what was heard from the beginning of the last utterance on, where this one may be
            the rest of it; else empty.
    """

    def __init__(self, frames: list[Frame], before: list[Frame] | None = None) -> None:
        self.frames = frames
        self.before = before or []
        self.speech: list[bool] = []
        self.last_speech = 0
        self.truncated = False
        self._mark_speech()

    @property
    def start_s(self) -> float:
        """Position of the first frame in the stream."""
        return self.frames[0].block.start_s

    @property
    def end_s(self) -> float:
        """Position just after the last frame."""
        return self.frames[-1].block.start_s + FRAME_S

    @property
    def quiet_frames(self) -> int:
        """Frames since the last one that is speech."""
        return len(self.frames) - 1 - self.last_speech

    def add(self, frame: Frame, revised: int) -> None:
        """Append a frame; the last `revised` ones, itself included, have new probabilities."""
        self.frames.append(frame)
        # What was classified in retrospect was no speech before: only that can change.
        del self.speech[len(self.frames) - revised :]
        self._mark_speech()

    def drop_first(self) -> None:
        """Drop the oldest frame: it has become longer than an utterance may be."""
        del self.frames[0], self.speech[0]
        self.last_speech -= 1
        self.truncated = True

    def samples_from(self, start_s: float) -> FloatArray:
        """The samples from a position in the stream on, whole frames, shape (n,)."""
        return _samples(self.frames[max(0, round((start_s - self.start_s) / FRAME_S)) :])

    def whole(self, post_frames: int) -> Utterance:
        """All of it, with at most `post_frames` of the silence after its last speech."""
        first, last = self.speech.index(True), self.last_speech
        return self._utterance(first, last, 0, last + post_frames, part=False)

    def joined(self, post_frames: int) -> Utterance | None:
        """It and the last utterance as one; None where it is no rest of that."""
        if not self.before:
            return None
        return OpenUtterance(self.before + self.frames).whole(post_frames)

    def part(self, start_s: float, end_s: float) -> Utterance:
        """A piece of it alone, between two positions in the stream, without what surrounds it."""
        last = len(self.frames) - 1
        first = min(max(0, round((start_s - self.start_s) / FRAME_S)), last)
        final = min(max(first, round((end_s - self.start_s) / FRAME_S) - 1), last)
        # Where silence follows, whoever speaks has stopped: it stands for no words.
        final = max((i for i in range(first, final + 1) if self.speech[i]), default=final)
        return self._utterance(first, final, first, final, part=True)

    def _utterance(
        self, first: int, final: int, kept_first: int, kept_last: int, *, part: bool
    ) -> Utterance:
        inside = np.zeros(len(self.frames), np.bool_)
        inside[first : final + 1] = True
        start, end = self.frames[kept_first].block, self.frames[final].block
        # Noise is measured over all frames, also over the silence that is not kept.
        quality = measure_quality(
            _samples(self.frames),
            np.array(self.speech),
            inside if part else None,
            [frame.block.clipped_fraction for frame in self.frames],
        )
        return Utterance(
            samples=_samples(self.frames[kept_first : kept_last + 1]),
            start_s=start.start_s,
            end_s=end.start_s + FRAME_S,
            quality=quality,
            speech_ended_at=end.captured_at,
            closed_at=time.monotonic(),
            truncated=self.truncated and kept_first == 0,
            lead_s=self.frames[first].block.start_s - start.start_s,
            pauses=tuple(
                ((begin - kept_first) * FRAME_SAMPLES, (end - kept_first) * FRAME_SAMPLES)
                for begin, end in self._pauses(first, final)
            ),
        )

    def _pauses(self, first: int, final: int) -> Iterator[tuple[int, int]]:
        """The longer silences between two frames: the first frame of each, and the one after."""
        spoken = [index for index in range(first, final + 1) if self.speech[index]]
        for last, following in itertools.pairwise(spoken):
            if (following - last - 1) * FRAME_S > PAUSE_S:
                yield last + 1, following

    def _mark_speech(self) -> None:
        spoken = bool(self.speech) and self.speech[-1]
        for index in range(len(self.speech), len(self.frames)):
            spoken = self.frames[index].probability >= (CONTINUE if spoken else SPEECH)
            self.speech.append(spoken)
            if spoken:
                self.last_speech = index


@dataclass(frozen=True)
class EndPointSettings:
    """When an utterance begins and ends; all in seconds.

    Attributes:
        end_silence_s: silence after which an utterance is over. A decision waits this long.
        min_speech_s: speech that an utterance must hold; less is a cough or a door, and dropped.
        max_utterance_s: length at which an utterance is cut while speech goes on.
        pre_roll_s: kept before the first speech.
        post_roll_s: kept after the last speech, `end_silence_s` at most.
        rolling: whether speech longer than `max_utterance_s` goes on to its end, its oldest part
            dropped, in place of being cut there.
        joined_silence_s: silence up to which an utterance and the next one are also given as one.
    """

    end_silence_s: float = 0.6
    min_speech_s: float = 0.3
    max_utterance_s: float = 15.0
    pre_roll_s: float = 0.55
    post_roll_s: float = 0.55
    rolling: bool = False
    joined_silence_s: float = 0.0

    @classmethod
    def of(cls, audio: AudioConfig, *, rolling: bool = False) -> EndPointSettings:
        """As the configuration gives them; `rolling` for a service."""
        return cls(
            end_silence_s=audio.end_silence_s,
            min_speech_s=audio.min_speech_s,
            max_utterance_s=audio.max_utterance_s,
            pre_roll_s=audio.pre_roll_s,
            rolling=rolling,
            joined_silence_s=JOINED_SILENCE_S if rolling else 0.0,
        )

    def patient(self) -> EndPointSettings:
        """The same for somebody who says a phrase for the first time, and hesitates."""
        end_silence_s = max(self.end_silence_s, PATIENT_SILENCE_S)
        return replace(self, end_silence_s=end_silence_s, joined_silence_s=0.0)


class EndPointer:
    """Cuts a stream of blocks into utterances.

    Not for use by two threads at once; `speaking` and `level_dbfs` may be read from any. `opened`
    is the utterance that is being spoken, if any; `discarded` counts those in which samples were
    lost.
    """

    def __init__(
        self,
        settings: EndPointSettings | None = None,
        detector: SpeechDetector | None = None,
    ) -> None:
        self.detector = detector or SpeechDetector()
        self.opened: OpenUtterance | None = None
        self.discarded = 0
        self._recent: deque[Frame] = deque()
        self._quiet_wanted = 0
        # The last utterance up to its last speech, while the next one may be the rest of it.
        self._last: list[Frame] | None = None
        self.use(settings or EndPointSettings())

    def use(self, settings: EndPointSettings) -> None:
        """Cut by these settings from the next block on."""
        self.settings = settings
        self._last = None
        self._end_frames = max(1, _frames(self.settings.end_silence_s))
        self._min_frames = max(1, _frames(self.settings.min_speech_s))
        self._max_frames = _frames(self.settings.max_utterance_s)
        self._pre_frames = _frames(self.settings.pre_roll_s)
        self._post_frames = min(_frames(self.settings.post_roll_s), self._end_frames)
        self._joined_frames = _frames(self.settings.joined_silence_s)
        self._sequel_frames = _frames(LONGEST_SEQUEL_S)
        kept = max(self._pre_frames, self._joined_frames) + BACKLOG_FRAMES
        self._recent = deque(self._recent, maxlen=kept)

    @property
    def may_go_on(self) -> bool:
        """Whether the last utterance that ended may still go on after a pause, or does already."""
        return self._last is not None or (self.opened is not None and bool(self.opened.before))

    def forget_last(self) -> None:
        """What comes next is no rest of the last utterance."""
        self._last = None
        if self.opened is not None:
            self.opened.before = []

    @property
    def speaking(self) -> bool:
        """Whether an utterance is being spoken right now."""
        return self.opened is not None

    @property
    def level_dbfs(self) -> float:
        """Level of the last block, dB relative to full scale."""
        return self.detector.level_dbfs

    def feed(self, block: AudioBlock) -> list[Utterance]:
        """Take in a block and return the utterance that ended with it, mostly none.

        Raises:
            ValueError: the block is longer than `FRAME_SAMPLES`. A shorter one, the last of its
                stream, is left out.
        """
        if block.lost_samples:
            self._lose(block.lost_samples)
        if len(block.samples) != FRAME_SAMPLES:
            if len(block.samples) > FRAME_SAMPLES:
                raise ValueError(f"a block has {FRAME_SAMPLES} samples, not {len(block.samples)}")
            return []
        probabilities = self.detector.feed(block.samples)
        frame = Frame(block, probabilities[-1])
        if self.opened is not None:
            utterance = self._continue(self.opened, frame, probabilities)
            return [utterance] if utterance else []
        _revise(self._recent, probabilities)
        self._recent.append(frame)
        if self._quiet_wanted > 0:
            spoken = frame.probability >= CONTINUE
            self._quiet_wanted = self._end_frames if spoken else self._quiet_wanted - 1
            if self._quiet_wanted == 0 or spoken:
                self._recent.clear()
        else:
            self._begin(len(probabilities))
        if self._last is not None and len(self._recent) >= self._joined_frames:
            self._last = None
        return []

    def flush(self) -> list[Utterance]:
        """End the stream: return the utterance that was still open, if it is one."""
        utterance = self._close() if self.opened else None
        self._recent.clear()
        self._last = None
        return [utterance] if utterance else []

    def _begin(self, revised: int) -> None:
        count = len(self._recent)
        for index in range(max(0, count - revised), count):
            if self._recent[index].probability >= SPEECH:
                first = max(0, index - self._pre_frames)
                recent = list(self._recent)
                self.opened = OpenUtterance(recent[first:])
                if self._last is not None:
                    # All that is recent came after it.
                    self.opened.before = self._last + recent[:first]
                    self._last = None
                self._recent.clear()
                return

    def _continue(
        self, opened: OpenUtterance, frame: Frame, probabilities: list[float]
    ) -> Utterance | None:
        _revise(opened.frames, probabilities)
        opened.add(frame, len(probabilities))
        if opened.before:
            most = self._max_frames - len(opened.before)
            since_speech = len(opened.frames) - opened.speech.index(True)
            if since_speech > self._sequel_frames or len(opened.frames) > most:
                opened.before = []
        if opened.quiet_frames >= self._end_frames:
            return self._close()
        if len(opened.frames) >= self._max_frames:
            if not self.settings.rolling:
                self._quiet_wanted = self._end_frames
                opened.truncated = True
                return self._close()
            opened.drop_first()
        return None

    def _close(self) -> Utterance | None:
        opened, self.opened = self.opened, None
        if opened is None:
            return None
        # The silence after it is also that before the next one.
        after = max(0, opened.last_speech + 1)
        self._recent.extend(opened.frames[after:])
        short = sum(opened.speech) < self._min_frames
        if self._joined_frames > self._end_frames and not opened.truncated:
            # A cough between two halves of a phrase does not part them.
            self._last = (opened.before if short else []) + opened.frames[:after]
        if short:
            return None
        return replace(opened.whole(self._post_frames), joined=opened.joined(self._post_frames))

    def _lose(self, samples: int) -> None:
        if self.opened is not None:
            self.discarded += 1
            _LOG.warning("dropped an utterance in which %d samples were lost", samples)
        self.opened = self._last = None
        self._quiet_wanted = self._end_frames
        self.detector.reset()


def _revise(frames: list[Frame] | deque[Frame], probabilities: list[float]) -> None:
    """Set the probabilities of earlier frames, found only now; the newest one is not among them."""
    for back in range(1, min(len(probabilities) - 1, len(frames)) + 1):
        frames[-back].probability = probabilities[-1 - back]


def _samples(frames: list[Frame]) -> FloatArray:
    parts = [frame.block.samples for frame in frames]
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def _frames(seconds: float) -> int:
    return round(seconds / FRAME_S)
