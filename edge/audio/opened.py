"""An utterance while it is still being heard: its frames, which are speech, and pieces of it."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from edge.audio.frames import FRAME_S
from edge.audio.quality import measure_quality
from edge.audio.vad import SPEECH
from edge.types import FloatArray, Utterance

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
