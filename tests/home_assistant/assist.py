"""Home Assistant's voice assistant: a pipeline, and what is said to it as a satellite does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.home_assistant.home_assistant import HomeAssistant
from tests.integration.waiting import PATIENCE

_CHUNK_BYTES = 2048


@dataclass(frozen=True)
class Run:
    """What a pipeline made of what was said: its events, in their order."""

    events: tuple[dict[str, Any], ...]

    @property
    def text(self) -> str | None:
        """The transcript; None where there was none."""
        for event in self.events:
            if event["type"] == "stt-end":
                return str(event["data"]["stt_output"]["text"])
        return None

    @property
    def error(self) -> str | None:
        """The code of the error that it ended with."""
        found = [event["data"]["code"] for event in self.events if event["type"] == "error"]
        return str(found[0]) if found else None

    @property
    def answer(self) -> str:
        """What the assistant answers."""
        (event,) = (event for event in self.events if event["type"] == "intent-end")
        return str(event["data"]["intent_output"]["response"]["speech"]["plain"]["speech"])

    @property
    def order(self) -> list[str]:
        return [str(event["type"]) for event in self.events]


class Assist:
    """An Assist pipeline of its own, which turns speech into text with a Wyoming program."""

    def __init__(
        self, home: HomeAssistant, name: str, port: int, agent: str = "conversation.home_assistant"
    ) -> None:
        self._home = home
        self.entry = home.add("wyoming", host="127.0.0.1", port=port)
        self.engine = home.entity_of(self.entry, "stt")
        with _socket(home) as ask:
            made = ask(
                "assist_pipeline/pipeline/create",
                name=name,
                language="en",
                conversation_engine=agent,
                conversation_language="en",
                stt_engine=self.engine,
                stt_language="en-US",
                tts_engine=None,
                tts_language=None,
                tts_voice=None,
                wake_word_entity=None,
                wake_word_id=None,
            )
        self.id = str(made["id"])

    def remove(self) -> None:
        """Remove the pipeline and the Wyoming program."""
        with _socket(self._home) as ask:
            ask("assist_pipeline/pipeline/delete", pipeline_id=self.id)
        self._home.remove(self.entry)

    def say(self, sound: bytes, device: str | None = None) -> Run:
        """Say something, 16-bit mono at 16 kHz, and wait until the pipeline is done.

        Nothing ends the speech but its end: all is given at once, and there is no pace to keep.

        Args:
            sound: what is said.
            device: the id of the satellite.
        """
        with _socket(self._home) as ask:
            ask(
                "assist_pipeline/run",
                pipeline=self.id,
                start_stage="stt",
                end_stage="intent",
                input={"sample_rate": 16_000, "no_vad": True},
                device_id=device,
            )
            events: list[dict[str, Any]] = []
            while not events or events[-1]["type"] != "run-end":
                events.append(ask.event())
                if events[-1]["type"] == "run-start":
                    to = bytes([events[-1]["data"]["runner_data"]["stt_binary_handler_id"]])
                    for start in range(0, len(sound), _CHUNK_BYTES):
                        ask.binary(to + sound[start : start + _CHUNK_BYTES])
                    ask.binary(to)
        return Run(tuple(events))


class _Socket:
    """The WebSocket interface, one command at a time."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._number = 0

    def __call__(self, command: str, **content: Any) -> Any:
        self._number += 1
        message = {"id": self._number, "type": command, **content}
        self._connection.send(json.dumps(message))
        answer = self._receive()
        assert answer["type"] == "result", answer
        assert answer["success"], answer
        return answer["result"]

    def event(self) -> dict[str, Any]:
        """The next event of the command before."""
        message = self._receive()
        assert message["type"] == "event", message
        return dict(message["event"])

    def binary(self, content: bytes) -> None:
        self._connection.send(content)

    def _receive(self) -> dict[str, Any]:
        return dict(json.loads(self._connection.recv(timeout=PATIENCE)))


@contextmanager
def _socket(home: HomeAssistant) -> Iterator[_Socket]:
    from websockets.sync.client import connect  # not where only the other tests are run

    address = f"ws://127.0.0.1:{home.port}/api/websocket"
    with connect(address, max_size=None, proxy=None) as connection:
        assert json.loads(connection.recv(timeout=PATIENCE))["type"] == "auth_required"
        connection.send(json.dumps({"type": "auth", "access_token": home.token}))
        assert json.loads(connection.recv(timeout=PATIENCE))["type"] == "auth_ok"
        yield _Socket(connection)
