"""A Wyoming satellite as the microphone: heard, lost, stalled, distrusted; over real sockets."""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Iterator

import numpy as np
import pytest

pytest.importorskip("wyoming")

from wyoming.event import Event
from wyoming.ping import Ping

from edge.audio import wyoming
from edge.audio.microphone import MicrophoneState, ReconnectingMicrophone, live_source
from edge.audio.sources import MicrophoneStalled
from edge.audio.wyoming import WyomingMicrophone
from edge.config.texts import fault
from edge.errors import MicrophoneError
from edge.types import AudioBlock
from tests.integration.satellite import RATE, Satellite

_TONE = np.tile([0.125, -0.125], RATE // 2)


@pytest.fixture
def satellite() -> Iterator[Satellite]:
    with Satellite() as served:
        yield served


def _entered(satellite: Satellite, microphone: WyomingMicrophone) -> WyomingMicrophone:
    """Enter a microphone, which waits for sound, while the satellite serves it."""
    thread = threading.Thread(target=microphone.__enter__, daemon=True)
    thread.start()
    satellite.accept()
    satellite.send(_TONE)
    thread.join()
    return microphone


def _refusal(satellite: Satellite, data: bytes) -> str:
    """Why a microphone is given up that sends this instead of sound."""
    microphone = WyomingMicrophone(satellite.address)
    raised: list[MicrophoneError] = []

    def enter() -> None:
        with pytest.raises(MicrophoneError) as error:
            microphone.__enter__()
        raised.append(error.value)

    thread = threading.Thread(target=enter, daemon=True)
    thread.start()
    satellite.accept()
    satellite.write(data)
    thread.join()
    return str(raised[0]).removeprefix(f"{satellite.address} ")


def _next(blocks: Iterator[AudioBlock], count: int) -> list[AudioBlock]:
    return [next(blocks) for _ in range(count)]


def test_it_is_heard_and_told_when_it_may_rest(satellite: Satellite) -> None:
    source = live_source(satellite.address, None, 20.0)
    assert isinstance(source, WyomingMicrophone)
    microphone = _entered(satellite, source)
    assert (microphone.name, microphone.rate) == (satellite.address, RATE)
    first, second = _next(microphone.blocks(), 2)
    assert (len(first.samples), first.lost_samples, second.start_s) == (512, 0, 0.032)
    assert np.abs(second.samples).max() == pytest.approx(0.125, abs=0.01)
    microphone.__exit__()
    assert satellite.told().type == "pause-satellite"
    assert list(microphone.blocks()) == []


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_other_formats_are_converted(satellite: Satellite, width: int) -> None:
    """A tone of 1 kHz on the left, silence on the right; a byte has no sign."""
    half, zero = 1 << (8 * width - 2), 128 if width == 1 else 0
    frames = [
        b"".join((zero + value).to_bytes(width, "little", signed=width > 1) for value in pair)
        for pair in ((half, 0), (-half, 0))
    ]
    sound = (frames[0] * 24 + frames[1] * 24) * 100
    microphone = WyomingMicrophone(satellite.address)
    thread = threading.Thread(target=microphone.__enter__, daemon=True)
    thread.start()
    satellite.accept()
    satellite.chunk(sound, rate=48_000, width=width, channels=2)
    thread.join()
    assert microphone.rate == 48_000
    assert next(microphone.blocks()).samples.max() == pytest.approx(0.35, abs=0.08)
    microphone.__exit__()


def test_a_ping_is_answered(satellite: Satellite) -> None:
    microphone = _entered(satellite, WyomingMicrophone(satellite.address))
    satellite.tell(Ping("once").event())
    assert satellite.told() == Event("pong", {"text": "once"}, None)
    microphone.__exit__()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n", "sends what is no Wyoming; check the port"),
        (b"[]\n", "sends what is no Wyoming; check the port"),
        (b"[" * 60_000 + b"\n", "sends what is no Wyoming; check the port"),
        (b"{}\n", "sends what is no Wyoming; check the port"),
        (b"x" * 200_000, "sends what is no Wyoming; check the port"),
        (b'{"type":"a","data_length":"9"}\n', "sends what is no Wyoming; check the port"),
        (b'{"type":"a","data_length":3}\n[1]', "sends what is no Wyoming; check the port"),
        (b'{"type":"a","data_length":9999999999}\n', "sends more at once than a microphone does"),
        (b'{"type":"a","payload_length":1e300}\n', "sends more at once than a microphone does"),
        (b'{"type":"audio-chunk"}\n', "sends what is no Wyoming; check the port"),
    ],
)
def test_what_is_no_wyoming_ends_the_connection(
    satellite: Satellite, data: bytes, reason: str
) -> None:
    assert _refusal(satellite, data) == reason


@pytest.mark.parametrize(
    ("sound", "reason"),
    [
        ({"rate": 16e3}, "sends what is no Wyoming; check the port"),
        ({"rate": True}, "sends what is no Wyoming; check the port"),
        ({"width": 0}, "sends what is no Wyoming; check the port"),
        ({"width": 8}, "sends what is no Wyoming; check the port"),
        ({"channels": 3}, "sends what is no Wyoming; check the port"),
    ],
)
def test_sound_that_cannot_be_is_refused(
    satellite: Satellite, sound: dict[str, object], reason: str
) -> None:
    data = {"rate": RATE, "width": 2, "channels": 1, **sound}
    head = json.dumps({"type": "audio-chunk", "data": data, "payload_length": 4})
    assert _refusal(satellite, head.encode() + b"\n1234") == reason


def test_a_rate_that_is_not_read_is_named(satellite: Satellite) -> None:
    head = b'{"type":"audio-chunk","data":{"rate":10,"width":2,"channels":1}}\n'
    assert ": 10 samples per second; use " in _refusal(satellite, head)


def test_one_that_hangs_up_may_be_taken(satellite: Satellite) -> None:
    microphone = _entered(satellite, WyomingMicrophone(satellite.address))
    satellite.cut()
    with pytest.raises(MicrophoneError, match="has closed the connection; another program, such"):
        list(microphone.blocks())
    microphone.__exit__()


def test_one_that_falls_silent_has_stalled(satellite: Satellite) -> None:
    microphone = _entered(satellite, WyomingMicrophone(satellite.address, stall_s=0.0))
    blocks = microphone.blocks()
    _next(blocks, RATE // 512)
    # Other events are no sound.
    satellite.tell(Event("played"))
    with pytest.raises(MicrophoneStalled, match=r" has delivered nothing for [0-9.]+ s$"):
        next(blocks)
    microphone.__exit__()


def test_one_that_never_sends_sound(satellite: Satellite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wyoming, "_FIRST_SOUND_S", 1.0)
    data = b'{"type":"run-pipeline","data":{}}\n'
    assert _refusal(satellite, data) == (
        "sends no sound; run the satellite without --vad and without a wake word"
    )


def test_one_that_changes_its_rate_is_opened_again(satellite: Satellite) -> None:
    microphone = _entered(satellite, WyomingMicrophone(satellite.address))
    satellite.chunk(bytes(64), rate=48_000)
    with pytest.raises(MicrophoneError, match="has changed its rate"):
        list(microphone.blocks())
    microphone.__exit__()


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
    with pytest.raises(MicrophoneError) as refused:
        WyomingMicrophone(f"wyoming://127.0.0.1:{port}").__enter__()
    assert str(refused.value) == (
        f"wyoming://127.0.0.1:{port} refuses the connection; start the satellite, or correct the"
        " port"
    )
    with pytest.raises(MicrophoneError) as unknown:
        WyomingMicrophone("wyoming://satellite.invalid:10700").__enter__()
    assert str(unknown.value) == (
        "the host 'satellite.invalid' is not known; check its name, or give its address"
    )


def test_a_name_that_takes_too_long_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()

    def slow(*_: object, **__: object) -> object:
        answered.wait()
        raise socket.gaierror

    monkeypatch.setattr(socket, "create_connection", slow)
    monkeypatch.setattr(wyoming, "_FIRST_SOUND_S", 0.0)
    microphone = WyomingMicrophone("wyoming://slow:10700", stall_s=0.0)
    with pytest.raises(MicrophoneError, match="does not answer; check its address"):
        microphone.__enter__()
    closed = WyomingMicrophone("wyoming://slow:10700", stall_s=600.0)
    closed.close()
    with closed:
        assert list(closed.blocks()) == []
    answered.set()


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wyoming.event", None)
    with pytest.raises(MicrophoneError, match=r"pip install 'edge-voice\[wyoming\]'$"):
        WyomingMicrophone("wyoming://a:1").__enter__()


def test_the_service_connects_again(satellite: Satellite) -> None:
    told: list[MicrophoneState] = []
    microphone = ReconnectingMicrophone(
        on_change=told.append, command=satellite.address, retry_s=0.01
    )
    heard: list[AudioBlock] = []
    thread = threading.Thread(target=lambda: heard.extend(microphone.blocks()), daemon=True)
    thread.start()
    for again in range(2):
        satellite.accept()
        satellite.send(_TONE)
        while len(told) < 2 * again + 1:
            thread.join(0.01)
    microphone.close()
    thread.join()
    assert [state.listening for state in told] == [True, False, True]
    assert "has closed the connection" in told[1].reason
    assert sum(block.lost_samples > 0 for block in heard) == 1


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("wyoming://192.168.1.5:10700", None),
        ("wyoming://satellite.local:10700", None),
        ("wyoming://[::1]:10700", None),
        ("wyoming://satellite", "is not wyoming://HOST:PORT; the port of a satellite is usually"),
        ("wyoming://me:secret@satellite:1", "is not wyoming://HOST:PORT; the port of a"),
        ("wyoming://satellite:70000", "is not wyoming://HOST:PORT; the port of a satellite is"),
        ("wyoming://satellite:1/room", "is not wyoming://HOST:PORT; the port of a satellite is"),
        ("wyoming://a b:1", "is not a host name; give letters, digits and - between single dots"),
    ],
)
def test_addresses_that_cannot_be_right_are_refused(text: str, problem: str | None) -> None:
    found = fault("source", text)
    assert (found or "").startswith(problem) if problem else found is None
