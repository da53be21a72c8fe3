"""A virtual microphone: a private sound server whose monitor ALSA records from.

Needs PulseAudio and its ALSA plugin (Debian: pulseaudio, pulseaudio-utils, libasound2-plugins).
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

_ALSA = """
pcm_type.pulse { lib libasound_module_pcm_pulse.so }
ctl_type.pulse { lib libasound_module_ctl_pulse.so }
pcm.!default { type pulse hint { show on description "USB microphone" } }
ctl.!default { type pulse }
"""
_SINK = "room"


class Room:
    """A sound server of its own, while used as a context manager.

    Args:
        environment: variables to start from.
        quiet: a recording of background noise, played from the start.

    Attributes:
        environment: variables of a command that records from this room.
    """

    def __init__(self, environment: dict[str, str], quiet: Path) -> None:
        self._quiet = quiet
        self._folder = Path(tempfile.mkdtemp(prefix="room-"))
        alsa = self._folder / "alsa.conf"
        alsa.write_text(_ALSA, encoding="utf-8")
        unwanted = {"DISPLAY", "WAYLAND_DISPLAY", "DBUS_SESSION_BUS_ADDRESS", "PULSE_SINK"}
        self.environment = {k: v for k, v in environment.items() if k not in unwanted}
        self.environment.update(
            XDG_RUNTIME_DIR=str(self._folder),
            PULSE_RUNTIME_PATH=str(self._folder / "run"),
            PULSE_STATE_PATH=str(self._folder / "state"),
            PULSE_COOKIE=str(self._folder / "cookie"),
            PULSE_SERVER=f"unix:{self._folder / 'native'}",
            ALSA_CONFIG_PATH=str(alsa),
        )
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Room:
        nowhere = subprocess.DEVNULL
        self._start(
            *("pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1"),
            *("--use-pid-file=no", "--disable-shm=yes"),
            *("-L", f"module-native-protocol-unix auth-anonymous=1 socket={self._folder}/native"),
            *("-L", f"module-null-sink sink_name={_SINK} rate=16000 channels=1"),
        )
        control = ["pactl", "set-default-source", f"{_SINK}.monitor"]
        until = time.monotonic() + 10.0
        while subprocess.run(
            control, env=self.environment, stdout=nowhere, stderr=nowhere, check=False
        ).returncode:
            if time.monotonic() > until:
                raise TimeoutError("the sound server does not start")
            time.sleep(0.1)
        # A null sink without a recorder takes a while to wake up.
        self._start("parec", "--raw", "--latency-msec=32", f"--device={_SINK}.monitor")
        self._processes.append(self.play(self._quiet))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in reversed(self._processes):
            process.kill()
            process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def play(self, recording: Path) -> subprocess.Popen[bytes]:
        """Start playing a recording (WAV or FLAC)."""
        return subprocess.Popen(
            ["paplay", f"--device={_SINK}", "--latency-msec=500", str(recording)],
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def _start(self, *command: str) -> None:
        if shutil.which(command[0]) is None:
            raise FileNotFoundError(f"{command[0]} is not installed")
        self._processes.append(
            subprocess.Popen(
                command,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )
