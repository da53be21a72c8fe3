"""The one thread that calls PortAudio.

PortAudio may be used by one thread at a time, and some of its calls never return: stopping a stream
waits for a sound server that has stopped answering. So one thread makes every call, callers wait
with a timeout, and while that thread is stuck new calls fail at once. When it is free again, what
was abandoned is undone.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Generic, TypeVar

from edge.errors import MicrophoneError

T = TypeVar("T")

CALL_S = 3.0
"""Longest that a call into PortAudio is waited for, seconds."""

OPEN_STREAMS: set[int] = set()
"""Identities of the open streams, which `rescan` must not break; for PortAudio's thread."""

_log = logging.getLogger(__name__)

_EXIT_S = 0.5
_POLL_S = 0.05


class _Job(Generic[T]):
    def __init__(self, function: Callable[[Any], T], undo: Callable[[T], None] | None) -> None:
        self.function = function
        self.undo = undo
        self.done = threading.Event()
        self.lock = threading.Lock()
        self.abandoned = False
        self.result: T | None = None
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            result = self.function(_sounddevice())
        except BaseException as error:  # noqa: BLE001 - it is raised again where it was called
            self.error = error
            self.done.set()
            return
        with self.lock:
            self.result = result
            self.done.set()
            if not self.abandoned or self.undo is None:
                return
        self.undo(result)


class _Worker:
    def __init__(self) -> None:
        self._jobs: queue.Queue[_Job[Any]] = queue.Queue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self.running_since: float | None = None

    def put(self, job: _Job[Any]) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="portaudio", daemon=True)
                self._thread.start()
        self._jobs.put(job)

    def _run(self) -> None:
        while True:
            job = self._jobs.get()
            self.running_since = time.monotonic()
            try:
                job.run()
            finally:
                self.running_since = None


_WORKER = _Worker()
_LIBRARY: list[Any] = []


def call(
    function: Callable[[Any], T],
    timeout_s: float = CALL_S,
    undo: Callable[[T], None] | None = None,
    canceled: threading.Event | None = None,
) -> T:
    """Run `function(sounddevice)` on PortAudio's thread and return what it returns.

    It is waited for until `timeout_s` or until `canceled` is set; a result that comes later is
    passed to `undo`.

    Raises:
        MicrophoneError: PortAudio is missing, reports an error, or does not answer in time.
    """
    if busy_s() > CALL_S:
        raise _no_answer(busy_s())
    job: _Job[T] = _Job(function, undo)
    _WORKER.put(job)
    deadline = time.monotonic() + timeout_s
    while not job.done.wait(_POLL_S):
        stop = canceled is not None and canceled.is_set()
        if not stop and time.monotonic() < deadline:
            continue
        with job.lock:
            if not job.done.is_set():
                job.abandoned = True
                raise _no_answer(timeout_s)
    if job.error is not None:
        raise _explained(job.error) from job.error
    return job.result  # type: ignore[return-value]


def busy_s() -> float:
    """How long the current call has taken so far, seconds; 0 without one."""
    since = _WORKER.running_since
    return 0.0 if since is None else time.monotonic() - since


def submit(function: Callable[[Any], None]) -> threading.Event:
    """Run `function(sounddevice)` when PortAudio is free; the event is set once it has."""
    job: _Job[None] = _Job(function, None)
    _WORKER.put(job)
    return job.done


def rescan(sounddevice: Any) -> None:
    """Have PortAudio look for devices again, unless a stream is open; on PortAudio's thread.

    It looks only when it is initialized.
    """
    if not OPEN_STREAMS:
        sounddevice._terminate()
        sounddevice._initialize()


def _sounddevice() -> Any:
    """The library, imported on PortAudio's thread: importing it starts PortAudio."""
    if not _LIBRARY:
        _silence_libraries()
        import sounddevice  # noqa: PLC0415 - machines without PortAudio still read files

        # For as long as PortAudio starts, which may be for ever, it would send all that this
        # process says to /dev/null. Where it has no `dup`, it does not.
        sounddevice._os = SimpleNamespace(dup=_refused)
        # Its own exit handler would wait for ever for a sound server that does not answer.
        atexit.unregister(sounddevice._exit_handler)
        atexit.register(_terminate)
        _LIBRARY.append(sounddevice)
    return _LIBRARY[0]


def _silence_libraries() -> None:
    """Send nowhere what C libraries print: PortAudio and ALSA say much of each lost microphone.

    Python's own standard error does not go through C's. With -vv the lines stay.
    """
    if _log.isEnabledFor(logging.DEBUG):
        return
    with contextlib.suppress(AttributeError, ValueError):
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version  # noqa: B018 - elsewhere the pointer may be constant
        libc.fopen.restype = ctypes.c_void_p
        nowhere = libc.fopen(os.devnull.encode(), b"we")
        if nowhere:
            ctypes.c_void_p.in_dll(libc, "stderr").value = nowhere


def _refused(_: int) -> int:
    raise OSError


def _terminate() -> None:
    submit(lambda sounddevice: sounddevice._exit_handler()).wait(_EXIT_S)


def _no_answer(seconds: float) -> MicrophoneError:
    return MicrophoneError(
        f"the sound system has not answered for {seconds:.1f} s; check PulseAudio, PipeWire or ALSA"
    )


def _explained(error: BaseException) -> BaseException:
    if isinstance(error, OSError) and "PortAudio" in str(error):
        return MicrophoneError("PortAudio is not installed; run: sudo apt install libportaudio2")
    if _LIBRARY and isinstance(error, _LIBRARY[0].PortAudioError):
        return MicrophoneError(f"PortAudio: {error.args[0] if error.args else error}")
    return error
