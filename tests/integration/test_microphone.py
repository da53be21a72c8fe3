"""A real PortAudio capture through a virtual microphone, also when its sound server dies."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from edge.audio.blocks import blocks_of
from edge.audio.files import read_audio
from edge.resources import demo_directory
from edge.types import SAMPLE_RATE, FloatArray
from tests.integration.virtual_microphone import VirtualMicrophone
from tests.integration.waiting import PATIENCE

REPOSITORY = Path(__file__).resolve().parents[2]

LISTENER = """
import json, sys, threading, time
import numpy as np
from edge.audio.microphone import ReconnectingMicrophone

def tell(**what):
    # In one piece: two threads tell.
    sys.stdout.write(json.dumps({"at": time.monotonic(), **what}) + "\\n")
    sys.stdout.flush()

microphone = ReconnectingMicrophone(
    stall_s=0.5, retry_s=0.2,
    on_change=lambda s: tell(listening=s.listening, reason=s.reason, device=s.device),
)

def close_when_told():
    sys.stdin.readline()
    tell(closing=True)
    microphone.close()

def tell_reasons():
    # Another reason for the same is no change.
    told = ""
    while True:
        reason = microphone.state.reason if microphone.state else ""
        if reason != told:
            tell(because=reason)
        told = reason
        time.sleep(0.02)

threading.Thread(target=close_when_told, daemon=True).start()
threading.Thread(target=tell_reasons, daemon=True).start()
heard, quiet, sounding, before = [], 0, False, None
with microphone:
    for block in microphone.blocks():
        heard.append(block)
        if block.lost_samples:
            begun = block.captured_at - len(block.samples) / 16000
            tell(lost_s=block.lost_samples / 16000, start_s=block.start_s,
                 until=begun, missing_s=begun - before)
        before = block.captured_at
        quiet = 0 if block.samples.any() else quiet + 1
        if sounding and quiet == 15:
            tell(over=True)
        sounding = quiet < 15 and (sounding or quiet == 0)
tell(closed=True, late_s=max([0.0] + [b.start_s for b in heard[-1:]]))
np.save("heard.npy", np.concatenate([np.zeros(0, np.float32)] + [b.samples for b in heard]))
"""


class Listener:
    """A process that listens with the virtual microphone's environment and reports in JSON."""

    def __init__(self, room: VirtualMicrophone, folder: Path) -> None:
        environment = {**room.environment, "PYTHONPATH": str(REPOSITORY)}
        self._folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-c", LISTENER],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reports: queue.Queue[dict[str, Any] | None] = queue.Queue()
        threading.Thread(target=self._collect, daemon=True).start()

    def _collect(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._reports.put(json.loads(line))
        self._reports.put(None)

    def report(self, key: str) -> dict[str, Any]:
        """The next report that has `key`; those before it are forgotten."""
        while True:
            report = self._reports.get(timeout=PATIENCE)
            assert report is not None, "the listener ended"
            if key in report:
                return report

    def close(self) -> None:
        """Have it close the microphone and end."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.report("closing")
        self.report("closed")
        assert self.process.wait(timeout=PATIENCE) == 0

    def complaints(self) -> str:
        """What it said on standard error, once it has ended."""
        assert self.process.stderr is not None
        return self.process.stderr.read()

    def heard(self) -> FloatArray:
        samples: FloatArray = np.load(self._folder / "heard.npy")
        return samples

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


@pytest.fixture
def listener(microphone: VirtualMicrophone, tmp_path: Path) -> Iterator[Listener]:
    process = Listener(microphone, tmp_path)
    try:
        assert process.report("listening")["listening"]
        yield process
    finally:
        process.kill()


def assert_lost(lost: dict[str, Any], gone: dict[str, Any], back: dict[str, Any]) -> None:
    """What was lost is as long as there was no sound, by the clock of what arrived."""
    assert lost["lost_s"] == pytest.approx(lost["missing_s"], abs=1e-3)
    assert lost["start_s"] > lost["lost_s"] > 0.0
    assert gone["at"] < lost["until"] < back["at"]


def _alignment(heard: FloatArray, played: FloatArray) -> tuple[int, float]:
    """Where `played` lies in `heard`, and how well: the peak of the normalized correlation."""
    size = 1 << (len(heard) + len(played)).bit_length()
    spectrum = np.fft.rfft(heard, size) * np.conj(np.fft.rfft(played, size))
    at = int(np.fft.irfft(spectrum, size)[: len(heard)].argmax())
    part = heard[at : at + len(played)]
    played = played[: len(part)]
    norm = float(np.linalg.norm(part) * np.linalg.norm(played))
    return at, float(np.dot(part, played)) / norm


def test_what_is_played_is_heard_also_after_the_sound_server_died(
    microphone: VirtualMicrophone, listener: Listener, tmp_path: Path
) -> None:
    played = read_audio(demo_directory() / "ada_right_phrase.flac").samples
    soundfile.write(tmp_path / "played.wav", played, SAMPLE_RATE)

    microphone.unplug()
    gone = listener.report("listening")
    microphone.plug_in()
    back = listener.report("listening")
    lost = listener.report("lost_s")
    microphone.play(tmp_path / "played.wav")
    listener.report("over")
    listener.close()

    assert not gone["listening"]
    assert "gone away" in gone["reason"]
    # Neither PortAudio nor ALSA has a word, and the service's own are left.
    assert listener.complaints() == f"not listening: {gone['reason']}\n"
    assert back["listening"]
    assert_lost(lost, gone, back)
    heard = listener.heard()
    played = np.concatenate([block.samples for block in blocks_of(played)])
    at, likeness = _alignment(heard, played)
    assert likeness > 0.999
    np.testing.assert_allclose(heard[at : at + len(played)], played, atol=2e-3)


def test_stall_without_an_error_is_noticed_and_the_stream_reopened(
    microphone: VirtualMicrophone, listener: Listener
) -> None:
    microphone.freeze()
    try:
        stalled = listener.report("listening")
        # It is tried again, and what does not come back from PortAudio is left behind.
        while "has not answered" not in listener.report("because")["because"]:
            pass
    finally:
        microphone.thaw()
    back = listener.report("listening")
    lost = listener.report("lost_s")

    assert not stalled["listening"]
    assert "delivered nothing" in stalled["reason"]
    assert back["listening"]
    assert_lost(lost, stalled, back)
    # A frozen one does not keep the process from ending.
    microphone.freeze()
    try:
        assert not listener.report("listening")["listening"]
        listener.close()
    finally:
        microphone.thaw()


def _python(environment: Mapping[str, str], code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(REPOSITORY), **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
    ).stdout


def test_devices_are_listed_and_a_wrong_name_lists_them_too(
    microphone: VirtualMicrophone,
) -> None:
    out = _python(
        microphone.environment,
        "from edge.audio.devices import list_devices\n"
        "from edge.audio.microphone import Microphone\n"
        "from edge.errors import MicrophoneError\n"
        "print([(d.name, d.is_default) for d in list_devices()])\n"
        "try:\n"
        "    Microphone('webcam').__enter__()\n"
        "except MicrophoneError as error:\n"
        "    print(error)\n",
    ).splitlines()

    assert out[0] == "[('default', True)]"
    assert out[1] == "no microphone is called 'webcam'; there are: 0 'default'"


def test_device_at_its_own_rate_is_resampled(microphone: VirtualMicrophone, tmp_path: Path) -> None:
    """A device that refuses 16 kHz, as most USB microphones do: it is told to."""
    seconds = np.arange(2 * 48_000) / 48_000
    tone = (0.5 * np.sin(2 * np.pi * 440 * seconds)).astype(np.float32)
    soundfile.write(tmp_path / "tone.wav", tone, 48_000)
    code = (
        "import sys, numpy as np, edge.audio.microphone as m\n"
        "real = m._refusal\n"
        "m._refusal = lambda s, d, rate, c: 'no' if rate == 16000 else real(s, d, rate, c)\n"
        "with m.Microphone() as microphone:\n"
        "    print('ready', flush=True)\n"
        "    blocks, loud = [], 0\n"
        "    for block in microphone.blocks():\n"
        "        blocks.append(block)\n"
        "        loud += bool(np.abs(block.samples).max() > 0.2)\n"
        "        if loud == 50:\n"
        "            break\n"
        "assert microphone._opened is None\n"
        "np.save(sys.argv[1], np.concatenate([b.samples for b in blocks]))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "heard.npy")],
        env={**microphone.environment, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    microphone.play(tmp_path / "tone.wav")
    assert process.wait(timeout=PATIENCE) == 0

    heard = np.load(tmp_path / "heard.npy")
    loud = heard[np.flatnonzero(np.abs(heard) > 0.2)[0] :][2_000:18_000]
    spectrum = np.abs(np.fft.rfft(loud * np.hanning(len(loud))))
    assert spectrum.argmax() * SAMPLE_RATE / len(loud) == pytest.approx(440, abs=2)
    assert np.sqrt(np.mean(loud**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.03)


def test_machine_without_portaudio_says_what_to_install(tmp_path: Path) -> None:
    """Files can still be read there; only the microphone cannot."""
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')\n")
    code = (
        "import edge.audio.files, edge.audio.end_pointing\n"
        "from edge.audio.devices import list_devices\n"
        "from edge.errors import MicrophoneError\n"
        "try:\n"
        "    list_devices()\n"
        "except MicrophoneError as error:\n"
        "    print(error)\n"
    )
    path = f"{tmp_path}{os.pathsep}{REPOSITORY}"

    out = _python({**os.environ, "PYTHONPATH": path}, code)

    assert "sudo apt install libportaudio2" in out


def test_libraries_are_silent_and_our_own_words_are_not_lost(microphone: VirtualMicrophone) -> None:
    code = """
import ctypes, sys
from edge.audio import portaudio
def restart(sounddevice):
    check = sounddevice._check
    def checked(*arguments):
        sys.stderr.write("ours, while it starts\\n")
        return check(*arguments)
    sounddevice._check = checked
    portaudio.rescan(sounddevice)
    sounddevice._check = check
portaudio.call(restart)
pcm = ctypes.c_void_p()
ctypes.CDLL("libasound.so.2").snd_pcm_open(ctypes.byref(pcm), b"nonsense", 1, 0)
libc = ctypes.CDLL(None)
libc.fputs(b"from C", ctypes.c_void_p.in_dll(libc, "stderr"))
sys.stderr.write("ours\\n")
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(REPOSITORY), **microphone.environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
    )
    # PortAudio is ended and begun, which is two answers.
    assert done.stderr == "ours, while it starts\n" * 2 + "ours\n"
