"""`edge-voice demo --microphone`, with a made-up person in front of a virtual microphone."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from edge.resources import demo_directory
from tests.integration.scripted_microphone import said_anew
from tests.integration.virtual_microphone import VirtualMicrophone
from tests.integration.waiting import PATIENCE

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("amqtt") is None, reason="amqtt is not installed"),
]

# What is asked for on the screen, and the recordings that answer.
ANSWERS = {
    "say your passphrase 3 times": ["ada_enroll_1", "ada_enroll_2", "ada_enroll_3"],
    "Say your phrase": ["ada_right_phrase"],
    "Say something else": ["ada_wrong_phrase"],
}


def test_guided_demo(microphone: VirtualMicrophone, tmp_path: Path) -> None:
    said = []
    again = tmp_path / "again.flac"
    soundfile.write(again, said_anew("ada_right_phrase", 1.05, 0.96, 1.04), 16_000)
    answers = {"Say your phrase again": [again]}
    for question, files in ANSWERS.items():
        answers[question] = [demo_directory() / f"{file}.flac" for file in files]
    demo = subprocess.Popen(
        [sys.executable, "-u", "-m", "edge.cli", "demo", "--microphone"],
        env={**microphone.environment, "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert demo.stdout is not None
    for line in demo.stdout:
        said.append(line)
        asked = next((question for question in answers if question in line), None)
        for file in answers[asked] if asked else ():
            microphone.play(file)
    status = demo.wait(PATIENCE)
    text = "".join(said)
    assert status == 0, text
    assert "3 of 3 decisions as expected" in text
