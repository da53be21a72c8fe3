"""A microphone that comes back: the source of a daemon that nobody watches."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from types import TracebackType

from edge.audio import portaudio
from edge.audio.devices import DeviceChoice
from edge.audio.microphone import Microphone
from edge.errors import MicrophoneError
from edge.types import SAMPLE_RATE, AudioBlock

_STUCK_S = 20.0

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class MicrophoneState:
    """Whether anything is being heard.

    Attributes:
        listening: sound is arriving.
        reason: why not, one line; empty while listening.
        device: name of the device.
    """

    listening: bool
    reason: str
    device: str


class Timeline:
    """Joins one stream after another into one, with the time between them counted as lost."""

    def __init__(self) -> None:
        self._offset_s = 0.0
        self._end_s = 0.0
        self._captured_at: float | None = None
        self._rejoin = False

    def interrupt(self) -> None:
        """The stream has broken off; the next block begins another one."""
        self._rejoin = True

    def place(self, block: AudioBlock) -> AudioBlock:
        """The block at its place in the joined stream."""
        lost = block.lost_samples
        if self._rejoin and self._captured_at is not None:
            began_at = block.captured_at - len(block.samples) / SAMPLE_RATE
            # A gap is told even where clocks see none, since the sound does not continue.
            lost += max(1, round((began_at - self._captured_at) * SAMPLE_RATE))
            self._offset_s = self._end_s + lost / SAMPLE_RATE - block.start_s
        self._rejoin = False
        placed = replace(block, start_s=block.start_s + self._offset_s, lost_samples=lost)
        self._end_s, self._captured_at = placed.end_s, placed.captured_at
        return placed


class PersistentMicrophone:
    """A microphone whose stream ends only with `close`.

    When the device goes away, its sound server dies or no sound arrives any more, that is told to
    `on_change`, and the device is tried again every `retry_s` until it is back.

    Args:
        device: None for the default, a number, or a part of a name.
        on_change: told when listening begins and ends, on the thread that takes the blocks.
        ring_s: how far the reader may fall behind before samples are lost, seconds.
        stall_s: silence of the sound system that counts as a stall, seconds.
        retry_s: time between attempts, seconds.
    """

    def __init__(
        self,
        device: DeviceChoice = None,
        on_change: Callable[[MicrophoneState], None] | None = None,
        ring_s: float = 20.0,
        stall_s: float = 2.0,
        retry_s: float = 1.0,
    ) -> None:
        self._device = device
        self._on_change = on_change
        self._ring_s = ring_s
        self._stall_s = stall_s
        self._retry_s = retry_s
        self._closed = threading.Event()
        self._current: Microphone | None = None
        self._state: MicrophoneState | None = None
        self._tried_at = time.monotonic()

    @property
    def tried_at(self) -> float:
        """`time.monotonic()` of the last attempt to open the device: a watchdog's sign of life."""
        return self._tried_at

    @property
    def state(self) -> MicrophoneState | None:
        """The last state told; None before the first."""
        return self._state

    def __enter__(self) -> PersistentMicrophone:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Have `blocks` end within half a second; may be called from any thread."""
        self._closed.set()
        current = self._current
        if current is not None:
            current.close()

    def blocks(self) -> Iterator[AudioBlock]:
        """Blocks of 32 ms, until `close`; what was missed is in their `lost_samples`."""
        timeline = Timeline()
        while not self._closed.is_set():
            # Behind a call that never returns every attempt fails at once; that is no sign of life.
            if portaudio.busy_s() < _STUCK_S:
                self._tried_at = time.monotonic()
            microphone = Microphone(self._device, self._ring_s, self._stall_s)
            self._current = microphone
            try:
                if self._closed.is_set():
                    return
                with microphone:
                    for block in microphone.blocks():
                        if self._state is None or not self._state.listening:
                            self._tell(MicrophoneState(True, "", microphone.name))
                        yield timeline.place(block)
            except MicrophoneError as error:
                if self._closed.is_set():
                    return
                self._tell(MicrophoneState(False, str(error), microphone.name))
            finally:
                self._current = None
            timeline.interrupt()
            self._closed.wait(self._retry_s)

    def _tell(self, state: MicrophoneState) -> None:
        """Tell a change of listening; while it lasts, other reasons are only noted."""
        told = self._state
        self._state = state
        if told is not None and told.listening == state.listening:
            return
        if state.listening:
            _LOG.info("listening on '%s'", state.device)
        else:
            _LOG.warning("not listening: %s", state.reason)
        if self._on_change is not None:
            self._on_change(state)
