"""Between an assistant and its speech-to-text: what passes, whose words do, and what is told."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from wyoming.asr import Transcript
from wyoming.audio import AudioChunk, AudioStart
from wyoming.client import AsyncTcpClient
from wyoming.event import Event
from wyoming.info import Describe, Info
from zeroconf import ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncZeroconf

from edge.assistants.announcing import SERVICE, Announcement
from edge.mqtt.topics import OFFLINE
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
from tests.integration.broker import Broker, Subscriber, connected, free_port, send
from tests.integration.waiting import PATIENCE, settled

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


def test_of_a_text_in_pieces_the_first_has_the_name(between: Between) -> None:
    sound = said(*ADA)
    events = run(speak(between.ports["streaming-gated"], sound))
    pieces = [event.data["text"] for event in events if event.type == "transcript-chunk"]
    assert "".join(pieces).strip() == f"Ada: {words(sound)}"


@pytest.mark.parametrize("name", ["gated", "streaming-gated", "robins", "adas"])
def test_a_stranger_does_not(between: Between, name: str) -> None:
    events = run(speak(between.ports[name], said(*STRANGER)))
    assert text_of(events) == ""
    assert {event.data.get("text", "") for event in events} == {""}


def test_ten_at_once(between: Between) -> None:
    whole = said(*ADA)
    sounds = [whole[: -2 * 1600 * number or None] for number in range(10)]

    async def all_of_them() -> list[str]:
        port = between.ports["open"]
        return [text_of(each) for each in await asyncio.gather(*(speak(port, s) for s in sounds))]

    assert run(all_of_them()) == [words(sound) for sound in sounds]


@pytest.mark.parametrize(
    "sent",
    [
        b"hello\n",
        b"[]\n",
        b'{"no": "type"}\n',
        b'{"type": 5}\n',
        b'{"type": "x", "data": []}\n{"type": "describe"',
        b'{"type": "x", "data_length": -1}\n',
        b'{"type": "x", "data_length": true}\n',
        b'{"type": "x", "data_length": 3}\n{]}',
        b'{"type": "x", "payload_length": 99999999999}\n',
        b'{"type": "' + 70_000 * b"x",
        b"[" * 60_000 + b"\n",
    ],
)
def test_what_is_no_event_ends_its_connection_alone(between: Between, sent: bytes) -> None:
    port = between.ports["open"]
    with (
        socket.create_connection(("127.0.0.1", port), PATIENCE) as other,
        socket.create_connection(("127.0.0.1", port), PATIENCE) as one,
    ):
        one.sendall(sent)
        one.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):  # what had not been read was thrown away
            assert one.recv(1) == b""
        other.sendall(b'{"type": "describe"}\n')
        assert json.loads(other.makefile("rb").readline())["type"] == "info"


def test_half_an_utterance_harms_nobody(between: Between) -> None:
    async def half() -> None:
        async with AsyncTcpClient("127.0.0.1", between.ports["gated"]) as client:
            await client.write_event(AudioStart(16000, 2, 1).event())
            await client.write_event(AudioChunk(16000, 2, 1, said(*ADA)).event())

    run(half())
    sound = said(*ADA)
    assert text_of(run(speak(between.ports["gated"], sound))) == words(sound)


@pytest.mark.parametrize(("form", "gone"), [((500_000, 2, 1), False), ((16000, 9, 1), True)])
def test_sound_that_cannot_be_listened_to_is_nobody_s(
    between: Between, form: tuple[int, int, int], gone: bool
) -> None:
    sound = said(*ADA)
    assert text_of(run(speak(between.ports["open"], sound, form))) == words(sound)
    assert text_of(run(speak(between.ports["gated"], sound, form))) == ""
    assert ("9 bytes in a sample" in between.log.read_text()) >= gone


def test_without_a_speech_to_text(tmp_path: Path) -> None:
    port = free_port()
    down = {"port": free_port(), "speech_to_text": f"127.0.0.1:{port}"}
    with serving(tmp_path, {"kitchen": down}) as server:
        for _ in range(2):
            events = run(speak(server.ports["kitchen"], said(*ADA)))
            assert [event.type for event in events] == ["error"]
            told = f"the speech-to-text at 127.0.0.1:{port} cannot be reached"
            assert events[0].data["text"] == f"{told} (connection refused)"
        with SpeechToText(port=port):
            sound = said(*ADA)
            assert text_of(run(speak(server.ports["kitchen"], sound))) == words(sound)
    assert server.log.read_text().count(told) == 1
    assert "kitchen: the speech-to-text answers again" in server.log.read_text()


def test_a_speech_to_text_that_gives_up(tmp_path: Path) -> None:
    with (
        SpeechToText(answers=False) as broken,
        serving(tmp_path, {"kitchen": assistant(broken)}) as server,
    ):
        (event,) = run(speak(server.ports["kitchen"], said(*ADA)))
        assert event.type == "error"
        assert event.data["text"].endswith("hung up without an answer")


def test_who_spoke_is_published_before_the_text_is_there(
    tmp_path: Path, broker: Broker, program: SpeechToText
) -> None:
    kitchen = {"kitchen": assistant(program, name="Kitchen", gate="enrolled")}
    discovery = {"homeassistant": {"discovery": True}}
    with Subscriber(broker) as heard, serving(tmp_path, kitchen, broker, **discovery) as server:
        online = heard.wait_for("kitchen/status", lambda status: status["state"] == "online")
        assert (online.json["device"], online.json["name"]) == ("kitchen", "Kitchen")
        config = heard.wait_for("sensor/edge_voice_kitchen/speaker/config").json
        assert config["default_entity_id"] == "sensor.edge_voice_kitchen_speaker"

        program.answering.clear()
        with socket.create_connection(("127.0.0.1", server.ports["kitchen"]), PATIENCE) as line:
            send_all(line, said(*ADA))
            speaks = heard.wait_for("kitchen/speaker", lambda told: told.get("name") == "Ada").json
            assert (speaks["state"], speaks["turn"]) == ("speaking", 1)
            told = heard.wait_for("kitchen/utterance").json
            assert [each["name"] for each in told["speakers"]] == ["Ada"]
            line.settimeout(0)
            with pytest.raises(BlockingIOError):
                line.recv(1)
            program.answering.set()
            line.settimeout(PATIENCE)
            assert json.loads(line.makefile("rb").readline())["type"] == "transcript"

        assert text_of(run(speak(server.ports["kitchen"], said(*STRANGER)))) == ""
        unknown = heard.wait_for("kitchen/utterance", lambda told: not told["speakers"]).json
        assert unknown["unknown_s"] > 1
        assert text_of(run(speak(server.ports["kitchen"], bytes(64_000)))) == ""
        silence = heard.wait_for("kitchen/utterance", lambda told: not told["length_s"]).json
        assert (silence["speakers"], silence["unknown_s"]) == ([], 0.0)
        # Somebody hangs up in the middle: nobody speaks any more.
        before = len(heard.on("kitchen/speaker"))
        with socket.create_connection(("127.0.0.1", server.ports["kitchen"]), PATIENCE) as line:
            send_all(line, said(*ADA), whole=False)
            assert settled(lambda: len(heard.on("kitchen/speaker")) > before)
        assert settled(lambda: heard.on("kitchen/speaker")[-1].json["state"] == "silent")

        server.process.kill()
        assert heard.wait_for("kitchen/status", lambda status: status["state"] == "offline")
        assert heard.on("kitchen/status")[-1].text == OFFLINE
        server.killed = True


def send_all(line: socket.socket, sound: bytes, *, whole: bool = True) -> None:
    """An utterance without the library, to look at the bare socket."""
    head = {"rate": 16000, "width": 2, "channels": 1}
    line.sendall(json.dumps({"type": "audio-start", "data": head}).encode() + b"\n")
    chunk = {"type": "audio-chunk", "data": head, "payload_length": len(sound)}
    line.sendall(json.dumps(chunk).encode() + b"\n" + sound)
    if whole:
        line.sendall(b'{"type": "audio-stop"}\n')


@pytest.mark.parametrize("name", ["kitchen", "test-door-kitchen"])
def test_the_announcement_is_seen(name: str) -> None:
    async def seen() -> list[tuple[int | None, list[str]]]:
        found: asyncio.Queue[tuple[str, ServiceStateChange]] = asyncio.Queue()

        def changed(
            zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange
        ) -> None:
            found.put_nowait((name, state_change))

        announcement = Announcement("127.0.0.1", {name: 10310})
        async with AsyncZeroconf(["127.0.0.1"]) as other:
            browser = AsyncServiceBrowser(other.zeroconf, SERVICE, [changed])
            await announcement.open()
            assert await found.get() == (f"{name}.{SERVICE}", ServiceStateChange.Added)
            info = await other.async_get_service_info(SERVICE, f"{name}.{SERVICE}")
            assert info is not None
            await announcement.close()
            while (await found.get())[1] is not ServiceStateChange.Removed:
                pass
            await browser.async_cancel()
            return [(info.port, info.parsed_addresses())]

    assert run(seen()) == [(10310, ["127.0.0.1"])]


def read_to(port: int, *names: str) -> str:
    """What an assistant understands of sentences that are read to it."""
    return text_of(run(speak(port, said(*names))))


def test_enrolling_through_the_satellite(
    tmp_path: Path, broker: Broker, program: SpeechToText
) -> None:
    kitchen = {"kitchen": assistant(program, gate="enrolled")}
    allowed = {"enroll": True, "enroll_person": True, "enroll_cancel": True}
    settings = {"enrollment": {"voice_seconds": 4}, "commands": {"unsigned": allowed}}
    with Subscriber(broker) as heard, serving(tmp_path, kitchen, broker, **settings) as server:
        port, house = server.ports["kitchen"], server.house
        assert read_to(port, "robin_right_phrase") == ""

        def enrollment(state: str, done: int) -> None:
            heard.wait_for(
                "kitchen/status",
                lambda status: (
                    status.get("enrollment", {}).get("state") == state
                    and status["enrollment"]["done"] >= done
                ),
            )

        with connected(broker) as phone:
            base = "edge-voice/kitchen"
            send(phone, f"{base}/set/enroll_person", "Robin")
            send(phone, f"{base}/set/enroll", "PRESS")
            enrollment("started", 0)
            send(phone, f"{base}/set/enroll_cancel", "PRESS")
            enrollment("canceled", 0)
            send(phone, f"{base}/set/enroll", "PRESS")
            assert settled(lambda: starts(heard) == 2)
        assert read_to(port, "robin_enroll_1") == ""
        enrollment("accepted", 1)
        # Another voice is neither learned nor obeyed.
        assert read_to(port, *ADA) == ""
        enrollment("refused", 1)
        assert read_to(port, "robin_enroll_2", "robin_enroll_3") == ""
        enrollment("unconfirmed", 4)
        assert read_to(port, "robin_right_phrase") == ""
        assert read_to(port, *ADA) == words(said(*ADA))
        assert house.run("profiles", "confirm", "Robin").returncode == 0
        assert read_to(port, "robin_right_phrase") == words(said("robin_right_phrase"))
        assert '"what":"enrolled"' in house.run("audit", "show", "--json").stdout.replace(" ", "")


def starts(heard: Subscriber) -> int:
    """How often an enrollment has begun, as far as it was told."""
    states = [each.json.get("enrollment", {}).get("state") for each in heard.on("kitchen/status")]
    return sum(now == "started" != before for before, now in pairwise(["", *states]))


def test_enrolling_from_the_command_line(tmp_path: Path, program: SpeechToText) -> None:
    kitchen = {"kitchen": assistant(program, gate="enrolled")}
    with serving(tmp_path, kitchen, enrollment={"voice_seconds": 4}) as server:
        port, house = server.ports["kitchen"], server.house
        command = ("enroll", "Robin", "--voice", "--assistant")
        assert (
            "no such assistant: 'attic'; use one of kitchen" in house.run(*command, "attic").stderr
        )
        again = house.run("enroll", "Ada", "--voice", "--assistant", "kitchen")
        assert (again.returncode, "Ada is already enrolled" in again.stderr) == (2, True)
        with subprocess.Popen(
            house.command(*command, "kitchen"),
            env=house.environment,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            begun = process.stdout.readline()
            assert begun == "Read aloud to the satellite, 4 s of speech in all.\n"
            for number in (1, 2):
                assert read_to(port, f"robin_enroll_{number}") == ""
            assert process.stdout.read().endswith("Robin is enrolled.\n")
            assert process.wait(PATIENCE) == 0
        assert read_to(port, "robin_right_phrase") == words(said("robin_right_phrase"))
        shown = json.loads(house.run("profiles", "show", "Robin", "--json").stdout)
        assert "Wyoming satellite" in str(shown)
    assert "does not run" in house.run(*command, "kitchen").stderr
