"""Sound from a program, such as a camera's stream through ffmpeg, read from its standard output."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shlex
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from edge.audio.sources import Source, StandardInputSource
from edge.config.texts import without_secrets
from edge.errors import AudioFormatError, MicrophoneError
from edge.types import AudioBlock
from edge.types.microphone import program_kind

_PIPE_BYTES = 1 << 20
"""Sound that waits while the processor is busy: half a minute at 16 kHz."""
_LAST_WORDS = 200
_LONGEST_LINE = 4096
_END_S = 0.3
_OURS = ("CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC")
"""What systemd tells the service alone."""

_LOG = logging.getLogger(__name__)


class CommandMicrophone(Source):
    """A program as a microphone: it writes a WAV stream, or bare 16-bit mono at 16 kHz.

    Args:
        command: the program and its arguments, as a shell would split them; no shell runs it.
        stall_s: time without sound that counts as a stall, seconds.

    Raises:
        MicrophoneError: on entering, when it cannot be started or no sound comes.
    """

    def __init__(self, command: str, stall_s: float = 2.0) -> None:
        self._arguments = shlex.split(command)
        # Not the whole command: a camera's password may be in it.
        self.name = without_secrets(Path(self._arguments[0]).name)
        self.kind = program_kind(self.name)
        self.rate = 0
        self._stall_s = stall_s
        self._process: subprocess.Popen[bytes] | None = None
        self._sound: StandardInputSource | None = None
        self._closed = False
        self._said = ""
        self._listener: threading.Thread | None = None

    def __enter__(self) -> CommandMicrophone:
        process = self._process = self._start()
        if process.stdout is None or process.stderr is None:
            raise RuntimeError("a process without its pipes")
        with contextlib.suppress(OSError):  # beyond what this user may take
            fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._listener = threading.Thread(
            target=self._listen, args=(process.stderr,), name="audio.source", daemon=True
        )
        self._listener.start()
        self._sound = StandardInputSource(process.stdout, f"'{self.name}'", self._stall_s)
        try:
            if self._closed:
                self._sound.close()
            self.rate = self._sound.open()
        except (AudioFormatError, MicrophoneError) as error:
            reason = self._ended() or str(error)
            self._stop()
            raise MicrophoneError(reason) from None
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self._stop()

    def close(self) -> None:
        """Have `blocks` end soon; may be called from any thread, and again."""
        self._closed = True
        sound = self._sound
        if sound is not None:
            sound.close()

    def blocks(self) -> Iterator[AudioBlock]:
        """Blocks of 32 ms as they arrive, until `close`.

        Raises:
            MicrophoneStalled: nothing has arrived for `stall_s`.
            MicrophoneError: the program has ended, or writes what is no sound.
        """
        if self._sound is None:
            raise RuntimeError("a microphone is used within `with`")
        try:
            yield from self._sound.blocks()
        except AudioFormatError as error:
            raise MicrophoneError(self._ended() or str(error)) from None
        if not self._closed:
            raise MicrophoneError(self._ended() or f"'{self.name}' has closed its output")

    def _start(self) -> subprocess.Popen[bytes]:
        environment = {name: value for name, value in os.environ.items() if name not in _OURS}
        try:
            # A group of its own: an interrupt at the terminal is the service's, and its helpers
            # end with it.
            return subprocess.Popen(  # noqa: S603 (the owner's own configuration)
                self._arguments,
                bufsize=0,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            raise MicrophoneError(
                f"audio.source: '{self.name}' cannot be started ({error.strerror}); install it, or"
                " correct the command"
            ) from None

    def _listen(self, stream: IO[bytes]) -> None:
        """Read what the program says, so that it never waits, and keep the end of it."""
        with contextlib.suppress(OSError, ValueError), stream:
            begins = True
            for line in iter(lambda: stream.readline(_LONGEST_LINE), b""):
                ends = line.endswith(b"\n")
                whole, begins = begins and (ends or len(line) < _LONGEST_LINE), ends
                if not whole:  # it would be cut, perhaps within a password
                    continue
                text = without_secrets(line.decode("utf-8", "replace"))
                shown = "".join(letter if letter.isprintable() else " " for letter in text).strip()
                if shown:
                    self._said = shown[-_LAST_WORDS:]
                    _LOG.debug("%s: %s", self.name, self._said)

    def _ended(self) -> str:
        """How the program ended, in its own last words; empty while it runs."""
        process = self._process
        if process is None:
            return ""
        try:
            code = process.wait(_END_S)
        except subprocess.TimeoutExpired:
            return ""
        if self._listener is not None:
            self._listener.join(_END_S)
        how = f"exit code {code}" if code >= 0 else f"signal {-code}"
        return f"'{self.name}' has ended ({how})" + (f": {self._said}" if self._said else "")

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            # The leader may have ended and left others of its group.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_END_S)
        if process.stdout is not None:
            process.stdout.close()
