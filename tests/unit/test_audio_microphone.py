"""The microphone: how it is opened, what it delivers, when it is given up and comes back."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edge.audio import portaudio
from edge.audio.devices import InputDevice, list_devices
from edge.audio.microphone import Microphone, MicrophoneState, ReconnectingMicrophone
from edge.audio.sources import MicrophoneStalled
from edge.errors import MicrophoneError
from edge.types import AudioBlock, FloatArray
from tests.unit.sound_system import Clock, SoundSystem


def _block(number: float, count: int = 512) -> FloatArray:
    return np.full(count, number, np.float32)


def test_the_devices_that_can_record(sound_system: SoundSystem) -> None:
    sound_system.devices = [("speaker", 0, 48_000.0), ("desk", 1, 44_100.0), ("shelf", 4, 16_000.0)]
    sound_system.default.device = (2, 0)
    desk = InputDevice(1, "desk", 1, 44_100.0, is_default=False)
    shelf = InputDevice(2, "shelf", 4, 16_000.0, is_default=True)
    assert list_devices() == [desk, shelf]
    assert sound_system.looks == 1
    sound_system.default.device = (-1, 0)  # not set: PortAudio's own
    assert [device.is_default for device in list_devices()] == [True, False]
    sound_system.default.device = (0, 0)
    assert [device.is_default for device in list_devices()] == [False, False]


def test_a_device_does_not_choose_what_a_terminal_does(sound_system: SoundSystem) -> None:
    sound_system.devices = [("USB\x1b]0;owned\x07\u202e Über", 1, 44_100.0)]
    assert [device.name for device in list_devices()] == ["USB?]0;owned?? Über"]


@pytest.mark.parametrize(
    ("accepted", "rate", "channels", "blocksize"),
    [
        ([], 16_000.0, 1, 512),
        ([(16_000.0, 4), (16_000.0, 2), (44_100.0, 1)], 16_000.0, 2, 512),
        ([(16_000.0, 4), (44_100.0, 1)], 16_000.0, 4, 512),
        ([(44_100.0, 4)], 44_100.0, 4, 1411),
    ],
)
def test_it_opens_as_near_to_16_khz_mono_as_the_device_allows(
    sound_system: SoundSystem,
    accepted: list[tuple[float, int]],
    rate: float,
    channels: int,
    blocksize: int,
) -> None:
    sound_system.devices.append(("shelf", 4, 44_100.0))
    sound_system.accepted = accepted
    microphone = Microphone("SHELF")
    assert (microphone.name, microphone.rate) == ("SHELF", 0.0)
    with microphone:
        assert (microphone.name, microphone.rate) == ("shelf", rate)
        (stream,) = sound_system.streams
        settings = dict(stream.settings)
        assert settings.pop("callback")
        assert settings.pop("finished_callback")
        assert settings == {
            "device": 1,
            "samplerate": rate,
            "channels": channels,
            "dtype": "float32",
            "blocksize": blocksize,
            "latency": 0.2,
        }
        list_devices()
        assert sound_system.looks == 1  # not while a stream is open
    assert stream.calls == ["start", "abort", "close"]
    assert (microphone.name, Microphone().name) == ("SHELF", "default")
    list_devices()
    assert sound_system.looks == 2


def test_a_device_that_cannot_be_opened_at_all(sound_system: SoundSystem) -> None:
    sound_system.accepted = [(8_000.0, 1)]
    with pytest.raises(MicrophoneError, match=r"^microphone 'desk' cannot be opened: not 48000 Hz"):
        Microphone().__enter__()
    assert sound_system.asked == [(16_000.0, 1), (48_000.0, 1)]
    assert sound_system.streams == []


def test_a_stream_that_does_not_start_is_closed(sound_system: SoundSystem) -> None:
    sound_system.refuses_start = True
    with pytest.raises(MicrophoneError, match=r"^PortAudio: Device unavailable$"):
        Microphone().__enter__()
    assert sound_system.streams[0].calls == ["start", "abort", "close"]
    list_devices()
    assert sound_system.looks == 2


def test_a_stream_that_cannot_be_stopped_does_not_hide_devices(sound_system: SoundSystem) -> None:
    sound_system.fails_to_stop = True
    with Microphone():
        pass
    list_devices()
    assert sound_system.looks == 2


def test_closing_is_waited_for_a_moment(
    sound_system: SoundSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    submit = portaudio.submit

    def submitted(function: Callable[[Any], None]) -> Any:
        assert submit(function).wait(20)
        return SimpleNamespace(wait=waits.append)

    monkeypatch.setattr(portaudio, "submit", submitted)
    with Microphone():
        pass
    assert waits == [0.3]


def test_it_is_used_within_with(sound_system: SoundSystem) -> None:
    with pytest.raises(RuntimeError, match="within `with`"):
        next(Microphone().blocks())


@pytest.mark.usefixtures("unfiltered")
def test_sound_comes_in_blocks_and_what_an_overflow_lost_is_counted(
    sound_system: SoundSystem, sound_clock: Clock
) -> None:
    sound_system.devices[0] = ("desk", 2, 48_000.0)
    sound_system.accepted = [(16_000.0, 2)]
    with Microphone() as microphone:
        (stream,) = sound_system.streams
        stream.say(_block(0.25, 700))
        blocks = microphone.blocks()
        first = next(blocks)
        stream.say(_block(0.5, 1_000), overflow=True)
        second = next(blocks)
    assert list(blocks) == []
    np.testing.assert_array_equal(first.samples, _block(0.25))  # the first channel alone
    assert (first.start_s, first.lost_samples) == (0.0, 0)
    assert first.captured_at == 1000.0 - 188 / 16_000
    np.testing.assert_array_equal(second.samples, _block(0.5))
    assert second.lost_samples == 1_000 + 188
    assert second.start_s == (700 + 1_000) / 16_000


def test_the_ring_holds_as_many_seconds_as_asked(sound_system: SoundSystem) -> None:
    with Microphone(ring_s=0.5) as microphone:
        sound_system.streams[0].say(_block(0.1, 8_010))
        assert next(microphone.blocks()).lost_samples == 10
    with Microphone() as microphone:
        sound_system.streams[1].say(_block(0.1, 320_010))
        assert next(microphone.blocks()).lost_samples == 10


@pytest.mark.parametrize(
    ("settings", "heard", "after_s"),
    [({}, True, 2.25), ({}, False, 5.25), ({"stall_s": 3.0}, True, 3.25),
     ({"stall_s": 7.0}, False, 7.25)],
)  # fmt: skip
def test_a_stream_from_which_nothing_comes_is_given_up(
    sound_system: SoundSystem,
    sound_clock: Clock,
    settings: dict[str, Any],
    heard: bool,
    after_s: float,
) -> None:
    with Microphone(**settings) as microphone:
        sound_clock.now += 10.0
        blocks = microphone.blocks()
        if heard:
            sound_system.streams[0].say(_block(0.1))
            next(blocks)
            limit = sound_clock.now
        else:
            limit = sound_clock.now - 10.0
            sound_clock.now = limit
        with pytest.raises(MicrophoneStalled) as caught:
            next(blocks)
    assert sound_clock.now == limit + after_s
    assert str(caught.value) == f"microphone 'desk' has delivered nothing for {after_s:.1f} s"


def test_a_stream_that_ends_is_told_at_once(sound_system: SoundSystem, sound_clock: Clock) -> None:
    with Microphone() as microphone:
        sound_clock.after(0.1, sound_system.streams[0].end)
        with pytest.raises(MicrophoneError, match=r"^microphone 'desk' has gone away; check"):
            next(microphone.blocks())
    assert sound_clock.now == pytest.approx(1000.1)


def test_closing_ends_the_wait_for_sound(sound_system: SoundSystem, sound_clock: Clock) -> None:
    microphone = Microphone()
    microphone.close()  # before it is open: nothing to wake
    microphone = Microphone()
    with microphone:
        sound_clock.after(0.1, microphone.close)
        assert list(microphone.blocks()) == []
        assert sound_clock.now == pytest.approx(1000.1)
        sound_system.streams[0].say(_block(0.1))
        assert list(microphone.blocks()) == []


def test_that_it_is_gone_as_well_does_not_matter_once_it_is_closed(
    sound_system: SoundSystem, sound_clock: Clock
) -> None:
    with Microphone() as microphone:

        def close() -> None:
            microphone.close()
            sound_system.streams[0].end()

        sound_clock.after(0.1, close)
        assert list(microphone.blocks()) == []


class House:
    """A microphone that reconnects, and what is told about it."""

    def __init__(self, system: SoundSystem, clock: Clock, **settings: Any) -> None:
        self.system = system
        self.clock = clock
        self.told: list[tuple[float, MicrophoneState]] = []
        self.microphone = ReconnectingMicrophone(
            on_change=lambda state: self.told.append((clock.now, state)), **settings
        )
        self.blocks: Iterator[AudioBlock] = self.microphone.blocks()

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        self.clock.after(seconds, action)

    def say(self, number: float = 0.1) -> None:
        self.system.streams[-1].say(_block(number))


@pytest.fixture
def house(
    request: pytest.FixtureRequest, sound_system: SoundSystem, sound_clock: Clock
) -> Iterator[House]:
    house = House(sound_system, sound_clock, **getattr(request, "param", {}))
    yield house
    house.microphone.close()
    list(house.blocks)


LISTENING = MicrophoneState(listening=True, reason="", device="desk")


def test_a_device_that_is_lost_and_comes_back(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "edge.audio.microphone")
    assert house.microphone.state is None
    house.after(0.125, house.say)
    assert next(house.blocks).start_s == 0.0
    assert house.told == [(1000.125, LISTENING)]

    system = house.system
    devices = system.devices
    house.after(0.25, lambda: setattr(system, "devices", []))
    house.after(0.25, system.streams[0].end)
    # Tried again after 1, 2 and 3 seconds; it is back at the third attempt.
    house.after(2.5, lambda: setattr(system, "devices", devices))
    house.after(3.5, house.say)
    block = next(house.blocks)

    gone = "microphone 'desk' has gone away; check its plug and sound server"
    assert house.told[1:] == [
        (1000.375, MicrophoneState(listening=False, reason=gone, device="default")),
        (1003.625, LISTENING),
    ]
    assert house.microphone.state == LISTENING
    assert house.microphone.tried_at == 1003.375
    # From the end of the last block to the beginning of this one.
    assert block.lost_samples == round((3.5 - 0.032) * 16_000)
    assert block.start_s == 3.5
    assert [record.getMessage() for record in caplog.records] == [
        "listening on 'desk'", f"not listening: {gone}", "listening on 'desk'"
    ]  # fmt: skip
    assert [stream.calls for stream in system.streams] == [["start", "abort", "close"], ["start"]]


def test_a_reason_that_changes_is_noted_and_not_told_again(house: House) -> None:
    reasons: list[str] = []
    house.system.devices = []

    def look() -> None:
        assert house.microphone.state is not None
        reasons.append(house.microphone.state.reason)

    def plug_in_what_does_not_open() -> None:
        look()
        house.system.devices = [("desk", 1, 48_000.0)]
        house.system.accepted = [(8_000.0, 1)]

    house.after(0.5, plug_in_what_does_not_open)
    house.after(1.5, look)
    house.after(1.6, house.microphone.close)
    assert list(house.blocks) == []
    assert reasons == [
        "there is no microphone; connect one and check with: arecord -l",
        "microphone 'desk' cannot be opened: not 48000 Hz with 1",
    ]
    assert [(at, state.listening) for at, state in house.told] == [(1000.0, False)]
    assert house.told[0][1].device == "default"
    assert house.microphone.tried_at == 1001.0


def test_a_stall_is_reopened(house: House) -> None:
    house.after(0.0, house.say)
    next(house.blocks)
    house.after(3.5, house.say)
    block = next(house.blocks)
    assert [(at, state.listening) for at, state in house.told] == [
        (1000.0, True), (1002.25, False), (1003.5, True)
    ]  # fmt: skip
    assert block.lost_samples == round((3.5 - 0.032) * 16_000)


@pytest.mark.parametrize("house", [{"ring_s": 0.5, "stall_s": 6.0, "retry_s": 4.0}], indirect=True)
def test_the_waits_are_as_asked(house: House) -> None:
    house.after(0.0, lambda: house.system.streams[0].say(_block(0.1, 8_010)))
    assert next(house.blocks).lost_samples == 10
    house.after(10.5, house.say)
    while house.clock.now < 1010.0:
        next(house.blocks)
    assert [at for at, _ in house.told] == [1000.0, 1006.25, 1010.5]
    assert house.microphone.tried_at == 1010.25


@pytest.mark.parametrize(("busy_s", "alive"), [(19.9, True), (20.0, False)])
def test_attempts_behind_a_call_that_never_returns_are_no_sign_of_life(
    house: House, monkeypatch: pytest.MonkeyPatch, busy_s: float, alive: bool
) -> None:
    monkeypatch.setattr(portaudio, "busy_s", lambda: busy_s)
    house.after(2.5, house.microphone.close)
    assert list(house.blocks) == []
    assert house.microphone.tried_at == (1002.0 if alive else 1000.0)
    assert "has not answered for" in house.told[0][1].reason


def test_what_the_reader_may_fall_behind_by_default(house: House) -> None:
    house.after(0.0, lambda: house.system.streams[0].say(_block(0.1, 320_010)))
    assert next(house.blocks).lost_samples == 10


def test_closing_it_is_no_loss(house: House) -> None:
    house.after(0.0, house.say)
    next(house.blocks)
    house.after(0.125, house.microphone.close)
    assert list(house.blocks) == []
    assert house.clock.now == 1000.125
    assert house.told == [(1000.0, LISTENING)]
    assert house.system.streams[0].calls == ["start", "abort", "close"]
    # Nothing is opened any more, nor where it is closed first.
    assert list(house.microphone.blocks()) == []
    first = ReconnectingMicrophone()
    first.close()
    assert list(first.blocks()) == []
    assert len(house.system.streams) == 1
