"""`enroll`, `verify` and `identify` at a virtual microphone, as somebody at a terminal would."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge.resources import demo_directory
from edge.store import ProfileStore
from tests.integration.virtual_microphone import VirtualMicrophone, skip_or_fail_without_parts
from tests.integration.waiting import PATIENCE, settled

REPOSITORY = Path(__file__).resolve().parents[2]
RECORDINGS = demo_directory()


class Command:
    """A running `edge-voice`, whose lines can be waited for."""

    def __init__(self, microphone: VirtualMicrophone, config: Path, *arguments: str) -> None:
        environment = {**microphone.environment, "PYTHONPATH": str(REPOSITORY)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "edge.cli", "--config", str(config), *arguments],
            cwd=REPOSITORY,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: queue.Queue[str | None] = queue.Queue()
        self.seen: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.put(line.rstrip("\n"))
        self.lines.put(None)

    def wait_for(self, text: str) -> None:
        while True:
            line = self.lines.get(timeout=PATIENCE)
            assert line is not None, f"it ended before {text!r}: {self.seen}"
            self.seen.append(line)
            if text in line:
                return

    def finish(self) -> tuple[int, str]:
        """Exit code and standard output."""
        assert self.process.stdout is not None
        output = self.process.stdout.read()
        return self.process.wait(timeout=PATIENCE), output


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "config.yaml"
    file.write_text("state_directory: state\n")
    return file


def run(microphone: VirtualMicrophone, config: Path, *arguments: str) -> Command:
    return Command(microphone, config, *arguments)


def say(microphone: VirtualMicrophone, name: str) -> None:
    microphone.play(RECORDINGS / f"{name}.flac")


def test_devices_are_listed(microphone: VirtualMicrophone, config: Path) -> None:
    code, output = run(microphone, config, "devices", "--json").finish()
    assert code == 0
    devices = json.loads(output)["devices"]
    assert sum(device["is_default"] for device in devices) == 1


@pytest.mark.slow
@pytest.mark.long
def test_enroll_be_interrupted_go_on_and_be_recognized(
    microphone: VirtualMicrophone, config: Path, tmp_path: Path
) -> None:
    command = run(microphone, config, "enroll", "Ada", "--phrase", "open up")
    command.wait_for("0 of 3")
    say(microphone, "ada_enroll_1")
    command.wait_for("1 of 3")
    command.process.send_signal(signal.SIGINT)
    code, output = command.finish()
    assert (code, output) == (130, "")
    with ProfileStore(tmp_path / "state" / "signatures.sqlite") as store:
        assert store.get("Ada").remaining == 2

    command = run(microphone, config, "enroll", "Ada")
    command.wait_for("Measuring the room: please be silent for 2 seconds.")
    command.wait_for("1 of 3")
    say(microphone, "ada_wrong_phrase")
    command.wait_for("Rejected: not the phrase")
    say(microphone, "robin_enroll_1")
    command.wait_for("Rejected: ")
    command.wait_for("start over with --again")
    say(microphone, "ada_enroll_2")
    command.wait_for("2 of 3")
    say(microphone, "ada_enroll_3")
    command.wait_for("Now a trial: say it once more")
    say(microphone, "ada_right_phrase")
    code, output = command.finish()
    assert code == 0
    assert output.startswith("Ada is enrolled.\nTrial: it opens, ")

    command = run(microphone, config, "verify", "Ada", "--json")
    command.wait_for("Microphone: ")
    say(microphone, "ada_right_phrase")
    assert command.finish()[0] == 0
    command = run(microphone, config, "identify", "--json")
    command.wait_for("Microphone: ")
    say(microphone, "ada_wrong_phrase")
    code, output = command.finish()
    assert (code, json.loads(output)["identified"]["name"]) == (0, "Ada")


def test_silence_is_given_up_on(microphone: VirtualMicrophone, config: Path) -> None:
    command = run(microphone, config, "enroll", "Ada", "--wait", "1")
    command.wait_for("nobody spoke into")
    assert command.finish() == (2, "")
    code, output = run(microphone, config, "profiles", "list", "--json").finish()
    assert (code, json.loads(output)) == (0, {"profiles": []})


def test_unknown_microphone_is_3(microphone: VirtualMicrophone, config: Path) -> None:
    command = run(microphone, config, "enroll", "Ada", "--device", "no such thing")
    command.wait_for("no such thing")
    assert command.finish() == (3, "")


def test_choosing_a_microphone_and_a_meter_that_moves(config: Path, tmp_path: Path) -> None:
    """On a real pseudo-terminal, 80 columns wide, with two microphones."""
    skip_or_fail_without_parts()
    with VirtualMicrophone(two=True) as room:
        leader, follower = os.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "edge.cli", "--config", str(config), "enroll", "Ada"],
            cwd=REPOSITORY,
            env={
                **room.environment,
                "PYTHONPATH": str(REPOSITORY),
                "TERM": "xterm",
                "COLUMNS": "80",
            },
            stdin=follower,
            stdout=follower,
            stderr=follower,
        )
        os.close(follower)
        chunks: list[bytes] = []

        def read() -> None:
            with contextlib.suppress(OSError):  # the other end closes
                while chunk := os.read(leader, 4096):
                    chunks.append(chunk)

        reader = threading.Thread(target=read, daemon=True)
        reader.start()

        def seen() -> str:
            # Where lines are broken depends on how long a path is.
            return " ".join(b"".join(chunks).decode(errors="replace").split())

        def wait_for(text: str) -> None:
            assert settled(lambda: text in seen()), seen()[-1000:]

        # However long it takes to open them, somebody talks then.
        speech, rate = soundfile.read(RECORDINGS / "ada_wrong_phrase.flac")
        soundfile.write(tmp_path / "talk.wav", np.tile(speech, 30), rate)
        try:
            wait_for("2 microphones found. Stand where you will speak, and talk for 5 seconds.")
            playing = room.play_in_background(tmp_path / "talk.wav")
            wait_for("Microphone to use [1]:")
            playing.kill()
            playing.wait()
            assert re.search(r"\* 1 desk speech at -\d\d dB, \d\d dB above the noise", seen())
            assert re.search(r" 2 shelf no speech", seen())
            os.write(leader, b"7\n")
            wait_for("choose one from 1 to 2 that can be opened")
            os.write(leader, b"\n")
            wait_for("Save it as audio.device in ")
            os.write(leader, b"y\n")
            wait_for("restart the service to use it")
            assert 'audio:\n  device: "desk"\n' in config.read_text()
            wait_for("Microphone: desk")
            wait_for("measuring the room")
            wait_for("listening")
            playing = room.play_in_background(RECORDINGS / "ada_enroll_1.flac")
            wait_for("hearing you: good")
            wait_for("1 of 3")
            playing.wait(timeout=PATIENCE)
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=PATIENCE) == 130
        finally:
            process.kill()
            process.wait()
            reader.join(timeout=PATIENCE)
            os.close(leader)
        assert "progress saved (1 of 3)" in seen()
