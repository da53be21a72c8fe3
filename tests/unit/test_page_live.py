"""What the page passes on of the running service, and to whom."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette")

from edge.config import Config
from edge.config.settings import MonitorConfig
from edge.monitor.client import NoService
from edge.monitor.messages import enrollment_message, level_message, state_message
from edge.monitor.server import Address, History, MonitorServer
from edge.page import live
from edge.page.live import Feed, events, look

_PATIENCE_S = 60.0


@pytest.fixture
def address(tmp_path: Path) -> Address:
    return Address(tmp_path / "m", shared=False)


@pytest.fixture
def service(address: Address) -> Iterator[MonitorServer]:
    server = MonitorServer(address, History("front-door", "Front door"))
    server.post(state_message("listening"))
    yield server
    server.close()


def told(text: str) -> tuple[str, Any]:
    """The kind and the content of an event as a browser reads it."""
    kind, data = text.strip().split("\n")
    return kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))


async def following(stream: AsyncIterator[str], kind: str) -> Any:
    """The content of the next event of a kind."""
    async for text in stream:
        if text.startswith(f"event: {kind}\n"):
            return told(text)[1]
    raise AssertionError("it ended")


def test_a_look_has_the_steps_of_the_enrollment_and_the_state(
    service: MonitorServer, address: Address
) -> None:
    config = Config(monitor=MonitorConfig(socket=address.path))
    service.post(enrollment_message({"state": "started", "person": "Ada"}))
    service.post(state_message("enrolling", person="Ada"))
    kinds = [message["type"] for message in look(config)]
    assert kinds == ["hello", "enrollment", "state"]


def test_a_look_at_no_service(tmp_path: Path) -> None:
    with pytest.raises(NoService):
        look(Config(monitor=MonitorConfig(socket=tmp_path / "nowhere")))


def test_every_browser_gets_what_happens_over_one_connection(
    service: MonitorServer, address: Address
) -> None:
    async def watch() -> None:
        feed = Feed([address.path])
        streams = [events(feed, lambda: True) for _ in range(6)]
        for stream in streams:
            assert await anext(stream) == "retry: 3000\n\n"
        for stream in streams:
            assert (await following(stream, "state"))["state"] == "listening"
        service.post(level_message(-20.0, -10.0, hearing=True))
        service.post({"type": "decision", "id": "d1", "decision": "granted"})
        for stream in streams:
            assert (await following(stream, "level"))["level_dbfs"] == -20.0
            assert (await following(stream, "decision"))["id"] == "d1"
        assert len(service._clients) == 1
        for stream in streams:
            await stream.aclose()  # type: ignore[attr-defined]
        assert not feed._followers
        assert feed._reading is None

    asyncio.run(asyncio.wait_for(watch(), _PATIENCE_S))


def test_what_happened_before_and_what_no_page_shows_is_not_passed_on(
    service: MonitorServer, address: Address
) -> None:
    service.post({"type": "decision", "id": "before", "decision": "granted"})

    async def watch() -> None:
        stream = events(Feed([address.path]), lambda: True)
        await following(stream, "state")
        service.post({"type": "utterance", "id": "d1"})
        service.post({"type": "decision", "id": "d1", "decision": "denied"})
        kind, content = told(await anext(stream))
        assert (kind, content["id"]) == ("decision", "d1")
        await stream.aclose()  # type: ignore[attr-defined]

    asyncio.run(asyncio.wait_for(watch(), _PATIENCE_S))


def test_a_service_that_comes_back_is_followed_again(
    address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "_AGAIN_S", 0.01)

    async def watch() -> None:
        stream = events(Feed([address.path]), lambda: True)
        await following(stream, "gone")
        server = MonitorServer(address, History("front-door", "Front door"))
        server.post(state_message("listening"))
        assert (await following(stream, "state"))["state"] == "listening"
        server.close()
        await following(stream, "gone")
        await stream.aclose()  # type: ignore[attr-defined]

    asyncio.run(asyncio.wait_for(watch(), _PATIENCE_S))


def test_the_stream_ends_with_the_session(
    service: MonitorServer, address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "_CHECK_S", 0.0)
    signed_in = [True]

    async def watch() -> None:
        stream = events(Feed([address.path]), lambda: signed_in[0])
        await following(stream, "state")
        signed_in[0] = False
        service.post(level_message(-20.0, -10.0, hearing=True))
        assert told(await anext(stream)) == ("signed-out", {})
        with pytest.raises(StopAsyncIteration):
            await anext(stream)

    asyncio.run(asyncio.wait_for(watch(), _PATIENCE_S))


def test_a_quiet_stream_shows_signs_of_life(
    service: MonitorServer, address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "_SIGN_OF_LIFE_S", 0.01)

    async def watch() -> None:
        stream = events(Feed([address.path]), lambda: True)
        await following(stream, "state")
        assert await anext(stream) == ":\n\n"
        await stream.aclose()  # type: ignore[attr-defined]

    asyncio.run(asyncio.wait_for(watch(), _PATIENCE_S))


def test_who_does_not_read_loses_the_oldest(
    service: MonitorServer, address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "_MOST_WAITING", 2)

    async def watch() -> None:
        feed = Feed([])
        async with feed.followed() as queue:
            for number in range(3):
                feed._pass_on({"type": "decision", "id": number})
            assert [queue.get_nowait()["id"] for _ in range(queue.qsize())] == [1, 2]

    asyncio.run(asyncio.wait_for(watch(), _PATIENCE_S))


def test_only_so_many_browsers_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MOST_BROWSERS", 1)

    async def watch() -> None:
        feed = Feed([])
        assert not feed.full
        async with feed.followed():
            assert feed.full
        assert not feed.full

    asyncio.run(asyncio.wait_for(watch(), _PATIENCE_S))
