"""Measures whether the door decides as fast while its HTTP server is attacked.

    python -m tools.benchmark_http [--plays N] [--only ATTACK ...]

Runs the service, a broker and `edge-voice serve` on one state directory, both with the priorities
of their units (that of the service takes root). A resident's phrase is played to the service during
each attack in turn, and alone before, between and after them. The attackers are processes of the
lowest priority, as if they ran elsewhere.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import json
import multiprocessing
import os
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import soundfile
from rich.console import Console
from rich.table import Table

from edge.audio.files import read_audio
from edge.config import load_config
from edge.crypto.certificates import OWN_FILE
from edge.demo.parts import (
    DecisionSubscriber,
    DemoBroker,
    Player,
    ServiceProcess,
    command,
    environment,
    write_config,
)
from edge.demo.show import Show
from edge.demo.story import demo_settings, enroll, load_play
from edge.resources import demo_directory
from edge.store import open_store
from edge.store.api_keys import ApiKeys, ApiRole
from edge.types import SAMPLE_RATE
from edge.web.callers import HEADER
from tools.benchmark_service import memory_mb, processor_s

NICENESS = ("nice", "-n", "10")
"""The priority of the server's unit, which its recognizer always has."""
_PATIENCE_S = 30.0
_THREADS = 10
_HELD = 60
"""Connections that the slow one asks for; the server allows one address half as many."""
_API = "/speaker-recognition/verification/text-dependent/profiles"


@dataclass(frozen=True)
class Target:
    """A server to attack, with what a client of it knows."""

    port: int
    certificate: Path
    key: str
    profile_id: str

    def connect(self) -> ssl.SSLSocket:
        """A connection over TLS."""
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=_PATIENCE_S)
        context = ssl.create_default_context(cafile=self.certificate)
        return context.wrap_socket(plain, server_hostname="localhost")

    def ask(self, head: str, body: bytes = b"") -> bytes:
        """The beginning of the answer to a request on a connection of its own."""
        with self.connect() as connection:
            connection.sendall(f"{head}\r\n\r\n".encode() + body)
            return connection.recv(4096)


def slow(target: Target, _: int) -> None:
    """A byte of a header now and then, on all connections that are to be had."""
    held: list[ssl.SSLSocket] = []
    with contextlib.suppress(OSError):
        while len(held) < _HELD // _THREADS:
            held.append(target.connect())
    for _ in range(100):
        time.sleep(0.1)
        for connection in held:
            connection.sendall(b"G")


def wrong_keys(target: Target, number: int) -> None:
    """Keys that are none, on one connection."""
    with target.connect() as connection:
        for each in range(100):
            head = f"GET {_API} HTTP/1.1\r\nHost: localhost\r\n{HEADER}: {number + each:032x}"
            connection.sendall(f"{head}\r\n\r\n".encode())
            connection.recv(4096)


def gigabytes(target: Target, _: int) -> None:
    """A gigabyte that is declared, and not sent."""
    target.ask(f"POST {_API} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000")


def endless(target: Target, _: int) -> None:
    """A body without end."""
    with target.connect() as connection:
        head = f"POST {_API}/{target.profile_id}:verify HTTP/1.1\r\nHost: localhost\r\n"
        head += f"{HEADER}: {target.key}\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head.encode())
        for _ in range(1000):
            connection.sendall(b"10000\r\n" + bytes(65536) + b"\r\n")


def wrong_hosts(target: Target, _: int) -> None:
    """Another machine's name, and paths that lead elsewhere."""
    target.ask("GET /%2e%2e/etc/passwd HTTP/1.1\r\nHost: localhost")
    target.ask("GET / HTTP/1.1\r\nHost: elsewhere.example")


@functools.cache
def recording() -> bytes:
    """Ada's phrase as a WAV file."""
    samples = read_audio(demo_directory() / "ada_right_phrase.flac").samples
    file = io.BytesIO()
    soundfile.write(file, samples, SAMPLE_RATE, format="WAV", subtype="PCM_16")
    return file.getvalue()


def verifications(target: Target, _: int) -> None:
    """No attack: ten clients with a key, who verify one recording after the other."""
    body = recording()
    head = f"POST {_API}/{target.profile_id}:verify?api-version=2021-09-05 HTTP/1.1\r\n"
    head += f"Host: localhost\r\n{HEADER}: {target.key}\r\nContent-Length: {len(body)}"
    answer = target.ask(head, body)
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise RuntimeError(f"a verification failed: {answer[:80]!r}")


ATTACKS: dict[str, Callable[[Target, int], None]] = {
    "verifications": verifications,
    "slow": slow,
    "gigabytes": gigabytes,
    "endless": endless,
    "wrong hosts": wrong_hosts,
    # Last: these lock out this address.
    "wrong keys": wrong_keys,
}


def attack(name: str, target: Target, counted: Any) -> None:
    """Attack from ten threads until ended; a process's own code."""
    os.nice(19)

    def work(number: int) -> None:
        while True:
            with contextlib.suppress(OSError):
                ATTACKS[name](target, number)
            with counted.get_lock():
                counted.value += 1

    for number in range(_THREADS):
        threading.Thread(target=work, args=(number,), daemon=True).start()
    signal.pause()


@contextmanager
def attacked(name: str, target: Target) -> Iterator[Any]:
    """An attack that goes on meanwhile; gives the count of its rounds."""
    context = multiprocessing.get_context("spawn")
    counted = context.Value("i", 0)
    if not name:
        yield counted
        return
    process = context.Process(target=attack, args=(name, target, counted))
    process.start()
    try:
        time.sleep(2.0)
        yield counted
    finally:
        process.kill()
        process.join()


@contextmanager
def served(
    path: Path, *more: str, before: Sequence[str] = NICENESS
) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """`edge-voice serve` with more arguments, and its port.

    Args:
        before: what its command line begins with.
    """
    arguments = ["serve", "--json", *more, "--port", "0", "--config", str(path)]
    process = subprocess.Popen(
        [*before, *command(*arguments)],
        stdout=subprocess.PIPE,
        stderr=path.with_name("server.log").open("wb"),
        env=environment(),
        text=True,
    )
    try:
        assert process.stdout is not None  # noqa: S101 (it was asked for)
        yield process, json.loads(process.stdout.readline())["serving"]["port"]
    finally:
        process.terminate()
        process.wait()


@dataclass
class Meanwhile:
    """What was seen of the door and of the server while something went on.

    Attributes:
        delays_s: from the end of the speech to the decision.
        granted: how many of them let somebody in.
        rounds: of the attackers.
        processor_s, elapsed_s: of the server, and of the clock.
        memory_mb: the server's largest until then.
    """

    delays_s: list[float] = field(default_factory=list)
    granted: int = 0
    rounds: int = 0
    processor_s: float = 0.0
    elapsed_s: float = 0.0
    memory_mb: float = 0.0

    def cells(self) -> tuple[str, ...]:
        """The figures of a row."""
        return (
            f"{1e3 * statistics.median(self.delays_s):.0f}",
            f"{1e3 * max(self.delays_s):.0f}",
            f"{self.granted} of {len(self.delays_s)}",
            str(self.rounds),
            f"{100 * self.processor_s / self.elapsed_s:.0f} %",
            f"{self.memory_mb:.0f}",
        )


def measure(plays: int, wanted: list[str]) -> list[tuple[str, ...]]:
    """A row for each attack: name, median and longest delay, granted, rounds, the server's load."""
    play = load_play()
    person = play.people[0]
    scene = next(scene for scene in play.scenes if scene.name == person.name)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        broker = stack.enter_context(DemoBroker())
        # The same recording is played repeatedly, which replay detection would refuse.
        settings = {**demo_settings(Path(name), broker), "replay": {"enabled": False}}
        path = write_config(Path(name), settings)
        config = load_config(path)
        enroll((person,), config, Show(None))
        server, port = stack.enter_context(served(path, "--tls"))
        with open_store(config.state_path, settings=config.store) as store:
            key = ApiKeys(store).new("Benchmark", ApiRole.MANAGE)
            profile_id = store.get(person.name).id
        target = Target(port, config.state_path / OWN_FILE, key, profile_id)
        verifications(target, 0)  # raises here if it does not work
        subscriber = stack.enter_context(DecisionSubscriber(config))
        service = stack.enter_context(ServiceProcess(path, piped=True))
        with contextlib.suppress(PermissionError):  # as its unit has it
            os.setpriority(os.PRIO_PROCESS, service.pid, -5)
        player = stack.enter_context(Player(service.sound))
        time.sleep(5.0)
        found = {each: Meanwhile() for each in ("", *wanted)}
        order = [other for each in wanted for other in ("", each)]
        for each in [*order, ""]:
            now = found[each]
            with attacked(each, target) as counted:
                begun_s, before_s = time.monotonic(), processor_s(server.pid)
                for _ in range(plays):
                    begun = player.play(scene.samples)
                    arrival = subscriber.next_decision(_PATIENCE_S)
                    if begun is None or arrival is None:
                        raise service.fault("no decision came")
                    message, decision = arrival
                    now.granted += decision["decision"] == "granted"
                    now.delays_s.append(message.timestamp - begun - scene.speech_end_s)
                now.processor_s += processor_s(server.pid) - before_s
                now.elapsed_s += time.monotonic() - begun_s
                now.rounds += counted.value
            now.memory_mb = memory_mb(server.pid, "VmHWM")
    return [(each or "nothing", *now.cells()) for each, now in found.items()]


def main(arguments: list[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tools.benchmark_http")
    parser.add_argument("--plays", type=int, default=8, metavar="N")
    parser.add_argument("--only", nargs="+", choices=[*ATTACKS], default=[*ATTACKS])
    options = parser.parse_args(arguments)
    table = Table(title="From the end of the speech to the decision")
    for title in ("meanwhile", "median, ms", "longest, ms", "granted", "rounds", "server", "MB"):
        table.add_column(title)
    for row in measure(options.plays, options.only):
        table.add_row(*row)
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
