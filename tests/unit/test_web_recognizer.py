"""The recognizer of a server: one thread, callers in turn, no more than can wait."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from edge.web.recognizer import MOST_OF_ONE, MOST_WAITING, Recognizer
from edge.web.refusal import Refused


class Gate:
    """A first work that holds the thread until the others wait."""

    def __init__(self) -> None:
        self.begun, self.open = threading.Event(), threading.Event()

    def __call__(self, _: object) -> None:
        self.begun.set()
        assert self.open.wait(60)


@pytest.fixture
def recognizer() -> Iterator[Recognizer]:
    made = Recognizer("the engine")  # type: ignore[arg-type]  # works of these tests take anything
    yield made
    made.close()


def run(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    return asyncio.run(asyncio.wait_for(main(), 60))


def test_a_work_gets_the_engine_and_its_caller_the_result(recognizer: Recognizer) -> None:
    thread = []

    def work(engine: object) -> str:
        thread.append(threading.current_thread().name)
        return f"{engine} works"

    assert run(lambda: recognizer.run("Ada", work)) == "the engine works"
    assert thread == ["recognizer"]


def test_what_a_work_raises_is_its_callers(recognizer: Recognizer) -> None:
    def fail(_: object) -> None:
        raise ValueError("no recording")

    with pytest.raises(ValueError, match="no recording"):
        run(lambda: recognizer.run("Ada", fail))
    assert run(lambda: recognizer.run("Ada", lambda _: 1)) == 1


def test_each_caller_has_its_turn(recognizer: Recognizer) -> None:
    gate, done = Gate(), []

    def said(name: str) -> Callable[[object], None]:
        return lambda _: done.append(name)

    async def main() -> None:
        waiting = [asyncio.create_task(recognizer.run("Ada", gate))]
        await asyncio.to_thread(gate.begun.wait, 60)
        for caller in ("Ada", "Ada", "Ada", "Grace", "Grace", "Sensor"):
            waiting.append(asyncio.create_task(recognizer.run(caller, said(caller))))
            await asyncio.sleep(0)
        assert recognizer.waiting == 6
        gate.open.set()
        await asyncio.gather(*waiting)

    run(main)
    assert done == ["Ada", "Grace", "Sensor", "Ada", "Grace", "Ada"]


def test_ten_callers_are_served_before_one_is_served_twice(recognizer: Recognizer) -> None:
    gate, done = Gate(), []

    def said(number: int) -> Callable[[object], None]:
        return lambda _: done.append(number)

    async def main() -> None:
        waiting = [asyncio.create_task(recognizer.run("first", gate))]
        await asyncio.to_thread(gate.begun.wait, 60)
        for caller in range(10):
            for _ in range(3):
                work = recognizer.run(str(caller), said(caller))
                waiting.append(asyncio.create_task(work))
                await asyncio.sleep(0)
        gate.open.set()
        await asyncio.gather(*waiting)

    run(main)
    assert done == [*range(10)] * 3


def test_too_much_is_refused(recognizer: Recognizer) -> None:
    gate = Gate()

    async def main() -> None:
        waiting = [asyncio.create_task(recognizer.run("first", gate))]
        await asyncio.to_thread(gate.begun.wait, 60)
        for number in range(MOST_WAITING):
            caller = str(number // MOST_OF_ONE)
            waiting.append(asyncio.create_task(recognizer.run(caller, lambda _: None)))
            await asyncio.sleep(0)
            if number == MOST_OF_ONE - 1:
                with pytest.raises(Refused) as refusal:
                    await recognizer.run("0", lambda _: None)
                assert (refusal.value.status, refusal.value.retry_after_s) == (503, 2.0)
        with pytest.raises(Refused, match="too much is waiting"):
            await recognizer.run("another", lambda _: None)
        gate.open.set()
        await asyncio.gather(*waiting)
        await recognizer.run("another", lambda _: None)

    assert (MOST_WAITING, MOST_OF_ONE) == (64, 16)
    run(main)


def test_who_stops_waiting_takes_the_work_back(recognizer: Recognizer) -> None:
    gate, done = Gate(), []

    async def main() -> None:
        first = asyncio.create_task(recognizer.run("Ada", gate))
        await asyncio.to_thread(gate.begun.wait, 60)
        gone = asyncio.create_task(recognizer.run("Grace", lambda _: done.append("Grace")))
        last = asyncio.create_task(recognizer.run("Ada", lambda _: done.append("Ada")))
        await asyncio.sleep(0)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        gate.open.set()
        await asyncio.gather(first, last)

    run(main)
    assert done == ["Ada"]


def test_closed_it_drops_what_waits_and_takes_no_more(recognizer: Recognizer) -> None:
    gate = Gate()

    async def main() -> None:
        first = asyncio.create_task(recognizer.run("Ada", gate))
        await asyncio.to_thread(gate.begun.wait, 60)
        second = asyncio.create_task(recognizer.run("Ada", lambda _: None))
        await asyncio.sleep(0)
        recognizer.close()
        recognizer.close()
        with pytest.raises(asyncio.CancelledError):
            await second
        with pytest.raises(Refused, match="stopping"):
            await recognizer.run("Ada", lambda _: None)
        gate.open.set()
        await first

    run(main)
