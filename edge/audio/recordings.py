"""Recordings of what was heard, to find out what goes wrong; off unless somebody asks for them.

Nothing else in this software writes down what a microphone heard. A recording of an accepted
phrase is what a burglar would play to the door, so there are few of them, for this user alone, and
every start says that they are made.
"""

from __future__ import annotations

import logging
import os
import time
import wave
from pathlib import Path

import numpy as np

from edge.types import SAMPLE_RATE, Utterance

MAX_FILES = 20
MAX_SECONDS = 20.0
"""A longer utterance is cut off at its end."""
_PREFIX = "utterance-"

_log = logging.getLogger(__name__)


class DebugRecordings:
    """The latest utterances as WAV files of mode 0600; the oldest one makes room.

    Args:
        folder: `store.debug_recordings`; made if missing, private to the user.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._failed = False
        self._number = 0
        _log.warning(
            "store.debug_recordings is on: the latest %d utterances are kept as recordings in %s;"
            " whoever gets them can play them to the door. Empty the setting and the folder when"
            " done",
            MAX_FILES,
            folder,
        )

    def keep(self, utterance: Utterance) -> None:
        """Write an utterance down; what cannot be written is logged once and missed."""
        try:
            self._folder.mkdir(parents=True, mode=0o700, exist_ok=True)
            self._number += 1
            name = time.strftime(f"{_PREFIX}%Y%m%d-%H%M%S-{self._number:06}.wav")
            self._write(self._folder / name, utterance)
            for old in sorted(self._folder.glob(f"{_PREFIX}*.wav"))[:-MAX_FILES]:
                old.unlink(missing_ok=True)
        except OSError as error:
            if not self._failed:
                _log.warning("cannot write recordings to %s: %s", self._folder, error.strerror)
            self._failed = True
        else:
            self._failed = False

    def _write(self, file: Path, utterance: Utterance) -> None:
        samples = utterance.samples[: round(MAX_SECONDS * SAMPLE_RATE)]
        whole = np.clip(np.rint(samples * 32767.0), -32768, 32767).astype("<i2")
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as handle, wave.open(handle, "wb") as recording:
            recording.setnchannels(1)
            recording.setsampwidth(2)
            recording.setframerate(SAMPLE_RATE)
            recording.writeframes(whole.tobytes())
