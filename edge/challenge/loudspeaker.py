"""Digits through a loudspeaker: espeak-ng makes the sound, PortAudio plays it."""

from __future__ import annotations

import io
import logging
import shutil
import subprocess
from typing import Any

_log = logging.getLogger(__name__)

_PROGRAM = "espeak-ng"
_TIMEOUT_S = 3.0
_WORDS_A_MINUTE = "130"
_LONGEST_S = 20.0


class DigitSpeaker:
    """Says digits. What goes wrong is logged once; the digits are still shown elsewhere.

    Args:
        language: as espeak-ng names it.
        output: part of the name of the loudspeaker; None for the system's default.
    """

    def __init__(self, language: str, output: str | None = None) -> None:
        self._language = language
        self._output = output
        self._complained = False
        self._program = shutil.which(_PROGRAM)
        if self._program is None:
            self._complain(f"{_PROGRAM} is not installed")

    def __call__(self, digits: str) -> float:
        """Begin to say the digits, and return how many seconds it takes; 0.0 where it cannot."""
        if self._program is None:
            return 0.0
        try:
            samples, rate = self.sound_of(digits)
            # Not at the top: a device without a loudspeaker needs no PortAudio here.
            import sounddevice  # noqa: PLC0415

            sounddevice.play(samples, rate, device=self._output)
        except Exception as error:  # noqa: BLE001 - a mute device still asks over MQTT
            self._complain(str(error))
            return 0.0
        return len(samples) / rate

    def sound_of(self, digits: str) -> tuple[Any, int]:
        """The spoken digits, shape (n,), and samples per second.

        Raises:
            OSError: the program cannot be run.
            subprocess.SubprocessError: it failed, or took too long.
            soundfile.LibsndfileError: it gave no sound.
            ValueError: these are no digits, or it gave no sound that could be them.
        """
        import soundfile  # noqa: PLC0415 - only where digits are spoken

        if not (digits.isascii() and digits.isdigit() and len(digits) <= 10):
            raise ValueError("only digits are said")
        command = [self._program or _PROGRAM, "-v", self._language, "-s", _WORDS_A_MINUTE]
        done = subprocess.run(  # noqa: S603 - a fixed list, no shell
            [*command, "--stdin", "--stdout"],
            # Not as an argument: those are in the list of processes, and in what an error says.
            input=", ".join(digits).encode(),
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=True,
        )
        samples, rate = soundfile.read(io.BytesIO(done.stdout), dtype="float32")
        if not 0 < len(samples) <= _LONGEST_S * rate:
            raise ValueError(f"{len(samples) / rate:.1f} s of sound cannot be {len(digits)} digits")
        return samples, int(rate)

    def _complain(self, what: str) -> None:
        if not self._complained:
            _log.warning("the digits of a challenge are not said aloud: %s", what)
        self._complained = True
