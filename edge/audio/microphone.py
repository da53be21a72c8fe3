"""The microphone: PortAudio's callback fills a ring, `blocks` empties it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from edge.audio import portaudio
from edge.audio.blocks import FRAME_S, BlockMaker
from edge.audio.devices import DeviceChoice, InputDevice, choose, scanned
from edge.audio.ring import Ring
from edge.audio.sources import Source
from edge.errors import MicrophoneError
from edge.types import SAMPLE_RATE, AudioBlock, FloatArray

_LATENCY_S = 0.2
"""How long the callback may be late before samples are lost."""
_CLOSE_S = 0.3
_FIRST_SAMPLE_S = 5.0
"""A sound server may take seconds to wake a sleeping device; stalls count from then on."""
_LOOK_UP_S = 0.25


class MicrophoneStalled(MicrophoneError):
    """The stream reports no error, but no sound arrives."""


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
    def rate(self) -> float:
        """Samples per second that it was opened with; 0 while closed."""
        return 0.0 if self._opened is None else self._opened.rate

    def __enter__(self) -> Microphone:
        self._opened = portaudio.call(
            self._open, undo=lambda late: _close(late.stream), canceled=self._closed
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
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
        maker = BlockMaker(opened.rate)
        piece = round(opened.rate * FRAME_S)
        while not self._closed.is_set():
            stretch = opened.ring.read(piece, _LOOK_UP_S)
            if stretch is None:
                self._look_up(opened)
                continue
            yield from maker.feed(stretch.samples, stretch.captured_at, stretch.lost)

    def _look_up(self, opened: _Opened) -> None:
        """Nothing arrived: find out whether anything still can."""
        if self._closed.is_set():
            return
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
        portaudio.stream_opened(stream)
        try:
            stream.start()
        except sounddevice.PortAudioError:
            _close(stream)
            raise
        return _Opened(stream, device, rate, ring)


def _close(stream: Any) -> None:
    """Close a stream; on PortAudio's thread, where that may never return."""
    try:
        stream.abort(ignore_errors=True)
        stream.close(ignore_errors=True)
    finally:
        portaudio.stream_closed(stream)


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
