"""Levels of sound, thinned out for people to look at."""

from __future__ import annotations

import time

import numpy as np

from edge.monitor.messages import Message, level_message
from edge.types import AudioBlock

SHOWN_EVERY_S = 0.1
KEPT_EVERY_S = 1.0
_LOWEST_DBFS = -100.0


class Levels:
    """Gathers blocks into one message now and then. Used from the thread that hears."""

    def __init__(self) -> None:
        self._loudest = _LOWEST_DBFS
        self._peak = 0.0
        self._due = 0.0

    def take(
        self, block: AudioBlock, level_dbfs: float, *, hearing: bool, watched: bool
    ) -> Message | None:
        """Take in a block.

        Args:
            block: what was heard.
            level_dbfs: its level.
            hearing: whether an utterance is being heard.
            watched: whether anybody looks; else a message is made once a second, to be kept.

        Returns:
            A message where one is due.
        """
        self._loudest = max(self._loudest, level_dbfs)
        if len(block.samples):
            self._peak = max(self._peak, float(np.abs(block.samples).max()))
        now = time.monotonic()
        if now < self._due:
            return None
        self._due = now + (SHOWN_EVERY_S if watched else KEPT_EVERY_S)
        peak_dbfs = 20.0 * float(np.log10(self._peak)) if self._peak > 1e-5 else _LOWEST_DBFS
        message = level_message(self._loudest, peak_dbfs, hearing=hearing)
        self._loudest, self._peak = _LOWEST_DBFS, 0.0
        return message
