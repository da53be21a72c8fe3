"""A Wyoming client before `edge-voice wyoming`, and a real speech-to-text program behind it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from wyoming.client import AsyncTcpClient
from wyoming.info import Describe, Info

from tests.integration.assistants import Between, run, speak, text_of, until
from tests.integration.broker import free_port
from tests.integration.house import House
from tests.integration.pocketsphinx import SENTENCES, PocketSphinx
from tests.integration.talkers import ADA, GRACE, ROBIN, STRANGER, enroll_talkers, sound_of
from tests.unit.spoken_digits import needs_flite

pytestmark = [pytest.mark.slow, pytest.mark.long, needs_flite]


@dataclass(frozen=True)
class Kitchen:
    """The program itself, and one assistant of each kind in front of it."""

    program: PocketSphinx
    between: Between

    def heard(self, name: str, text: str, voice: str) -> str:
        """What an assistant understands."""
        return text_of(run(speak(self.between.ports[name], sound_of(text, voice))))

    def transcript(self, text: str, voice: str) -> str:
        """What the program itself understands."""
        return text_of(run(speak(self.program.port, sound_of(text, voice))))


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kitchen]:
    folder = tmp_path_factory.mktemp("kitchen")
    with PocketSphinx(folder / "speech-to-text") as program:
        behind = {"speech_to_text": program.place}
        assistants = {
            "open": {"port": free_port(), **behind},
            "gated": {"port": free_port(), "gate": "enrolled", **behind},
            "prefixed": {"port": free_port(), "prefix": True, **behind},
            "adas": {"port": free_port(), "gate": "enrolled", "people": "Ada", **behind},
        }
        house = House(folder, None, dict(os.environ), wyoming={"assistants": assistants})
        enroll_talkers(house)
        between = Between(house)
        try:
            yield Kitchen(program, between)
            between.stop()
        finally:
            between.process.kill()
            between.process.wait()


def test_the_program_shows_through(kitchen: Kitchen) -> None:
    async def described(port: int) -> Info:
        async with AsyncTcpClient("127.0.0.1", port) as client:
            await client.write_event(Describe().event())
            return Info.from_event((await until(client, "info"))[-1])

    (itself,) = run(described(kitchen.program.port)).asr
    (shown,) = run(described(kitchen.between.ports["open"])).asr
    assert shown.name == f"open ({itself.name})"
    assert shown.models == itself.models
    assert shown.version == itself.version


@pytest.mark.parametrize("voice", [ADA, ROBIN, STRANGER])
@pytest.mark.parametrize("text", SENTENCES)
def test_the_transcript_passes_unchanged(kitchen: Kitchen, text: str, voice: str) -> None:
    alone = kitchen.transcript(text, voice)
    assert alone
    assert kitchen.heard("open", text, voice) == alone


def test_only_the_enrolled_get_through_the_gate(kitchen: Kitchen) -> None:
    text = "turn on the kitchen light"
    assert kitchen.heard("gated", text, ADA) == text
    assert kitchen.heard("gated", text, STRANGER) == ""
    assert kitchen.heard("gated", text, ROBIN) == text
    assert kitchen.heard("gated", text, GRACE) == ""


def test_a_gate_for_one_person(kitchen: Kitchen) -> None:
    text = "open the garage door"
    assert kitchen.heard("adas", text, ADA) == text
    assert kitchen.heard("adas", text, ROBIN) == ""


def test_the_text_says_who_spoke(kitchen: Kitchen) -> None:
    text = "turn on the kitchen light"
    assert kitchen.heard("prefixed", text, ROBIN) == f"Robin: {text}"
    assert kitchen.heard("prefixed", text, STRANGER) == text
