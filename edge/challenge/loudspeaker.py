"""Speaks digits: espeak-ng synthesizes them, PortAudio plays them."""

from __future__ import annotations

import io
import logging
import shutil
import subprocess

from edge.types import FloatArray

_PROGRAM = "espeak-ng"
_TIMEOUT_S = 3.0
_WORDS_PER_MINUTE = "130"
_MAX_S = 20.0

_log = logging.getLogger(__name__)


class DigitSpeaker:
    """Speaks digits, in a language as espeak-ng names it; a fault is logged once."""

    def __init__(self, language: str, output: str | None = None) -> None:
        self._language = language
        self._output = output
        self._warned = False
        self._program = shutil.which(_PROGRAM)
        if self._program is None:
            self._warn(f"{_PROGRAM} is not installed")

    def __call__(self, digits: str) -> float:
        """Start speaking digits; the seconds it takes, 0.0 where it does not work."""
        if self._program is None:
            return 0.0
        try:
            samples, rate = self.synthesize(digits)
            # Not at the top: a device without a loudspeaker needs no PortAudio here.
            import sounddevice  # noqa: PLC0415

            sounddevice.play(samples, rate, device=self._output)
        except Exception as error:  # noqa: BLE001 - a mute device still asks over MQTT
            self._warn(str(error))
            return 0.0
        return len(samples) / rate

    def synthesize(self, digits: str) -> tuple[FloatArray, int]:
        """The spoken digits, shape (n,), and samples per second.

        Raises:
            OSError: espeak-ng cannot be run.
            subprocess.SubprocessError: it failed, or took too long.
            soundfile.LibsndfileError: it returned no sound.
            ValueError: these are not digits, or the sound has an unlikely length.
        """
        import soundfile  # noqa: PLC0415 - only where digits are spoken

        if not (digits.isascii() and digits.isdigit() and len(digits) <= 10):
            raise ValueError("only digits can be spoken")
        command = [self._program or _PROGRAM, "-v", self._language, "-s", _WORDS_PER_MINUTE]
        done = subprocess.run(  # noqa: S603 - a fixed list, no shell
            [*command, "--stdin", "--stdout"],
            # Not as an argument: the process list and error messages show those.
            input=", ".join(digits).encode(),
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=True,
        )
        samples, rate = soundfile.read(io.BytesIO(done.stdout), dtype="float32")
        if not 0 < len(samples) <= _MAX_S * rate:
            raise ValueError(f"{len(samples) / rate:.1f} s of sound for {len(digits)} digits")
        return samples, int(rate)

    def _warn(self, problem: str) -> None:
        if not self._warned:
            _log.warning("cannot speak the digits of a challenge: %s", problem)
        self._warned = True
