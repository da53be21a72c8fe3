"""The microphone: PortAudio's callback fills a ring, `blocks` empties it, and reconnects."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from edge.audio import portaudio
from edge.audio.blocks import FRAME_S
from edge.audio.command import CommandMicrophone
from edge.audio.devices import DeviceChoice, InputDevice, choose, scanned
from edge.audio.ring import Ring, blocks_of_ring
from edge.audio.sharing import SharedMicrophone
from edge.audio.sources import MicrophoneStalled, Source
from edge.audio.wyoming import SCHEME, WyomingMicrophone
from edge.errors import MicrophoneError
from edge.types import SAMPLE_RATE, AudioBlock, FloatArray
from edge.types.microphone import device_kind

_LATENCY_S = 0.2
"""How long the callback may be late before samples are lost."""
_CLOSE_S = 0.3
_FIRST_SAMPLE_S = 5.0
"""A sound server may take seconds to wake a sleeping device; stalls count from then on."""
_STUCK_S = 20.0

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Opened:
    stream: Any
    device: InputDevice
    rate: float
    ring: Ring


class Microphone(Source):
    """A microphone as a source: `with Microphone() as microphone: ... microphone.blocks()`.

    Args:
        device: None for the default, a number, or a part of a name.
        ring_s: how far the reader may fall behind before samples are lost, seconds.
        stall_s: time without samples that counts as a stall, seconds.

    Raises:
        MicrophoneError: on entering, when there is no such device or it cannot be opened.
    """

    def __init__(
        self, device: DeviceChoice = None, ring_s: float = 20.0, stall_s: float = 2.0
    ) -> None:
        self._choice = device
        self._ring_s = ring_s
        self._stall_s = stall_s
        self._opened: _Opened | None = None
        self._closed = threading.Event()
        self._finished = threading.Event()

    @property
    def name(self) -> str:
        """Name of the device, as opened or else as asked for."""
        if self._opened is not None:
            return self._opened.device.name
        return "default" if self._choice is None else str(self._choice)

    @property
    def kind(self) -> str:
        """What kind of microphone it is, see `edge.types.microphone`; empty while closed."""
        return "" if self._opened is None else device_kind(self._opened.device.name)

    @property
    def rate(self) -> float:
        """Samples per second that it was opened with; 0 while closed."""
        return 0.0 if self._opened is None else self._opened.rate

    def __enter__(self) -> Microphone:
        self._opened = portaudio.call(
            self._open, undo=lambda late: _close(late.stream), canceled=self._closed
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        opened, self._opened = self._opened, None
        if opened is not None:
            portaudio.submit(lambda _: _close(opened.stream)).wait(_CLOSE_S)

    def close(self) -> None:
        """Have `blocks` end soon; may be called from any thread, and again."""
        self._closed.set()
        opened = self._opened
        if opened is not None:
            opened.ring.wake()

    def blocks(self) -> Iterator[AudioBlock]:
        """Blocks of 32 ms as they arrive, until `close`.

        Raises:
            MicrophoneStalled: nothing has arrived for `stall_s`.
            MicrophoneError: the stream has ended: the device or the sound server is gone.
        """
        opened = self._opened
        if opened is None:
            raise RuntimeError("a microphone is used within `with`")
        yield from blocks_of_ring(opened.ring, self._closed, lambda: self._look_up(opened))

    def _look_up(self, opened: _Opened) -> None:
        """Nothing arrived: find out whether anything still can."""
        if self._finished.is_set():
            raise MicrophoneError(
                f"microphone '{opened.device.name}' has gone away; check its plug and sound server"
            )
        quiet_s = time.monotonic() - opened.ring.last_write_at
        allowed_s = self._stall_s if opened.ring.written else max(_FIRST_SAMPLE_S, self._stall_s)
        if quiet_s > allowed_s:
            raise MicrophoneStalled(
                f"microphone '{opened.device.name}' has delivered nothing for {quiet_s:.1f} s"
            )

    def _open(self, sounddevice: Any) -> _Opened:
        """Open and start the stream; on PortAudio's thread."""
        portaudio.rescan(sounddevice)
        device = choose(scanned(sounddevice), self._choice)
        rate, channels = _format_of(sounddevice, device)
        ring = Ring(int(self._ring_s * rate), rate)

        def on_sound(data: FloatArray, frames: int, _times: Any, status: Any) -> None:
            # PortAudio does not say how much an overflow lost; at least one block.
            ring.write(data[:, 0], frames if status.input_overflow else 0)

        def on_end() -> None:
            self._finished.set()
            ring.wake()

        stream = sounddevice.InputStream(
            device=device.index,
            samplerate=rate,
            channels=channels,
            dtype="float32",
            blocksize=round(rate * FRAME_S),
            latency=_LATENCY_S,
            callback=on_sound,
            finished_callback=on_end,
        )
        portaudio.OPEN_STREAMS.add(id(stream))
        try:
            stream.start()
        except sounddevice.PortAudioError:
            _close(stream)
            raise
        return _Opened(stream, device, rate, ring)


LiveSource = Microphone | CommandMicrophone | WyomingMicrophone
"""What is listened to live; each has a `name`, a `kind`, and its `rate` while it is open."""


def live_source(
    source: str | None, device: DeviceChoice, ring_s: float, stall_s: float = 2.0
) -> LiveSource:
    """The microphone, or what is in its place: a program or a satellite (`audio.source`)."""
    if source is None:
        return Microphone(device, ring_s, stall_s)
    if source.startswith(SCHEME):
        return WyomingMicrophone(source, ring_s, stall_s)
    return CommandMicrophone(source, stall_s)


def _close(stream: Any) -> None:
    """Close a stream; on PortAudio's thread, where that may never return."""
    try:
        stream.abort(ignore_errors=True)
        stream.close(ignore_errors=True)
    finally:
        portaudio.OPEN_STREAMS.discard(id(stream))


def _format_of(sounddevice: Any, device: InputDevice) -> tuple[float, int]:
    """The rate and the number of channels to open with: 16 kHz mono where possible."""
    refusal = ""
    for rate in (float(SAMPLE_RATE), device.default_rate):
        for channels in sorted({1, min(2, device.channels), device.channels}):
            refusal = _refusal(sounddevice, device, rate, channels)
            if not refusal:
                return rate, channels
    raise MicrophoneError(f"microphone '{device.name}' cannot be opened: {refusal}")


def _refusal(sounddevice: Any, device: InputDevice, rate: float, channels: int) -> str:
    try:
        sounddevice.check_input_settings(
            device=device.index, channels=channels, dtype="float32", samplerate=rate
        )
    except sounddevice.PortAudioError as error:
        return str(error)
    return ""


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
        lost, length_s = block.lost_samples, len(block.samples) / SAMPLE_RATE
        if self._rejoin and self._captured_at is not None:
            began_at = block.captured_at - length_s
            # A gap is reported even where clocks see none, since the sound does not continue.
            lost += max(1, round((began_at - self._captured_at) * SAMPLE_RATE))
            self._offset_s = self._end_s + lost / SAMPLE_RATE - block.start_s
        self._rejoin = False
        placed = replace(block, start_s=block.start_s + self._offset_s, lost_samples=lost)
        self._end_s, self._captured_at = placed.start_s + length_s, placed.captured_at
        return placed


class ReconnectingMicrophone(Source):
    """A microphone whose stream ends only with `close`.

    When the device disappears, its sound server dies, a program in its place ends, or the sound
    stops, it calls `on_change` and tries again every `retry_s` until it is back. So it does while a
    command has its turn.

    Args:
        device: as for `Microphone`, and so are `ring_s` and `stall_s`.
        on_change: called when listening begins and ends, on the thread that takes the blocks.
        retry_s: time between attempts, seconds.
        command: a program or a satellite to listen to instead, as in `audio.source`.
        shared: where a command asks for it; None for nowhere.

    Attributes:
        state: the last state; None before the first.
        kind: of what is listened to, see `edge.types.microphone`; empty before the first sound.
        tried_at: `time.monotonic()` of the last attempt to open the device, for a watchdog.
    """

    def __init__(
        self,
        device: DeviceChoice = None,
        on_change: Callable[[MicrophoneState], None] | None = None,
        ring_s: float = 20.0,
        stall_s: float = 2.0,
        retry_s: float = 1.0,
        command: str | None = None,
        shared: SharedMicrophone | None = None,
    ) -> None:
        self._device = device
        self._command = command
        self._shared = shared
        self._on_change = on_change
        self._ring_s = ring_s
        self._stall_s = stall_s
        self._retry_s = retry_s
        self._closed = threading.Event()
        self._current: LiveSource | None = None
        self.state: MicrophoneState | None = None
        self.kind = ""
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
            microphone = live_source(self._command, self._device, self._ring_s, self._stall_s)
            self._current = microphone
            try:
                if self._closed.is_set():
                    return
                with self._turn(), microphone:
                    for block in microphone.blocks():
                        self._yield_turn()
                        if self.state is None or not self.state.listening:
                            self.kind = microphone.kind
                            self._report(MicrophoneState(True, "", microphone.name))
                        yield timeline.place(block)
            except MicrophoneError as error:
                if self._closed.is_set():
                    return
                self._report(MicrophoneState(False, str(error), microphone.name))
            timeline.interrupt()
            self._closed.wait(self._retry_s)

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Use the microphone in this block. Raises `MicrophoneError` where it is not our turn."""
        if self._shared is None:
            yield
            return
        with self._shared.used():
            self._yield_turn()
            yield

    def _yield_turn(self) -> None:
        if self._shared is not None and self._shared.wanted:
            raise MicrophoneError("a command uses the microphone; the service goes on after it")

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
