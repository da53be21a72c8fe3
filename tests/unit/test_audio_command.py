"""A program as the microphone: started, heard, lost, stalled, ended; with real processes."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edge.audio import command, sources
from edge.audio.command import CommandMicrophone
from edge.audio.microphone import MicrophoneState, ReconnectingMicrophone
from edge.audio.sources import MicrophoneStalled
from edge.config.texts import fault
from edge.errors import MicrophoneError
from edge.types import SAMPLE_RATE, AudioBlock

_NAME = Path(sys.executable).name
_HEADER = (
    "import io, wave; file = io.BytesIO(); wav = wave.open(file, 'wb'); wav.setnchannels(2);"
    "wav.setsampwidth(2); wav.setframerate(8000); wav.writeframes(b''); wav.close();"
    "out.write(file.getvalue()[:40] + bytes(4));"
)


def _program(text: str) -> str:
    """A command that runs some Python with `out`, its standard output."""
    start = "import os, sys, time; out = open(1, 'wb', buffering=0);"
    return shlex.join([sys.executable, "-c", start + text])


def _tone(seconds: float) -> str:
    """Python that writes sound of one level."""
    return rf"out.write(b'\x00\x10\x00\xf0' * {round(seconds * SAMPLE_RATE / 2)});"


def _heard(blocks: Iterator[AudioBlock], count: int) -> list[AudioBlock]:
    return [next(blocks) for _ in range(count)]


def test_bare_sound_is_16_khz_mono() -> None:
    with CommandMicrophone(_program(_tone(0.064) + "time.sleep(60)")) as microphone:
        assert (microphone.name, microphone.rate) == (_NAME, 16_000)
        blocks = _heard(microphone.blocks(), 2)
    assert [len(block.samples) for block in blocks] == [512, 512]
    assert np.abs(blocks[1].samples).max() == pytest.approx(0.125, abs=0.01)


def test_a_wav_stream_says_what_it_is() -> None:
    sound = "out.write(bytes(32000)); time.sleep(60)"
    with CommandMicrophone(_program(_HEADER + sound)) as microphone:
        assert microphone.rate == 8_000
        assert len(next(microphone.blocks()).samples) == 512


def test_no_shell_sees_the_command(tmp_path: Path) -> None:
    file = tmp_path / "made by a shell"
    given = shlex.join([sys.executable, "-c", "import sys; sys.exit(sys.argv[1])"])
    microphone = CommandMicrophone(f"{given} '$HOME; touch {file}'")
    with pytest.raises(MicrophoneError, match=r"\(exit code 1\): \$HOME; touch /"):
        microphone.__enter__()
    assert not file.exists()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("sys.exit('no route to camera')", "exit code 1): no route to camera"),
        ("os.kill(os.getpid(), 9)", "signal 9)"),
        (
            r"print('a\x1b[31m line', 'rtsp://me:secret@camera/1', file=sys.stderr)",
            "exit code 0): a [31m line rtsp://***@camera/***",
        ),
        ("sys.stderr.write('x' * 4_095)", "exit code 0): " + "x" * 200),
        # Cut, a line that is too long would show half of the password.
        ("sys.stderr.write('a ' * 2040 + 'rtsp://me:' + 'secret' * 9 + '@camera')", "exit code 0)"),
        (
            "sys.stderr.write('a ' * 2040 + 'rtsp://me:' + 'secret' * 9 + '@c\\nb')",
            "exit code 0): b",
        ),
        ("out.write(b'OggS' + bytes(4096))", "exit code 0)"),
    ],
)
def test_one_that_ends_says_why(text: str, reason: str) -> None:
    with pytest.raises(MicrophoneError) as raised:
        CommandMicrophone(_program(text)).__enter__()
    assert str(raised.value) == f"'{_NAME}' has ended ({reason}"


def test_another_format_is_named() -> None:
    text = "out.write(b'OggS' + bytes(4096)); time.sleep(60)"
    with pytest.raises(MicrophoneError, match="is Ogg; only WAV or bare 16-bit sound is read"):
        CommandMicrophone(_program(text)).__enter__()


def test_one_that_is_not_there() -> None:
    with pytest.raises(MicrophoneError) as raised:
        CommandMicrophone("/nowhere/ffmpeg -i rtsp://me:secret@camera/1").__enter__()
    assert str(raised.value) == (
        "audio.source: 'ffmpeg' cannot be started (No such file or directory); install it, or"
        " correct the command"
    )


def test_a_password_in_the_place_of_the_program_is_not_told() -> None:
    with pytest.raises(MicrophoneError) as raised:
        CommandMicrophone("rtsp://me:secret@camera").__enter__()
    assert "secret" not in str(raised.value)


def test_one_that_falls_silent_has_stalled(monkeypatch: pytest.MonkeyPatch) -> None:
    with CommandMicrophone(_program(_tone(0.032) + "time.sleep(600)"), stall_s=3.0) as microphone:
        blocks = microphone.blocks()
        next(blocks)
        clock = iter(range(1000))
        monkeypatch.setattr("edge.audio.sources.time.monotonic", lambda: 1e6 + next(clock))
        monkeypatch.setattr(sources, "_POLL_MS", 1)
        with pytest.raises(MicrophoneStalled, match=r"' has delivered nothing for [0-9.]+ s$"):
            next(blocks)


def test_one_that_never_begins_has_stalled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_FIRST_SOUND_S", 0.0)
    monkeypatch.setattr(sources, "_POLL_MS", 1)
    with pytest.raises(MicrophoneError, match="has delivered nothing for"):
        CommandMicrophone(_program("time.sleep(600)"), stall_s=0.0).__enter__()


def test_what_waited_is_dated_back(monkeypatch: pytest.MonkeyPatch) -> None:
    text = _tone(1.024) + "print('written', file=sys.stderr); time.sleep(600)"
    with CommandMicrophone(_program(text)) as microphone:
        while microphone._said != "written":
            os.sched_yield()
        monkeypatch.setattr("edge.audio.sources.time.monotonic", lambda: 100.0)
        first, second = _heard(microphone.blocks(), 2)
    assert second.captured_at - first.captured_at == pytest.approx(0.032)
    assert first.captured_at == pytest.approx(100.0 - 1.024 + 0.032, abs=1e-3)


def test_it_ends_with_what_it_has_started() -> None:
    text = (
        "import subprocess; child = subprocess.Popen(['sleep', '600']);"
        "print(child.pid, file=sys.stderr, flush=True);" + _tone(0.1) + "time.sleep(600)"
    )
    with CommandMicrophone(_program(text)) as microphone:
        while not microphone._said:
            os.sched_yield()
        child, own = int(microphone._said), microphone._process
        assert own is not None
    assert own.poll() == -15
    # A process that was ended stays for whoever has to take note of it.
    status = Path(f"/proc/{child}/status")
    while status.exists() and "zombie" not in status.read_text():
        os.sched_yield()


def test_what_systemd_tells_the_service_is_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in command._OURS:
        monkeypatch.setenv(name, "/secret")
    monkeypatch.setenv("PULSE_SERVER", "/pulse")
    text = "sys.exit([e for e in os.environ.values() if e in ('/secret', '/pulse')])"
    with pytest.raises(MicrophoneError) as raised:
        CommandMicrophone(_program(text)).__enter__()
    assert str(raised.value).endswith(": ['/pulse']")


def test_the_service_starts_it_again(tmp_path: Path) -> None:
    # The first time it ends after a block; the second time it goes on.
    before = str(tmp_path / "before")
    text = (
        _tone(0.032)
        + f"again = os.path.exists({before!r}); open({before!r}, 'w').close();"
        + "again or sys.exit('cut');"
        + _tone(0.032)
        + "time.sleep(600)"
    )
    told: list[MicrophoneState] = []
    microphone = ReconnectingMicrophone(on_change=told.append, command=_program(text), retry_s=0.01)
    with microphone:
        blocks = microphone.blocks()
        first, second, third = _heard(blocks, 3)
        microphone.close()
        assert list(blocks) == []
    assert [(state.listening, state.reason) for state in told] == [
        (True, ""),
        (False, f"'{_NAME}' has ended (exit code 1): cut"),
        (True, ""),
    ]
    assert first.lost_samples == 0
    assert second.lost_samples > 0
    assert third.start_s == pytest.approx(second.start_s + 0.032)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("arecord -D hw:1 -f S16_LE -r 16000 -t raw", None),
        ("ffmpeg -i 'rtsp://camera/1?a=1&b=2' -f wav -", None),
        ("ffmpeg -i 'x", "has a quotation mark without its other half; add it"),
        ("   ", "begins or ends with a space; type it anew"),
        (
            "ffmpeg -i x -f wav - | sox",
            "has | in it, which only a shell obeys; give one program, or a script",
        ),
        (
            "ffmpeg -i x 2> /dev/null",
            "has 2> in it, which only a shell obeys; give one program, or a script",
        ),
    ],
)
def test_commands_that_cannot_be_right_are_refused(text: str, problem: str | None) -> None:
    assert fault("source", text) == problem
