"""Between an assistant and its speech-to-text: what passes, whose words do, and what is told."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from wyoming.asr import Transcript
from wyoming.client import AsyncTcpClient
from wyoming.event import Event
from wyoming.info import Describe, Info

from tests.integration.assistants import (
    MODEL,
    Between,
    SpeechToText,
    assistant,
    run,
    said,
    serving,
    speak,
    text_of,
    until,
    words,
)

ADA = ("ada_wrong_phrase", "ada_right_phrase")
STRANGER = ("stranger_other_phrase", "stranger_adas_phrase")


@pytest.fixture(scope="module")
def program() -> Iterator[SpeechToText]:
    with SpeechToText() as running:
        yield running


@pytest.fixture(scope="module")
def streaming() -> Iterator[SpeechToText]:
    with SpeechToText(streams=True) as running:
        yield running


@pytest.fixture(scope="module")
def between(
    tmp_path_factory: pytest.TempPathFactory, program: SpeechToText, streaming: SpeechToText
) -> Iterator[Between]:
    assistants = {
        "open": assistant(program, name="Kitchen"),
        "prefixed": assistant(program, prefix=True),
        "gated": assistant(program, gate="enrolled"),
        "streaming": assistant(streaming),
        "streaming-gated": assistant(streaming, gate="enrolled", prefix=True),
        "robins": assistant(program, gate="enrolled", people="Robin"),
        "adas": assistant(program, gate="enrolled", people="robin, ADA", prefix=True),
    }
    with serving(tmp_path_factory.mktemp("between"), assistants) as server:
        yield server


def test_the_speech_to_text_shows_through(between: Between) -> None:
    async def describe() -> Info:
        async with AsyncTcpClient("127.0.0.1", between.ports["open"]) as client:
            await client.write_event(Describe().event())
            return Info.from_event((await until(client, "info"))[-1])

    (found,) = run(describe()).asr
    assert found.name == "Kitchen (hashing)"
    assert found.description == "A program; Edge Voice tells who speaks"
    assert found.models == [MODEL]
    assert found.supports_transcript_streaming


@pytest.mark.parametrize("name", ["open", "streaming"])
@pytest.mark.parametrize("form", [(16000, 2, 1), (48000, 2, 2), (44100, 4, 1), (8000, 1, 1)])
def test_sound_and_text_pass_bit_for_bit(
    between: Between, name: str, form: tuple[int, int, int]
) -> None:
    sound = said(*ADA)[: 12 * 8000]
    assert text_of(run(speak(between.ports[name], sound, form))) == words(sound)


def test_events_pass_as_they_came(between: Between, program: SpeechToText) -> None:
    async def echo() -> Event:
        async with AsyncTcpClient("127.0.0.1", between.ports["open"]) as client:
            await client.write_event(Event("echo", {"a": [1, None, "\u00e4"]}, b"\0\n{}"))
            return (await until(client, "echoed"))[-1]

    assert run(echo()) == Event("echoed", {"a": [1, None, "\u00e4"]}, b"\0\n{}")


def test_the_text_is_the_program_s_with_all_that_comes_with_it(between: Between) -> None:
    sound = said(*ADA)
    (event,) = run(speak(between.ports["open"], sound))
    assert Transcript.from_event(event) == Transcript(words(sound), {"some": "context"}, "en")


def test_texts_in_pieces_pass_as_they_come(between: Between) -> None:
    sound = said(*ADA)
    events = run(speak(between.ports["streaming"], sound))
    kinds = [event.type for event in events]
    assert kinds == ["transcript-start", *4 * ["transcript-chunk"], "transcript"][:1] + kinds[
        1:-1
    ] + ["transcript"]
    pieces = "".join(event.data["text"] for event in events if event.type == "transcript-chunk")
    assert pieces.split() == words(sound).split()


@pytest.mark.parametrize("name", ["gated", "streaming-gated", "adas", "prefixed"])
def test_an_enrolled_person_gets_through(between: Between, name: str) -> None:
    sound = said(*ADA)
    prefix = "" if name == "gated" else "Ada: "
    assert text_of(run(speak(between.ports[name], sound))) == prefix + words(sound)


@pytest.mark.parametrize("name", ["gated", "streaming-gated", "robins", "adas"])
def test_a_stranger_does_not(between: Between, name: str) -> None:
    events = run(speak(between.ports[name], said(*STRANGER)))
    assert text_of(events) == ""
    assert {event.data.get("text", "") for event in events} == {""}
