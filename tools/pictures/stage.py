"""A home directory for the pictures: enrolled people, a service, a virtual microphone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import yaml
from rich.text import Text

from edge.cli.display import HEARING
from edge.crypto.keys import DEFAULT_FILE, make_key_file
from edge.demo.parts import DemoBroker, Player
from edge.demo.story import load_play
from edge.resources import demo_directory
from edge.types import SAMPLE_RATE
from tools.pictures.room import Room
from tools.pictures.terminal import Terminal

REPOSITORY = Path(__file__).resolve().parents[2]
_UNWANTED = ("EDGE_VOICE_CONFIG", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "STATE_DIRECTORY")


@contextmanager
def home() -> Iterator[Path]:
    """A temporary folder whose path is as long as /home/pi."""
    for number in range(10):
        folder = Path(f"/tmp/pi{number}")  # noqa: S108 (private, made here)
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            continue
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return
    raise FileExistsError("no folder can be made for the home of pi: take some away")


class Stage:
    """A folder with a home directory.

    Args:
        folder: an empty one; shown as the home of a user called pi.

    Attributes:
        environment: variables of commands run there.
    """

    def __init__(self, folder: Path) -> None:
        self.home = folder
        self.environment = {k: v for k, v in os.environ.items() if k not in _UNWANTED}
        path = os.pathsep.join(
            part for part in (str(REPOSITORY), os.environ.get("PYTHONPATH", "")) if part
        )
        self.environment.update(
            HOME=str(folder), USER="pi", LOGNAME="pi", PYTHONPATH=path, TZ="UTC", PS1="$ "
        )
        state = folder / ".local" / "state" / "edge-voice"
        # Made in advance: making a key on the way prints a warning.
        make_key_file(state / DEFAULT_FILE)
        (folder / ".config" / "edge-voice").mkdir(parents=True)
        self._configure({"enabled": False})

    @property
    def private(self) -> list[str]:
        """Words that no picture may contain."""
        return [str(self.home), str(REPOSITORY), os.uname().nodename]

    def public(self, picture: str) -> str:
        """A picture with /home/pi instead of this folder; both are equally long."""
        return picture.replace(str(self.home), "/home/pi")

    def _configure(self, mqtt: dict[str, Any]) -> None:
        settings = {"device": {"id": "front-door", "name": "Front door"}, "mqtt": mqtt}
        file = self.home / ".config" / "edge-voice" / "config.yaml"
        file.write_text(yaml.safe_dump(settings, sort_keys=False))
        file.chmod(0o600)

    def command(self, *arguments: str) -> list[str]:
        """The command line of `edge-voice ARGUMENTS`."""
        return [sys.executable, "-m", "edge.cli", *arguments]

    def enroll(self) -> None:
        """Enroll the people of the demo from their recordings."""
        for person in load_play().people:
            files = [
                str(demo_directory() / f"{person.name.lower()}_enroll_{number}.flac")
                for number in (1, 2, 3)
            ]
            subprocess.run(
                self.command("enroll", person.name, "--phrase", person.phrase, *files),
                env=self.environment,
                check=True,
                stdout=subprocess.DEVNULL,
            )

    def shown(self, columns: int, lines: int, *arguments: str) -> list[Text]:
        """The screen of a command when it has ended."""
        with Terminal(self.command(*arguments), columns, lines, self.environment) as terminal:
            terminal.run_to_end()
            return terminal.snapshot()

    def watched(self, widths: Sequence[int], lines: int) -> dict[int, list[Text]]:
        """The monitor at several widths at once, after some minutes of speech."""
        pictures: dict[int, list[Text]] = {}
        with ExitStack() as stack:
            player = stack.enter_context(self._door())
            views = {
                columns: stack.enter_context(
                    Terminal(self.command("monitor"), columns, lines, self.environment)
                )
                for columns in widths
            }
            for view in views.values():
                view.run_until("listening")
            spoken = threading.Thread(target=_speak, args=(player,), daemon=True)
            spoken.start()
            # In mid-sentence, so that the meter shows something.
            while spoken.is_alive():
                for view in views.values():
                    view.run_for(0.05)
            for columns, view in views.items():
                pictures[columns] = view.snapshot()
        return pictures

    @contextmanager
    def _door(self) -> Iterator[Player]:
        service = subprocess.Popen(
            self.command("run", "--input", "-"),
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=(self.home / "service.log").open("wb"),
        )
        assert service.stdin is not None  # noqa: S101 (as asked for)
        try:
            with Player(service.stdin) as player:
                socket = self.home / ".local" / "state" / "edge-voice" / "monitor.sock"
                until = time.monotonic() + 20.0
                while not socket.exists():
                    if service.poll() is not None or time.monotonic() > until:
                        raise TimeoutError((self.home / "service.log").read_text())
                    time.sleep(0.1)
                yield player
        finally:
            service.terminate()
            service.wait(10)

    def shown_in_a_room(self, columns: int, lines: int, *arguments: str) -> list[Text]:
        """The last screen of a command that listens to a quiet room and needs a broker."""
        with DemoBroker() as broker, Room(self.environment, self._quiet()) as room:
            self._configure({"host": broker.host, "port": broker.port, "protocol": "3.1.1"})
            command = self.command(*arguments)
            with Terminal(command, columns, lines, room.environment) as terminal:
                terminal.run_to_end()
                return terminal.snapshot()

    def enrolled_by_voice(self, columns: int, lines: int, until: str = "") -> list[Text]:
        """An enrollment at the microphone: one repetition is refused, the rest are accepted.

        Args:
            columns: width of the terminal.
            lines: its height.
            until: take the screen during speech, once it has these words; otherwise at the end.
        """
        phrase = load_play().people[0].phrase
        steps = (
            ("0 of 3", "ada_enroll_1"),
            ("1 of 3", "stranger_other_phrase"),
            ("Rejected", "ada_enroll_2"),
            ("2 of 3", "ada_enroll_3"),
            ("a trial", "ada_right_phrase"),
        )
        subprocess.run(
            self.command("profiles", "delete", "Grace", "--yes"),
            env=self.environment,
            capture_output=True,
            check=False,  # the first time the name does not exist
        )
        with (
            Room(self.environment, self._quiet()) as room,
            Terminal(
                self.command("enroll", "Grace", "--phrase", phrase),
                columns,
                lines,
                room.environment,
            ) as terminal,
        ):
            for words, recording in steps:
                terminal.run_until(words)
                playing = room.play(demo_directory() / f"{recording}.flac")
                if words == until:
                    terminal.run_until(HEARING)
                    terminal.run_for(1.0)
                    return terminal.snapshot()
                while playing.poll() is None:
                    terminal.run_for(0.1)
            terminal.run_to_end()
            return terminal.snapshot()

    def _quiet(self) -> Path:
        """Two minutes of a quiet room: no microphone delivers digital silence."""
        file = self.home / "quiet.wav"
        noise = np.random.default_rng(0).standard_normal(120 * SAMPLE_RATE)
        soundfile.write(file, 10.0 ** (_ROOM_DBFS / 20.0) * noise, SAMPLE_RATE)
        return file


_ROOM_DBFS = -62.0
_PAUSES_S = (4.0, 31.0, 23.0, 47.0, 12.0, 38.0, 27.0)
"""Pauses before the recordings; a few minutes in total."""


def _speak(player: Player) -> None:
    scenes = load_play().scenes
    for pause_s, scene in zip(_PAUSES_S, scenes):
        time.sleep(pause_s)
        player.play(scene.samples)
    time.sleep(9.0)
    # An earlier recording again, and half of another: the picture is taken during speech.
    player.play(scenes[0].samples)
    time.sleep(6.0)
    half = len(scenes[1].samples) // 2
    player.play(np.ascontiguousarray(scenes[1].samples[:half]))
