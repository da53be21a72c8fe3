"""End-pointing: where an utterance begins, where it ends, and when to be sure of it.

An utterance begins when the detector finds speech and ends after `end_silence_s` without any.
The detector judges up to half a second in retrospect, and `pre_roll_s` more is kept before that, so
that the first syllable is whole.

Two things are never let through, because a passphrase with a piece missing must not be guessed:

- An utterance in which samples were lost. It is dropped and counted in `discarded`.
- The rest of one that was cut at `max_utterance_s`; the part before is let go as `truncated`. Or,
  where speech runs on without end (`rolling`), its beginning, and what is let go is `truncated`.

After either, and after any loss, the next utterance begins only once `end_silence_s` of silence
has been heard: what follows sooner may be the tail of something whose head nobody heard.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass

import numpy as np

from edge.audio.frames import FRAME_S, FRAME_SAMPLES
from edge.audio.opened import CONTINUE, Frame, OpenUtterance
from edge.audio.vad import BACKLOG_FRAMES, SPEECH, SpeechDetector
from edge.config import AudioConfig
from edge.types import SAMPLE_RATE, AudioBlock, FloatArray, Utterance

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
