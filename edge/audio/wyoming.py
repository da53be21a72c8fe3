"""Sound from a Wyoming satellite, or another microphone that speaks Wyoming, over TCP.

A satellite sends its sound to whoever has connected and said `run-satellite`, to one at a time; a
bare microphone service sends it to everybody. It is not pinged: a satellite that is pinged pings
back, and would hang up on a device that is busy for five seconds.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, BinaryIO, cast
from urllib.parse import urlsplit

from edge.audio.files import require_format
from edge.audio.ring import Ring, blocks_of_ring
from edge.audio.sources import MicrophoneStalled, PcmFormat, Source
from edge.errors import AudioFormatError, MicrophoneError
from edge.types import AudioBlock
from edge.types.microphone import SATELLITE

if TYPE_CHECKING:
    from wyoming.event import Event

SCHEME = "wyoming://"

_CONNECT_S = 5.0
_FIRST_SOUND_S = 10.0
"""Until the first sound, with the time to connect; stalls count from then on."""
_POLL_S = 0.25
_CLOSE_S = 0.5
_MOST_LINE = 1 << 16
_MOST_PART = 1 << 20
"""Bytes of one part of an event: five seconds of stereo at 48 kHz."""
_MALFORMED = (AttributeError, KeyError, TypeError, ValueError, RecursionError)
"""What the library raises for events that are none."""


class _ClosedError(Exception):
    """The microphone was closed while its thread waited."""


class _Stream:
    """A connection as the library's functions read and write it, bounded in size and time."""

    def __init__(self, line: socket.socket, name: str, closed: threading.Event) -> None:
        line.settimeout(_POLL_S)
        self._line = line
        self._name = name
        self._closed = closed
        self._came = b""
        self._goes = b""
        self.ended = False

    def readline(self) -> bytes:
        while b"\n" not in self._came and not self.ended:
            if len(self._came) > _MOST_LINE:
                raise ValueError("a line too long")
            self._receive()
        line, newline, self._came = self._came.partition(b"\n")
        return line + newline

    def read(self, count: int) -> bytes:
        if not 0 < count <= _MOST_PART:
            raise MicrophoneError(f"{self._name} sends more at once than a microphone does")
        while len(self._came) < count and not self.ended:
            self._receive()
        data, self._came = self._came[:count], self._came[count:]
        return data

    def writelines(self, parts: Iterable[bytes]) -> None:
        self._goes += b"".join(parts)

    def write(self, data: bytes) -> None:
        self._goes += data

    def flush(self) -> None:
        data, self._goes = self._goes, b""
        self._line.sendall(data)

    def _receive(self) -> None:
        while not self._closed.is_set():
            with contextlib.suppress(TimeoutError):
                data = self._line.recv(1 << 16)
                self._came += data
                self.ended = not data
                return
        raise _ClosedError


class WyomingMicrophone(Source):
    """A Wyoming satellite as a microphone, at `wyoming://HOST:PORT`; channels are mixed.

    Args:
        address: where it is.
        ring_s: how far the reader may fall behind before samples are lost, seconds.
        stall_s: time without sound that counts as a stall, seconds.

    Raises:
        MicrophoneError: on entering, when it cannot be reached or sends no sound.
    """

    def __init__(self, address: str, ring_s: float = 20.0, stall_s: float = 2.0) -> None:
        place = urlsplit(address)
        self._host, self._port = place.hostname or "", place.port or 0
        self.name = address
        self.kind = SATELLITE
        self._ring_s = ring_s
        self._stall_s = stall_s
        self._ring: Ring | None = None
        self._connected = False
        self._begun = threading.Event()
        self._finished = False
        self._fault = ""
        self._unanswered = f"{address} does not answer; check its address, and that it runs"
        self._closed = threading.Event()
        # Looking up a name may take longer than whoever closes it can wait.
        self._thread = threading.Thread(target=self._run, name="audio.wyoming", daemon=True)

    @property
    def rate(self) -> float:
        """Samples per second that it sends; 0 before any."""
        return 0.0 if self._ring is None else self._ring.rate

    def __enter__(self) -> WyomingMicrophone:
        try:
            import wyoming.event  # noqa: F401, PLC0415 - only where it is asked for
        except ImportError:
            raise MicrophoneError(
                "audio.source: wyoming:// needs more packages; run, in the environment of this"
                " software: pip install 'edge-voice[wyoming]'"
            ) from None
        self._thread.start()
        try:
            self._wait_for_sound()
        except MicrophoneError:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        if self._thread.is_alive():
            self._thread.join(_CLOSE_S)

    def close(self) -> None:
        """Have `blocks` end soon; may be called from any thread, and again."""
        self._closed.set()
        if self._ring is not None:
            self._ring.wake()

    def blocks(self) -> Iterator[AudioBlock]:
        """Blocks of 32 ms as they arrive, until `close`.

        Raises:
            MicrophoneStalled: nothing has arrived for `stall_s`.
            MicrophoneError: the connection has ended, or what comes is no sound.
        """
        ring = self._ring
        if ring is not None:
            yield from blocks_of_ring(ring, self._closed, lambda: self._look_up(ring))
        elif not self._closed.is_set():
            raise RuntimeError("a microphone is used within `with`")

    def _look_up(self, ring: Ring) -> None:
        """Nothing arrived: find out whether anything still can."""
        if self._finished:
            raise MicrophoneError(self._fault)
        quiet_s = time.monotonic() - ring.last_write_at
        if quiet_s > self._stall_s:
            raise MicrophoneStalled(f"{self.name} has delivered nothing for {quiet_s:.1f} s")

    def _wait_for_sound(self) -> None:
        deadline = time.monotonic() + max(_FIRST_SOUND_S, self._stall_s)
        while not self._begun.wait(_POLL_S) and not self._closed.is_set():
            if time.monotonic() > deadline and not self._connected:
                raise MicrophoneError(self._unanswered)
            if time.monotonic() > deadline:
                raise MicrophoneStalled(
                    f"{self.name} sends no sound; run the satellite without --vad and without a"
                    " wake word"
                )
        if self._ring is None and not self._closed.is_set():
            raise MicrophoneError(self._fault)

    # --- its own thread ---

    def _run(self) -> None:
        try:
            with self._connect() as line:
                self._connected = True
                self._listen(_Stream(line, self.name, self._closed))
        except _ClosedError:
            pass
        except (AudioFormatError, MicrophoneError) as error:
            self._fault = str(error)
        except _MALFORMED:
            self._fault = f"{self.name} sends what is no Wyoming; check the port"
        except OSError as error:
            self._fault = f"{self.name} is gone ({error.strerror or error}); check the network"
        finally:
            self._finished = True
            self._begun.set()
            if self._ring is not None:
                self._ring.wake()

    def _connect(self) -> socket.socket:
        try:
            return socket.create_connection((self._host, self._port), _CONNECT_S)
        except socket.gaierror:
            reason = f"the host '{self._host}' is not known; check its name, or give its address"
        except ConnectionRefusedError:
            reason = f"{self.name} refuses the connection; start the satellite, or correct the port"
        except TimeoutError:
            reason = self._unanswered
        except OSError as error:
            reason = f"{self.name} cannot be reached ({error.strerror}); check the network"
        raise MicrophoneError(reason)

    def _listen(self, stream: _Stream) -> None:
        from wyoming.event import read_event, write_event  # noqa: PLC0415 - as above
        from wyoming.ping import Ping, Pong  # noqa: PLC0415
        from wyoming.satellite import PauseSatellite, RunSatellite  # noqa: PLC0415

        line = cast("BinaryIO", stream)
        write_event(RunSatellite().event(), line)
        try:
            while True:
                event = read_event(line)
                if event is None and stream.ended:
                    raise MicrophoneError(
                        f"{self.name} has closed the connection; another program, such as Home"
                        " Assistant, may be connected to the satellite"
                    )
                if event is None:
                    raise ValueError("no event")
                if event.type == "audio-chunk":
                    self._take(event)
                elif Ping.is_type(event.type):
                    write_event(Pong(Ping.from_event(event).text).event(), line)
        except _ClosedError:
            # It may then sleep, or serve another.
            with contextlib.suppress(OSError):
                write_event(PauseSatellite().event(), line)
            raise

    def _take(self, event: Event) -> None:
        """Put the sound of an event into the ring."""
        rate, width, channels = (event.data[name] for name in ("rate", "width", "channels"))
        if not all(type(number) is int for number in (rate, width, channels)):
            raise ValueError("a format of other than whole numbers")
        require_format(self.name, rate, channels)
        sound = event.payload or b""
        if not 1 <= width <= 4 or len(sound) % (width * channels):
            raise ValueError("a sample of impossible size")
        if self._ring is None:
            self._ring = Ring(int(self._ring_s * rate), rate)
        elif self._ring.rate != rate:
            raise MicrophoneError(f"{self.name} has changed its rate")
        samples, _ = PcmFormat(rate, channels, 8 * width).decode(sound, self.name)
        if len(samples):
            self._ring.write(samples)
            self._begun.set()
