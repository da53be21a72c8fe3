"""Choosing a device, joining broken streams, and waiting for a PortAudio that does not answer."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edge.audio import portaudio
from edge.audio.devices import DeviceChoice, InputDevice, choose, lasting_name
from edge.audio.microphone import Timeline
from edge.errors import MicrophoneError
from edge.types import SAMPLE_RATE, AudioBlock
from tests.unit.sound_system import SoundSystem

DEVICES = [
    InputDevice(0, "HDA Intel PCH: ALC (hw:0,0)", 2, 44_100.0, is_default=False),
    InputDevice(2, "ReSpeaker 4 Mic Array: USB Audio (hw:1,0)", 4, 16_000.0, is_default=False),
    InputDevice(3, "USB PnP Sound Device: Audio (hw:2,0)", 1, 48_000.0, is_default=False),
    InputDevice(7, "default", 32, 44_100.0, is_default=True),
    InputDevice(8, "default 2", 32, 44_100.0, is_default=False),
]


@pytest.mark.parametrize(
    ("choice", "index"),
    [(None, 7), (0, 0), (2, 2), (" 2 ", 2), ("respeaker", 2), (" PnP ", 3), ("DEFAULT", 7),
     ("default 2", 8)],
)  # fmt: skip
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


TWINS = [
    InputDevice(0, "bcm2835 Headphones: - (hw:0,0)", 8, 44_100.0, is_default=True),
    InputDevice(1, "USB: Audio (hw:1,0)", 1, 44_100.0, is_default=False),
    InputDevice(2, "USB: Audio (hw:2,0)", 1, 44_100.0, is_default=False),
    InputDevice(3, "USB: Line (hw:2,1)", 1, 44_100.0, is_default=False),
    InputDevice(4, "desk", 1, 44_100.0, is_default=False),
]


@pytest.fixture
def cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the ids of cards are, and beside it what udev has linked to them."""
    for number, name in enumerate(("Headphones", "Device", "Device_1")):
        (tmp_path / "sound" / f"card{number}").mkdir(parents=True)
        (tmp_path / "sound" / f"card{number}" / "id").write_text(f"{name}\n")
    for folder, name, card in (
        ("by-path", "platform-usb-0:1.1:1.0", "1"), ("by-path", "platform-usb-0:1.2:1.0", "2"),
        ("by-id", "usb-Maker_Twin-00", "2"), ("by-path", "nothing", "X"),
    ):  # fmt: skip
        (tmp_path / "snd" / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / "snd" / folder / name).symlink_to(f"../controlC{card}")
    monkeypatch.setattr("edge.audio.devices._CARDS", tmp_path / "sound")
    monkeypatch.setattr("edge.audio.devices._NODES", tmp_path / "snd")
    return tmp_path


def test_a_whole_name_fits_after_its_card_got_another_number() -> None:
    """As `edge-voice devices` printed it before a restart."""
    for name in ("usb pnp sound device: audio (hw:5,0)", "USB PnP Sound Device: Audio (hw:0,0) "):
        assert choose(DEVICES, name).index == 3
    with pytest.raises(MicrophoneError, match="no microphone is"):
        choose(DEVICES, "PnP Sound Device: Audio (hw:1,0)")
    assert choose(TWINS, "USB: Audio (hw:2,0)").index == 2
    with pytest.raises(MicrophoneError, match="more than one"):
        choose(TWINS, "USB: Audio (hw:3,0)")


@pytest.mark.usefixtures("cards")
@pytest.mark.parametrize(
    ("choice", "index"),
    [
        ("hw:CARD=Device,DEV=0", 1),
        ("hw:CARD=device_1,DEV=0", 2),
        ("plughw:CARD=Device_1,DEV=1", 3),
        ("hw:Device_1,1", 3),
        ("hw:Device", 1),
        ("hw:2,1", 3),
        ("hw:1", 1),
        ("hw:CARD=Device,DEV=0,SUBDEV=0", 1),
        ("/dev/snd/by-path/platform-usb-0:1.1:1.0", 1),
        (" by-path/platform-usb-0:1.1:1.0 ", 1),
        ("desk", 4),
    ],
)
def test_a_card_is_found_by_what_alsa_and_udev_call_it(choice: str, index: int) -> None:
    assert choose(TWINS, choice).index == index


@pytest.mark.usefixtures("cards")
@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("hw:CARD=Device_1", "more than one"),
        ("by-id/usb-Maker_Twin-00", "more than one"),
        ("hw:CARD=Devic,DEV=0", "no microphone"),
        ("hw:CARD=Device,DEV=1", "no microphone"),
        ("hw:9,0", "no microphone"),
        ("by-path/nothing", "no microphone"),
        ("by-path/absent", "no microphone"),
        ("by-path/../by-id/usb-Maker_Twin-00", "no microphone"),
    ],
)
def test_a_card_that_is_not_there_or_records_twice(choice: str, message: str) -> None:
    with pytest.raises(MicrophoneError, match=message):
        choose(TWINS, choice)


def test_two_that_are_alike_are_told_apart_by_their_sockets(
    cards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lasting = [lasting_name(device, TWINS) for device in TWINS]
    assert lasting == [
        "bcm2835 Headphones: -",
        str(cards / "snd" / "by-path" / "platform-usb-0:1.1:1.0"),
        str(cards / "snd" / "by-path" / "platform-usb-0:1.2:1.0"),
        "USB: Line",
        "desk",
    ]
    assert choose(TWINS, "/dev/snd/by-path/platform-usb-0:1.1:1.0").index == 1
    monkeypatch.setattr("edge.audio.devices._NODES", cards / "absent")
    assert lasting_name(TWINS[1], TWINS) == "USB: Audio (hw:1,0)"


def test_without_a_default_it_is_the_first() -> None:
    assert choose(DEVICES[1:3], None).index == 2


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

    first = timeline.place(_block(2.5, 110.0, lost=160))
    second = timeline.place(_block(3.5, 111.0, lost=80))

    assert first.lost_samples == 7 * SAMPLE_RATE + 160
    assert first.start_s == pytest.approx(9.01)
    assert second.lost_samples == 80
    assert second.start_s == pytest.approx(10.01)


def test_streams_that_seem_to_touch_still_have_a_gap() -> None:
    timeline = Timeline()
    timeline.place(_block(0.0, 101.0))
    timeline.interrupt()

    assert timeline.place(_block(0.0, 101.5)).lost_samples == 1


def test_failed_attempts_before_the_first_sound_are_no_loss() -> None:
    timeline = Timeline()
    timeline.interrupt()

    assert timeline.place(_block(0.0, 101.0)).lost_samples == 0


class Hung:
    """A call that hangs until it is released."""

    def __init__(self) -> None:
        self.began, self._released = threading.Event(), threading.Event()

    def __call__(self, _sounddevice: object) -> str:
        self.began.set()
        self._released.wait(20)
        return "late"

    def release(self) -> None:
        """Have it return, and wait until it has."""
        self._released.set()
        assert portaudio.submit(lambda _: None).wait(20)


def _settled() -> None:
    """Wait until no call is under way."""
    end = time.monotonic() + 20
    while portaudio.busy_s() > 0.0:
        assert time.monotonic() < end


@pytest.fixture
def hung(sound_system: SoundSystem) -> Iterator[Hung]:
    _settled()
    hung = Hung()
    yield hung
    hung.release()


def test_a_call_that_hangs_is_left_and_undone_when_it_returns(hung: Hung) -> None:
    undone: list[str] = []
    with pytest.raises(MicrophoneError, match=r"not answered for 0\.1 s; check PulseAudio"):
        portaudio.call(hung, timeout_s=0.06, undo=undone.append)
    assert undone == []
    assert hung.began.wait(20)
    assert portaudio.busy_s() > 0.0

    hung.release()

    assert portaudio.call(lambda _: "well again", undo=undone.append) == "well again"
    assert undone == ["late"]
    _settled()
    assert portaudio.busy_s() == 0.0


def test_a_call_can_be_given_up_from_another_thread(hung: Hung) -> None:
    canceled = threading.Event()

    def cancel_and_hang(sounddevice: object) -> str:
        canceled.set()
        return hung(sounddevice)

    with pytest.raises(MicrophoneError):
        portaudio.call(cancel_and_hang, timeout_s=60.0, canceled=canceled)


@pytest.mark.parametrize(
    ("busy_s", "message"), [(3.0, r"for 0\.0 s"), (3.25, r"for 3\.2 s")], ids=["waits", "refuses"]
)
def test_behind_a_call_that_hangs_others_fail_at_once(
    hung: Hung, monkeypatch: pytest.MonkeyPatch, busy_s: float, message: str
) -> None:
    clock = SimpleNamespace(monotonic=lambda: 50.0)
    monkeypatch.setattr(portaudio, "time", clock)
    portaudio.submit(hung)  # type: ignore[arg-type]
    assert hung.began.wait(20)
    clock.monotonic = lambda: 50.0 + busy_s
    with pytest.raises(MicrophoneError, match=message):
        portaudio.call(lambda _: None, timeout_s=0.0)


def test_it_is_waited_for_three_seconds(hung: Hung, monkeypatch: pytest.MonkeyPatch) -> None:
    times = itertools.count(100.0)
    monkeypatch.setattr(portaudio, "time", SimpleNamespace(monotonic=lambda: next(times)))
    with pytest.raises(MicrophoneError, match=r"not answered for 3\.0 s"):
        portaudio.call(hung)
    assert 103.0 < next(times) < 107.0


def test_what_comes_at_the_last_moment_is_taken(
    hung: Hung, monkeypatch: pytest.MonkeyPatch
) -> None:
    undone: list[str] = []

    class Time:
        calls = 0

        def monotonic(self) -> float:
            if threading.current_thread() is not threading.main_thread():
                return 0.0
            self.calls += 1
            if self.calls == 2:  # waited for in vain, and now it comes
                hung.release()
                return 99.0
            return 0.0

    monkeypatch.setattr(portaudio, "time", Time())
    assert portaudio.call(hung, timeout_s=1.0, undo=undone.append) == "late"
    assert undone == []


class Locks:
    """Stands in for the module `threading`, and sees who has to wait for a lock."""

    def __init__(self) -> None:
        self.waiting = waiting = threading.Event()
        self.Event = threading.Event
        self.Thread = threading.Thread

        class Lock:
            def __init__(self) -> None:
                self._lock = threading.Lock()

            def __enter__(self) -> None:
                if not self._lock.acquire(blocking=False):
                    waiting.set()
                    self._lock.acquire()

            def __exit__(self, *_: object) -> None:
                self._lock.release()

        self.Lock = Lock


def test_what_comes_while_it_is_given_up_is_undone(
    hung: Hung, monkeypatch: pytest.MonkeyPatch
) -> None:
    undone: list[str] = []
    locks = Locks()

    class Event(threading.Event):
        """When the caller looks whether it has come, it comes."""

        def is_set(self) -> bool:
            found = super().is_set()
            if not found and threading.current_thread() is threading.main_thread():
                threading.Thread(target=hung.release).start()
                while not (locks.waiting.is_set() or super().is_set()):
                    locks.waiting.wait(0.01)
            return found

    locks.Event = Event
    with monkeypatch.context() as patch:
        patch.setattr(portaudio, "threading", locks)
        with pytest.raises(MicrophoneError):
            portaudio.call(hung, timeout_s=0.0, undo=undone.append)
    hung.release()
    assert undone == ["late"]


def test_two_that_come_first_start_one_thread(
    sound_system: SoundSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    locks = Locks()
    started: list[threading.Thread] = []

    def thread(**settings: Any) -> threading.Thread:
        started.append(threading.Thread(**settings))
        if len(started) == 1:
            other = threading.Thread(target=lambda: portaudio.submit(lambda _: None))
            other.start()
            while other.is_alive() and not locks.waiting.is_set():
                locks.waiting.wait(0.01)
        return started[-1]

    monkeypatch.setattr(locks, "Thread", thread)
    monkeypatch.setattr(portaudio, "threading", locks)
    monkeypatch.setattr(portaudio, "_WORKER", portaudio._Worker())
    assert portaudio.call(lambda _: 1) == 1
    assert len(started) == 1


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError("PortAudio library not found"), r"sudo apt install libportaudio2$"),
        (SoundSystem.PortAudioError("Invalid device", -9996), r"^PortAudio: Invalid device$"),
        (SoundSystem.PortAudioError(), r"^PortAudio: $"),
    ],
    ids=["absent", "refused", "silent"],
)
def test_what_portaudio_says_in_one_line(
    sound_system: SoundSystem, error: Exception, expected: str
) -> None:
    def fail(_sounddevice: object) -> None:
        raise error

    with pytest.raises(MicrophoneError, match=expected) as caught:
        portaudio.call(fail)
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [OSError("disk full"), ValueError("PortAudio"), SystemExit()])
def test_other_errors_are_raised_as_they_are(
    sound_system: SoundSystem, error: BaseException
) -> None:
    def fail(_sounddevice: object) -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        portaudio.call(fail)
    assert caught.value is error
    assert portaudio.call(lambda _: 1) == 1


def test_one_thread_makes_every_call(
    sound_system: SoundSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_exit: list[Any] = []
    # The module's own: what else runs in this process may register handlers meanwhile.
    own = SimpleNamespace(register=at_exit.append, unregister=at_exit.append)
    monkeypatch.setattr(portaudio, "atexit", own)
    threads = {portaudio.call(lambda _: threading.current_thread()) for _ in range(3)}
    assert threads == {portaudio.call(lambda library: threading.current_thread())}
    (thread,) = threads
    assert thread.daemon
    assert thread is not threading.current_thread()
    # The library's own exit handler is replaced by one that waits for a moment only.
    unregistered, registered = at_exit
    assert unregistered == sound_system._exit_handler
    assert sound_system.ended == 0
    submit = portaudio.submit
    waits: list[float] = []

    def submitted(function: Callable[[Any], None]) -> Any:
        assert submit(function).wait(20)
        return SimpleNamespace(wait=waits.append)

    monkeypatch.setattr(portaudio, "submit", submitted)
    registered()
    assert sound_system.ended == 1
    assert waits == [0.5]
