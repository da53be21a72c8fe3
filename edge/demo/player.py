"""A microphone made of recordings: sound at the pace at which it would be heard."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import IO

import numpy as np

from edge.types import SAMPLE_RATE, FloatArray

_BLOCK = SAMPLE_RATE // 50
_ROOM_DBFS = -62.0
"""Level of the noise between recordings, that of the recordings' own."""


class Player:
    """Writes raw mono 16-bit little-endian PCM at 16 kHz to a pipe, in real time, without pause.

    Between recordings a quiet room is heard, for a live microphone is never digitally silent.
    """

    def __init__(self, sink: IO[bytes]) -> None:
        self._sink = sink
        self._pending: deque[FloatArray] = deque()
        self._changed = threading.Condition()
        self._begun: float | None = None
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="demo-player", daemon=True)
        self._room = np.random.default_rng(0).standard_normal(SAMPLE_RATE).astype(np.float32)
        self._room *= np.float32(10.0 ** (_ROOM_DBFS / 20.0))

    def __enter__(self) -> Player:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending = True
        self._thread.join(2.0)

    @property
    def broken(self) -> bool:
        """Whether the other end of the pipe has gone."""
        return not self._thread.is_alive()

    def play(self, samples: FloatArray) -> float | None:
        """Play a recording, shape (n,) at `SAMPLE_RATE`, and return when it is over.

        Returns:
            `time.monotonic()` at which its first sample was heard; None when the pipe broke.
        """
        with self._changed:
            self._begun = None
            self._pending.extend(np.split(samples, np.arange(_BLOCK, len(samples), _BLOCK)))
            while not self.broken and (self._begun is None or self._pending):
                self._changed.wait(0.2)
            return self._begun

    def _run(self) -> None:
        heard = 0
        started = time.monotonic()
        while not self._ending:
            with self._changed:
                if self._pending:
                    block = self._pending.popleft()
                    if self._begun is None:
                        self._begun = started + heard / SAMPLE_RATE
                    self._changed.notify_all()
                else:
                    block = self._room[heard % len(self._room) :][:_BLOCK]
            heard += len(block)
            # A block is there once its last sample has been heard.
            wait = started + heard / SAMPLE_RATE - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            try:
                self._sink.write((np.clip(block, -1.0, 1.0) * 32767.0).astype("<i2").tobytes())
                self._sink.flush()
            except (OSError, ValueError):
                return
