"""Choosing a device, joining broken streams, and waiting for a PortAudio that does not answer."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from edge.audio.devices import DeviceChoice, InputDevice, choose
from edge.audio.microphone import Timeline
from edge.errors import MicrophoneError
from edge.types import SAMPLE_RATE, AudioBlock

DEVICES = [
    InputDevice(0, "HDA Intel PCH: ALC (hw:0,0)", 2, 44_100.0, is_default=False),
    InputDevice(2, "ReSpeaker 4 Mic Array: USB Audio (hw:1,0)", 4, 16_000.0, is_default=False),
    InputDevice(3, "USB PnP Sound Device: Audio (hw:2,0)", 1, 48_000.0, is_default=False),
    InputDevice(7, "default", 32, 44_100.0, is_default=True),
    InputDevice(8, "default 2", 32, 44_100.0, is_default=False),
]


@pytest.mark.parametrize(
    ("choice", "index"),
    [(None, 7), (2, 2), ("2", 2), ("respeaker", 2), (" PnP ", 3), ("DEFAULT", 7), ("default 2", 8)],
)
def test_device_is_found_by_number_and_by_part_of_its_name(
    choice: DeviceChoice, index: int
) -> None:
    assert choose(DEVICES, choice).index == index


@pytest.mark.parametrize(
    ("choice", "message"),
    [("usb", "more than one microphone"), ("webcam", "no microphone"), (1, "no microphone")],
)
def test_wrong_choice_lists_what_there_is(choice: DeviceChoice, message: str) -> None:
    with pytest.raises(MicrophoneError, match=message) as caught:
        choose(DEVICES, choice)
    assert f"'{choice}'" in str(caught.value)
    assert "2 'ReSpeaker 4 Mic Array: USB Audio (hw:1,0)'" in str(caught.value)


def test_no_device_at_all_says_what_to_do() -> None:
    with pytest.raises(MicrophoneError, match="connect one"):
        choose([], None)


def _block(start_s: float, captured_at: float, lost: int = 0) -> AudioBlock:
    return AudioBlock(np.zeros(SAMPLE_RATE, np.float32), start_s, captured_at, lost)


def test_time_between_two_streams_is_counted_as_lost() -> None:
    timeline = Timeline()
    timeline.place(_block(0.0, 101.0))
    timeline.place(_block(1.0, 102.0))
    timeline.interrupt()

    first = timeline.place(_block(0.0, 110.0))
    second = timeline.place(_block(1.0, 111.0))

    assert first.lost_samples == 7 * SAMPLE_RATE
    assert first.start_s == pytest.approx(9.0)
    assert second.lost_samples == 0
    assert second.start_s == pytest.approx(10.0)


def test_streams_that_seem_to_touch_still_have_a_gap() -> None:
    timeline = Timeline()
    timeline.place(_block(0.0, 101.0))
    timeline.interrupt()

    assert timeline.place(_block(0.0, 101.5)).lost_samples == 1


def test_failed_attempts_before_the_first_sound_are_no_loss() -> None:
    timeline = Timeline()
    timeline.interrupt()

    assert timeline.place(_block(0.0, 101.0)).lost_samples == 0


@pytest.fixture
def _portaudio() -> None:
    from tests.integration.virtual_microphone import skip_or_fail_without_parts

    skip_or_fail_without_parts()


@pytest.mark.usefixtures("_portaudio")
def test_call_that_hangs_is_left_and_undone_when_it_returns() -> None:
    from edge.audio import portaudio

    release, undone = threading.Event(), threading.Event()

    def hang(_sounddevice: object) -> str:
        release.wait(20)
        return "late"

    started = time.monotonic()
    with pytest.raises(MicrophoneError, match="not answered"):
        portaudio.call(hang, timeout_s=0.2, undo=lambda late: undone.set())
    assert time.monotonic() - started < 5.0
    assert not undone.is_set()

    release.set()

    assert undone.wait(10.0)
    assert portaudio.call(lambda _sounddevice: "well again") == "well again"


@pytest.mark.usefixtures("_portaudio")
def test_call_can_be_given_up_from_another_thread() -> None:
    from edge.audio import portaudio

    release, canceled = threading.Event(), threading.Event()
    threading.Timer(0.2, canceled.set).start()
    started = time.monotonic()
    with pytest.raises(MicrophoneError):
        portaudio.call(lambda _: release.wait(20), timeout_s=15.0, canceled=canceled)
    release.set()

    assert time.monotonic() - started < 5.0
