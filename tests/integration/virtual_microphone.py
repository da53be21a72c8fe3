"""A virtual microphone: a private PulseAudio whose null sink is recorded through ALSA.

What is played into it comes out of PortAudio's default device, on machines without sound hardware
and as root too. Everything lives in a folder of its own and ends with the test.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType

import pytest

from tests.integration.waiting import PATIENCE, settled

_ALSA = """
pcm_type.pulse { lib libasound_module_pcm_pulse.so }
ctl_type.pulse { lib libasound_module_ctl_pulse.so }
pcm.!default { type pulse hint { show on description "virtual microphone" } }
ctl.!default { type pulse }
"""

_TWO = """
pcm.desk { type pulse device room.monitor hint { show on description "on the desk" } }
pcm.shelf { type pulse device shelf.monitor hint { show on description "on the shelf" } }
"""

_PROGRAMS = {"pulseaudio": "pulseaudio", "paplay": "pulseaudio-utils", "pactl": "pulseaudio-utils"}
_PROTOCOL = "module-native-protocol-unix"
_SINK = "room"


def missing_parts() -> str:
    """What is not installed of what a virtual microphone needs, as an apt command; empty if all."""
    packages = {package for name, package in _PROGRAMS.items() if shutil.which(name) is None}
    if not list(Path("/usr/lib").glob("*/alsa-lib/libasound_module_pcm_pulse.so")):
        packages.add("libasound2-plugins")
    if not list(Path("/usr/lib").glob("*/libportaudio.so.2")):
        packages.add("libportaudio2")
    return f"sudo apt install {' '.join(sorted(packages))}" if packages else ""


def skip_or_fail_without_parts() -> None:
    """Skip the test where parts are missing; on CI, where they must be there, fail."""
    command = missing_parts()
    if not command:
        return
    message = f"a virtual microphone needs: {command}"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


class VirtualMicrophone:
    """A private sound server with a room to play into; `environment` is for who records there.

    PortAudio is one per process, so the recording part of a test is a process of its own, started
    with `environment`.

    Args:
        two: have two microphones with names of their own, `desk` in the room that is played into,
            and `shelf` where nothing is heard.

    Attributes:
        environment: environment variables that lead PortAudio, paplay and pactl to the room.
        pid: process id of the sound server, to stop and continue it.
    """

    def __init__(self, *, two: bool = False) -> None:
        self._sinks = (_SINK, "shelf") if two else (_SINK,)
        self._folder = Path(tempfile.mkdtemp(prefix="virtual-microphone-"))
        alsa = self._folder / "alsa.conf"
        alsa.write_text(_ALSA + (_TWO if two else ""), encoding="utf-8")
        unwanted = {"DISPLAY", "WAYLAND_DISPLAY", "DBUS_SESSION_BUS_ADDRESS", "PULSE_SINK"}
        self.environment = {k: v for k, v in os.environ.items() if k not in unwanted}
        self.environment.update(
            HOME=str(self._folder),
            XDG_RUNTIME_DIR=str(self._folder),
            XDG_CONFIG_HOME=str(self._folder / "config"),
            PULSE_RUNTIME_PATH=str(self._folder / "run"),
            PULSE_STATE_PATH=str(self._folder / "state"),
            PULSE_COOKIE=str(self._folder / "cookie"),
            PULSE_SERVER=f"unix:{self._folder / 'native'}",
            ALSA_CONFIG_PATH=str(alsa),
        )
        self._drained = self._folder / "drained"
        self._server: subprocess.Popen[bytes] | None = None
        self._drain: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> VirtualMicrophone:
        # Sound does not wait: who plays and records here comes before all else on a busy machine,
        # where this user may have that. What is started from now on inherits it.
        self._priority = os.getpriority(os.PRIO_PROCESS, 0)
        with contextlib.suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, -15)
        self.plug_in()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.unplug()
        os.setpriority(os.PRIO_PROCESS, 0, self._priority)
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def pid(self) -> int:
        assert self._server is not None
        return self._server.pid

    def plug_in(self) -> None:
        """Start the sound server, and wait until the room can be heard."""
        self._server = subprocess.Popen(
            [
                *("pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1"),
                *("--use-pid-file=no", "--disable-shm=yes", "--log-target=stderr"),
                *("-L", f"{_PROTOCOL} auth-anonymous=1 socket={self._folder}/native"),
                *(
                    word
                    for sink in self._sinks
                    for word in ("-L", f"module-null-sink sink_name={sink} rate=16000 channels=1")
                ),
            ],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=(self._folder / "pulseaudio.log").open("ab"),
        )
        server = self._server
        assert settled(lambda: self._control("info") == 0 or server.poll() is not None)
        assert server.poll() is None, (self._folder / "pulseaudio.log").read_text()
        assert self._control("set-default-source", f"{_SINK}.monitor") == 0
        # A null sink that nobody has recorded from yet delivers its first sound after up to 2 s,
        # which no microphone does; a recording that nobody reads keeps it awake.
        self._drain = subprocess.Popen(
            ["parec", "--raw", "--latency-msec=32", f"--device={_SINK}.monitor"],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=self._drained.open("wb"),
            stderr=subprocess.DEVNULL,
        )
        assert settled(lambda: self._drained.stat().st_size), "the sound server delivers nothing"

    @property
    def plugged_in(self) -> bool:
        """Whether there is a sound server."""
        return self._server is not None

    @property
    def sounds(self) -> bool:
        """Whether anything can be heard in the room just now."""
        return any(self._drained.read_bytes()[-2048:])

    def unplug(self) -> None:
        """Kill the sound server: the microphone is gone without a goodbye."""
        for process in (self._server, self._drain):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()
        self._server = self._drain = None

    def freeze(self) -> None:
        """Stop the sound server: it is there, says nothing and answers nobody."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen sound server go on."""
        os.kill(self.pid, signal.SIGCONT)

    def play(self, path: Path) -> None:
        """Play a sound file into the room and wait until it has been played."""
        self.play_in_background(path).wait(timeout=PATIENCE)

    def play_in_background(self, path: Path) -> subprocess.Popen[bytes]:
        """Play a sound file into the room; the caller waits for the process."""
        return subprocess.Popen(
            ["paplay", f"--device={_SINK}", "--latency-msec=500", str(path)], env=self.environment
        )

    def _control(self, *arguments: str) -> int:
        return subprocess.run(
            ["pactl", *arguments], env=self.environment, capture_output=True, check=False
        ).returncode
