"""`enroll NAME --digits` at a terminal with a virtual microphone, and a door that asks for them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from edge.types import SAMPLE_RATE, FloatArray
from tests.integration.broker import Broker, Subscriber
from tests.integration.house import REPOSITORY, House, is_listening, stop
from tests.integration.virtual_microphone import VirtualMicrophone
from tests.integration.waiting import PATIENCE, settled
from tests.unit.spoken_digits import ADA, PACES, WORDS, enroll_ada, needs_flite, recording_of

PHRASE = ["good evening, the green house on the hill"]
PACE = 1.1
"""How slowly the service is spoken to: no pace that was enrolled."""
ASKED = r"Say   (\d)   \(round (\d) of 3, digit (\d+) of 10\)"
CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

pytestmark = [pytest.mark.slow, pytest.mark.long, needs_flite]


class Terminal:
    """A running `edge-voice` on a pseudo-terminal, 80 columns wide, and somebody who watches it."""

    def __init__(self, house: House, *arguments: str) -> None:
        self._leader, follower = os.openpty()
        self.process = subprocess.Popen(
            house.command(*arguments),
            cwd=REPOSITORY,
            env={**house.environment, "TERM": "xterm", "COLUMNS": "80"},
            stdin=follower,
            stdout=follower,
            stderr=follower,
        )
        os.close(follower)
        self._chunks: list[bytes] = []
        self._read_to = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # the other end closes
            while chunk := os.read(self._leader, 4096):
                self._chunks.append(chunk)

    @property
    def text(self) -> str:
        return CODES.sub("", b"".join(self._chunks).decode(errors="replace"))

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The next place, after the last one waited for, that matches."""
        wanted = re.compile(pattern)
        assert settled(lambda: wanted.search(self.text, self._read_to)), self.text[-300:]
        found = wanted.search(self.text, self._read_to)
        assert found is not None
        self._read_to = found.end()
        return found

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join(timeout=PATIENCE)
        os.close(self._leader)


class Speaker:
    """Somebody who speaks at the virtual microphone."""

    def __init__(self, microphone: VirtualMicrophone, folder: Path) -> None:
        self._microphone = microphone
        self._folder = folder

    def file(self, samples: FloatArray) -> Path:
        path = self._folder / f"said_{len(list(self._folder.glob('said_*')))}.wav"
        soundfile.write(path, samples, SAMPLE_RATE)
        return path

    def play(self, samples: FloatArray) -> None:
        self._microphone.play(self.file(samples))

    def say(self, digits: Sequence[int], pace: float) -> None:
        self.play(recording_of([WORDS[digit] for digit in digits], ADA, pace))


@pytest.fixture
def speaker(microphone: VirtualMicrophone, tmp_path: Path) -> Speaker:
    return Speaker(microphone, tmp_path)


def test_enroll_digits_be_misheard_be_interrupted_and_go_on(
    microphone: VirtualMicrophone, speaker: Speaker, broker: Broker, tmp_path: Path
) -> None:
    house = House(tmp_path, broker, microphone.environment)
    said = [str(speaker.file(recording_of(PHRASE, ADA, pace))) for pace in PACES]
    assert house.run("enroll", "Ada", *said).returncode == 0
    enroll = ("enroll", "Ada", "--digits", "--rounds", "3")

    with Terminal(house, *enroll) as terminal:
        digit = _asked(terminal, round_number=1, number=1)
        speaker.play(_clap())
        assert "Rejected" not in terminal.text  # no speech: it goes on waiting for the digit
        speaker.play(recording_of(PHRASE, ADA))
        terminal.wait_for(r"Rejected: too long for one digit: say only \d, then pause\.")
        assert _asked(terminal, round_number=1, number=1) == digit
        speaker.say([digit], PACES[0])
        for number in range(2, 11):
            speaker.say([_asked(terminal, round_number=1, number=number)], PACES[0])
        terminal.wait_for(r"Round 1 of 3 is complete\.")
        terminal.wait_for(r"10 of 30 digits")

        digit = _asked(terminal, round_number=2, number=1)
        wrong = (digit + 1) % 10
        for pace in (PACES[1], PACES[2]):
            speaker.say([wrong], pace)
            terminal.wait_for(f"sounds more like your {wrong} than your {digit}")
        terminal.wait_for(f"If you said something else for {digit} in an earlier round")
        assert _asked(terminal, round_number=2, number=1) == digit
        speaker.say([digit], PACES[1])
        _asked(terminal, round_number=2, number=2)
        terminal.process.send_signal(signal.SIGINT)
        terminal.wait_for(r"1 of 3 rounds kept: run the command again to continue\.")
        assert terminal.process.wait(PATIENCE) == 130
    assert _rounds(house) == 1

    with Terminal(house, *enroll) as terminal:
        terminal.wait_for(r"1 of 3 rounds are already enrolled")
        for round_number in (2, 3):
            for number in range(1, 11):
                digit = _asked(terminal, round_number, number)
                speaker.say([digit], PACES[round_number - 1])
        terminal.wait_for(r"Digits enrolled for Ada: 3 rounds")
        assert terminal.process.wait(PATIENCE) == 0
    assert _rounds(house) == 3
    assert "3 rounds" in house.run("profiles", "show", "Ada").stdout


def test_the_door_asks_and_opens(
    microphone: VirtualMicrophone, speaker: Speaker, broker: Broker, tmp_path: Path
) -> None:
    asks = {"required": "always", "answer_s": 20.0, "attempts": 1}
    house = House(tmp_path, broker, microphone.environment, challenge=asks)
    enroll_ada(tmp_path / "state")
    with Subscriber(broker) as home:
        service = house.start()
        try:
            home.wait_for("/status", is_listening)
            speaker.play(recording_of(PHRASE, ADA, PACE))
            asked = home.wait_for("/decision").json
            assert (asked["decision"], asked["reason"]) == ("denied", "challenge_asked")
            prompt: dict[str, Any] = home.wait_for("/challenge").json
            speaker.say([int(digit) for digit in prompt["digits"]], PACE)
            opened = home.wait_for("/decision", lambda d: d["reason"] != "challenge_asked").json
            assert (opened["decision"], opened["reason"]) == ("granted", "recognized")
            assert opened["name"] == "Ada"
            home.wait_for("/challenge", lambda c: c["digits"] is None)
        finally:
            stop(service)


def _asked(terminal: Terminal, round_number: int, number: int) -> int:
    """The digit that the terminal asks for."""
    found = terminal.wait_for(ASKED)
    assert (int(found[2]), int(found[3])) == (round_number, number), terminal.text
    return int(found[1])


def _rounds(house: House) -> int:
    shown = json.loads(house.run("profiles", "show", "Ada", "--json").stdout)
    return int(shown["profile"]["digits"]["rounds"])


def _clap() -> FloatArray:
    """A short burst of noise in a quiet speaker."""
    rng = np.random.default_rng(3)
    samples = 3e-4 * rng.standard_normal(2 * SAMPLE_RATE)
    burst = slice(SAMPLE_RATE, SAMPLE_RATE + SAMPLE_RATE // 3)
    samples[burst] += 0.2 * rng.standard_normal(SAMPLE_RATE // 3)
    return samples.astype(np.float32)
