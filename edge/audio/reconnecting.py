"""A microphone that reconnects: the source of a service that runs unattended."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from edge.audio import portaudio
from edge.audio.devices import DeviceChoice
from edge.audio.microphone import Microphone
from edge.audio.sources import Source
from edge.errors import MicrophoneError
from edge.types import SAMPLE_RATE, AudioBlock

_STUCK_S = 20.0

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class MicrophoneState:
    """Whether sound arrives, why not (one line, else empty), and the name of the device."""

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
            # A gap is reported even where clocks see none, since the sound does not continue.
            lost += max(1, round((began_at - self._captured_at) * SAMPLE_RATE))
            self._offset_s = self._end_s + lost / SAMPLE_RATE - block.start_s
        self._rejoin = False
        placed = replace(block, start_s=block.start_s + self._offset_s, lost_samples=lost)
        self._end_s, self._captured_at = placed.end_s, placed.captured_at
        return placed


class ReconnectingMicrophone(Source):
    """A microphone whose stream ends only with `close`.

    When the device disappears, its sound server dies or no sound arrives any more, it calls
    `on_change` and tries the device again every `retry_s` until it is back.

    Args:
        device: None for the default, a number, or a part of a name.
        on_change: called when listening begins and ends, on the thread that takes the blocks.
        ring_s: how far the reader may fall behind before samples are lost, seconds.
        stall_s: time without samples that counts as a stall, seconds.
        retry_s: time between attempts, seconds.

    Attributes:
        state: the last state; None before the first.
        tried_at: `time.monotonic()` of the last attempt to open the device, for a watchdog.
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
        self.state: MicrophoneState | None = None
        self.tried_at = time.monotonic()

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
            # Behind a call that never returns every attempt fails at once: no sign of life.
            if portaudio.busy_s() < _STUCK_S:
                self.tried_at = time.monotonic()
            microphone = Microphone(self._device, self._ring_s, self._stall_s)
            self._current = microphone
            try:
                if self._closed.is_set():
                    return
                with microphone:
                    for block in microphone.blocks():
                        if self.state is None or not self.state.listening:
                            self._report(MicrophoneState(True, "", microphone.name))
                        yield timeline.place(block)
            except MicrophoneError as error:
                if self._closed.is_set():
                    return
                self._report(MicrophoneState(False, str(error), microphone.name))
            finally:
                self._current = None
            timeline.interrupt()
            self._closed.wait(self._retry_s)

    def _report(self, state: MicrophoneState) -> None:
        """Report a change of listening; another reason for the same is only noted."""
        before, self.state = self.state, state
        if before is not None and before.listening == state.listening:
            return
        if state.listening:
            _LOG.info("listening on '%s'", state.device)
        else:
            _LOG.warning("not listening: %s", state.reason)
        if self._on_change is not None:
            self._on_change(state)
