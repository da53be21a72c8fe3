"""A server ends at a signal, whenever it comes."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from edge.cli.stopping import UntilStopped

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Server:
    """Notes what it is told; a signal comes while it runs."""

    def __init__(self, number: signal.Signals | None = None) -> None:
        self.told: list[str] = []
        self._number = number

    def run(self) -> None:
        self.told.append("run")
        if self._number is not None:
            signal.raise_signal(self._number)

    def stop(self) -> None:
        self.told.append("stop")

    def close(self) -> None:
        self.told.append("close")


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    before = [signal.getsignal(number) for number in SIGNALS]
    yield
    for number, handler in zip(SIGNALS, before):
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_stops_a_server_that_runs(number: signal.Signals) -> None:
    server = Server(number)
    UntilStopped().run(server)
    assert server.told == ["run", "stop", "close"]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_while_the_server_is_made_is_not_lost(number: signal.Signals) -> None:
    until_stopped = UntilStopped()
    signal.raise_signal(number)
    server = Server()
    until_stopped.run(server)
    assert server.told == ["close"]


def test_a_server_that_ends_by_itself_is_closed() -> None:
    server = Server()
    UntilStopped().run(server)
    assert server.told == ["run", "close"]
