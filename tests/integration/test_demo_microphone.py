"""`edge-voice demo --microphone`, with a made-up person in front of a virtual microphone."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from edge.resources import demo_directory
from tests.integration.virtual_microphone import VirtualMicrophone

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("amqtt") is None, reason="amqtt needs Python 3.10"),
]

# What is asked for on the screen, and the recordings that answer.
ANSWERS = {
    "say your passphrase 3 times": ["ada_enrol_1", "ada_enrol_2", "ada_enrol_3"],
    "Say your phrase": ["ada_right_phrase"],
    "Say something else": ["ada_wrong_phrase"],
}


def test_guided_demo(microphone: VirtualMicrophone) -> None:
    said = []
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
        for question, files in ANSWERS.items():
            if question in line:
                for file in files:
                    microphone.play(demo_directory() / f"{file}.flac")
    status = demo.wait(30.0)
    text = "".join(said)
    assert status == 0, text
    assert "3 of 3 decisions as expected" in text
