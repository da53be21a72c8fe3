"""An utterance while it is still being heard: its frames, which are speech, and pieces of it."""

from __future__ import annotations

import logging
import time
from collections import deque
from dataclasses import dataclass

import numpy as np

from edge.audio.blocks import FRAME_S, FRAME_SAMPLES
from edge.audio.quality import measure_quality
from edge.audio.vad import BACKLOG_FRAMES, SPEECH, SpeechDetector
from edge.config import AudioConfig
from edge.types import SAMPLE_RATE, AudioBlock, FloatArray, Utterance

CONTINUE = 0.35
"""Speech goes on down to a lower probability than it begins at, as Silero's authors advise."""


@dataclass
class Frame:
    """A frame of the stream and what the detector made of it.

    Attributes:
        samples: shape (`FRAME_SAMPLES`,).
        start_s: position of its first sample in the stream.
        captured_at: `time.monotonic()` when its last sample was there.
        probability: of speech, 0 to 1.
    """

    samples: FloatArray
    start_s: float
    captured_at: float
    probability: float


class OpenUtterance:
    """The utterance being heard.

    Attributes:
        frames: all of it, in order.
        speech: which of them are speech.
        last_speech: index of the last one that is.
        truncated: whether its beginning was dropped, since it is longer than allowed.
    """

    def __init__(self, frames: list[Frame]) -> None:
        self.frames = frames
        self.speech: list[bool] = []
        self.last_speech = 0
        self.truncated = False
        self._judge()

    @property
    def start_s(self) -> float:
        """Position of the first frame in the stream."""
        return self.frames[0].start_s

    @property
    def end_s(self) -> float:
        """Position just after the last frame."""
        return self.frames[-1].start_s + FRAME_S

    @property
    def quiet_frames(self) -> int:
        """Frames since the last one that is speech."""
        return len(self.frames) - 1 - self.last_speech

    def add(self, frame: Frame, judged: int) -> None:
        """Take in a frame with which the last `judged` frames, itself included, were judged."""
        self.frames.append(frame)
        # The frames judged in retrospect were no speech before: only they can change.
        del self.speech[max(0, len(self.frames) - judged) :]
        self._judge()

    def drop_first(self, count: int) -> None:
        """Forget the oldest frames: it has become longer than an utterance may be."""
        del self.frames[:count], self.speech[:count]
        self.last_speech = max(0, self.last_speech - count)
        self.truncated = True

    def samples_from(self, start_s: float) -> FloatArray:
        """What was heard from a position in the stream on, whole frames, shape (n,)."""
        first = max(0, round((start_s - self.start_s) / FRAME_S))
        parts = [frame.samples for frame in self.frames[first:]]
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    def whole(self, post_frames: int) -> Utterance:
        """All of it, with at most `post_frames` of the silence after its last speech."""
        last = min(len(self.frames) - 1, self.last_speech + post_frames)
        return self._utterance(self.speech.index(True), self.last_speech, 0, last, part=False)

    def part(self, start_s: float, end_s: float) -> Utterance:
        """A piece out of it, alone: nothing of what was said before and after.

        Args:
            start_s: position in the stream where the piece begins.
            end_s: where it ends.
        """
        last = len(self.frames) - 1
        first = min(max(0, round((start_s - self.start_s) / FRAME_S)), last)
        final = min(max(first, round((end_s - self.start_s) / FRAME_S) - 1), last)
        return self._utterance(first, final, first, final, part=True)

    def _utterance(
        self, first: int, final: int, kept_first: int, kept_last: int, *, part: bool
    ) -> Utterance:
        samples = np.concatenate([f.samples for f in self.frames[kept_first : kept_last + 1]])
        # Noise is measured over all that was heard, also what is not kept of the silence.
        heard = np.concatenate([frame.samples for frame in self.frames])
        inside = np.zeros(len(self.frames), np.bool_)
        inside[first : final + 1] = True
        end = self.frames[final]
        return Utterance(
            samples=samples,
            start_s=self.frames[kept_first].start_s,
            end_s=end.start_s + FRAME_S,
            quality=measure_quality(heard, np.array(self.speech), inside if part else None),
            speech_ended_at=end.captured_at,
            closed_at=time.monotonic(),
            truncated=self.truncated and kept_first == 0,
            lead_s=self.frames[first].start_s - self.frames[kept_first].start_s,
        )

    def _judge(self) -> None:
        spoken = bool(self.speech) and self.speech[-1]
        for index in range(len(self.speech), len(self.frames)):
            spoken = self.frames[index].probability >= (CONTINUE if spoken else SPEECH)
            self.speech.append(spoken)
            if spoken:
                self.last_speech = index


_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class EndPointSettings:
    """When an utterance begins and ends; all in seconds.

    Attributes:
        end_silence_s: silence after which an utterance is over. A decision waits this long.
        min_speech_s: speech that an utterance must hold; less is a cough or a door, and dropped.
        max_utterance_s: length at which an utterance is cut, whatever is still being said.
        pre_roll_s: kept before the first speech.
        post_roll_s: kept after the last speech, `end_silence_s` at most.
        rolling: whether speech longer than `max_utterance_s` is heard to its end, the oldest part
            being forgotten, in place of cutting it there.
    """

    end_silence_s: float = 0.6
    min_speech_s: float = 0.3
    max_utterance_s: float = 15.0
    pre_roll_s: float = 0.55
    post_roll_s: float = 0.55
    rolling: bool = False

    @classmethod
    def of(cls, audio: AudioConfig, *, rolling: bool = False) -> EndPointSettings:
        """As the configuration gives them."""
        return cls(
            end_silence_s=audio.end_silence_s,
            min_speech_s=audio.min_speech_s,
            max_utterance_s=audio.max_utterance_s,
            pre_roll_s=audio.pre_roll_s,
            rolling=rolling,
        )


class EndPointer:
    """Cuts a stream of blocks into utterances.

    Blocks may be of any length. Not for use by two threads at once; `speaking` and `level_dbfs`
    may be read from any.

    Attributes:
        discarded: utterances dropped because samples were lost within them.
    """

    def __init__(
        self,
        settings: EndPointSettings | None = None,
        detector: SpeechDetector | None = None,
    ) -> None:
        self.settings = settings or EndPointSettings()
        self._detector = detector or SpeechDetector()
        self._end_frames = max(1, _frames(self.settings.end_silence_s))
        self._min_frames = max(1, _frames(self.settings.min_speech_s))
        self._max_frames = max(1, _frames(self.settings.max_utterance_s))
        self._pre_frames = _frames(self.settings.pre_roll_s)
        self._post_frames = min(_frames(self.settings.post_roll_s), self._end_frames)
        self._recent: deque[Frame] = deque(maxlen=self._pre_frames + BACKLOG_FRAMES)
        self._rest: FloatArray = np.zeros(0, np.float32)
        self._open: OpenUtterance | None = None
        self._quiet_wanted = 0
        self.discarded = 0

    @property
    def speaking(self) -> bool:
        """Whether an utterance is being heard right now."""
        return self._open is not None

    @property
    def opened(self) -> OpenUtterance | None:
        """The utterance being heard, None while there is none; for the thread that feeds."""
        return self._open

    @property
    def level_dbfs(self) -> float:
        """Level of the last 32 ms, dB relative to full scale."""
        return self._detector.level_dbfs

    @property
    def detector(self) -> SpeechDetector:
        """The detector in use, for those who measure it."""
        return self._detector

    def feed(self, block: AudioBlock) -> list[Utterance]:
        """Take in a block and return the utterances that ended with it, mostly none."""
        if block.lost_samples:
            self._lose(block.lost_samples)
        carried = len(self._rest)
        samples = np.concatenate((self._rest, block.samples)) if carried else block.samples
        start_s = block.start_s - carried / SAMPLE_RATE
        done: list[Utterance] = []
        whole = len(samples) - len(samples) % FRAME_SAMPLES
        for at in range(0, whole, FRAME_SAMPLES):
            after = len(samples) - at - FRAME_SAMPLES
            utterance = self._take(
                samples[at : at + FRAME_SAMPLES],
                start_s + at / SAMPLE_RATE,
                block.captured_at - after / SAMPLE_RATE,
            )
            if utterance is not None:
                done.append(utterance)
        self._rest = samples[whole:]
        return done

    def flush(self) -> list[Utterance]:
        """End the stream: return the utterance that was still being heard, if it is one."""
        self._rest = self._rest[:0]
        utterance = self._close() if self._open else None
        self._recent.clear()
        return [utterance] if utterance else []

    def _take(self, samples: FloatArray, start_s: float, captured_at: float) -> Utterance | None:
        probabilities = self._detector.feed(samples)
        frame = Frame(samples, start_s, captured_at, probabilities[-1])
        if self._open is not None:
            _revise(self._open.frames, probabilities)
            self._open.add(frame, len(probabilities))
            if self._open.quiet_frames >= self._end_frames:
                return self._close()
            if len(self._open.frames) >= self._max_frames:
                if self.settings.rolling:
                    self._open.drop_first(1)
                    return None
                self._quiet_wanted = self._end_frames
                self._open.truncated = True
                return self._close()
            return None
        _revise(self._recent, probabilities)
        self._recent.append(frame)
        if self._quiet_wanted > 0:
            spoken = probabilities[-1] >= CONTINUE
            self._quiet_wanted = self._end_frames if spoken else self._quiet_wanted - 1
            if self._quiet_wanted == 0 or spoken:
                self._recent.clear()
            return None
        self._begin(len(probabilities))
        return None

    def _begin(self, judged: int) -> None:
        count = len(self._recent)
        for index in range(max(0, count - judged), count):
            if self._recent[index].probability >= SPEECH:
                keep = list(self._recent)[max(0, index - self._pre_frames) :]
                self._open = OpenUtterance(keep)
                self._recent.clear()
                return

    def _close(self) -> Utterance | None:
        utterance, self._open = self._open, None
        if utterance is None or sum(utterance.speech) < self._min_frames:
            return None
        return utterance.whole(self._post_frames)

    def _lose(self, samples: int) -> None:
        if self._open is not None:
            self.discarded += 1
            _LOG.warning("dropped an utterance in which %d samples were lost", samples)
        self._open = None
        self._recent.clear()
        self._rest = self._rest[:0]
        self._quiet_wanted = self._end_frames
        self._detector.reset()


def _revise(frames: list[Frame] | deque[Frame], probabilities: list[float]) -> None:
    """The gate has just opened: put in what was found about the frames before the newest one."""
    for back, probability in enumerate(reversed(probabilities[:-1]), start=1):
        if back > len(frames):
            return
        frames[-back].probability = probability


def _frames(seconds: float) -> int:
    return round(seconds / FRAME_S)
