"""Measures verifications over HTTP on one core, beside other servers that compare voices.

    python -m tools.benchmark_verifications [--peer-python PYTHON] [--rounds N] [--count N]

Runs `edge-voice serve` and those servers of `tools.http_peers` that the given Python has. Each has
the same core, the same priority and one thread for its arithmetic; the clients have the other
cores. In every round each server is asked in turn, by one client and by many at once, who ask again
as soon as they are answered. All of it is accepted, so that nobody is locked out.

Processor time tells the servers apart where others use the same core; verifications a second do
so only on a core that is idle.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from edge.config import load_config
from edge.demo.parts import write_config
from edge.demo.story import Play, load_play
from edge.store import open_store
from edge.store.api_keys import ApiKeys, ApiRole
from edge.types import FloatArray
from edge.web.callers import HEADER
from tools.benchmark_http import served
from tools.benchmark_service import memory_mb, processor_s
from tools.http_peers import HOST, PATIENCE_S, PEERS, Question, Running, said_by, version_of, wav

_MEMORY_EVERY_S = 0.2
_V2 = "/speaker/verification/v2.0"


@dataclass
class Measured:
    """What clients saw of a server, over all rounds.

    Attributes:
        answered: how many answers each client got, one list a round.
        latencies_s: of every answer.
        elapsed_s, processor_s: in all.
        pss_mb: proportional set size, the largest that was seen.
    """

    answered: list[list[int]] = field(default_factory=list)
    latencies_s: list[float] = field(default_factory=list)
    elapsed_s: float = 0.0
    processor_s: float = 0.0
    pss_mb: float = 0.0

    @property
    def count(self) -> int:
        """How many answers there were."""
        return len(self.latencies_s)

    @property
    def fairness(self) -> str:
        """The fewest and the most answers of one client, over all rounds."""
        totals = [sum(each) for each in zip(*self.answered, strict=True)]
        return f"{min(totals)} to {max(totals)}" if len(totals) > 1 else ""

    def cells(self, rss_mb: float) -> list[str]:
        """The figures of a row."""
        late = float(np.percentile(self.latencies_s, 95))
        return [
            f"{self.count / self.elapsed_s:.1f}",
            f"{1e3 * statistics.median(self.latencies_s):.0f}",
            f"{1e3 * late:.0f}",
            self.fairness,
            f"{1e3 * self.processor_s / self.count:.0f}",
            f"{self.pss_mb:.0f}",
            f"{rss_mb:.0f}",
        ]


class Client:
    """A client with a connection that it keeps. Use it with `with`."""

    def __init__(self, port: int, question: Question) -> None:
        self._connection = http.client.HTTPConnection(HOST, port, timeout=PATIENCE_S)
        self._question = question

    def __enter__(self) -> Client:
        self._connection.connect()
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def ask(self) -> float:
        """How long the answer took, seconds. Raises `RuntimeError` if it is no acceptance."""
        question = self._question
        begun = time.monotonic()
        self._connection.request("POST", question.path, question.body, dict(question.headers))
        answer = self._connection.getresponse()
        said = answer.read()
        taken = time.monotonic() - begun
        name, value = question.accepted
        if answer.status != http.client.OK or json.loads(said).get(name) != value:
            raise RuntimeError(f"{question.path}: {answer.status} {said[:200]!r}")
        return taken


def measure(server: Running, questions: Sequence[Question], count: int, measured: Measured) -> None:
    """Let a client for each question ask without pause until there are `count` answers."""
    left = iter(range(count))
    together = threading.Barrier(len(questions) + 1)

    def work(question: Question) -> list[float]:
        with Client(server.port, question) as client:
            together.wait(PATIENCE_S)
            return [client.ask() for _ in left]

    with ThreadPoolExecutor(len(questions)) as clients:
        futures = [clients.submit(work, question) for question in questions]
        together.wait(PATIENCE_S)
        begun, before_s = time.monotonic(), processor_s(server.pid)
        while wait(futures, _MEMORY_EVERY_S).not_done:
            measured.pss_mb = max(measured.pss_mb, pss_mb(server.pid))
        latencies = [future.result() for future in futures]
    measured.elapsed_s += time.monotonic() - begun
    measured.processor_s += processor_s(server.pid) - before_s
    measured.pss_mb = max(measured.pss_mb, pss_mb(server.pid))
    measured.answered.append([len(each) for each in latencies])
    for each in latencies:
        measured.latencies_s += each


def pss_mb(process: int) -> float:
    """Proportional set size of a process, megabytes: what it shares counts by its share."""
    for line in Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"no Pss for process {process}")


@contextmanager
def edge_voice(before: Sequence[str], folder: Path, play: Play, clients: int) -> Iterator[Running]:
    """`edge-voice serve` on a store of its own, where the first person is enrolled over HTTP."""
    path = write_config(folder, {"state_directory": str(folder / "state")})
    config = load_config(path)
    person = play.people[0]
    said = wav(said_by(person, play))
    with served(path, before=before) as (process, port):
        with open_store(config.state_path, settings=config.store) as store:
            keys = ApiKeys(store)
            headers = [
                {HEADER: keys.new(f"Client {number}", ApiRole.ENROLL), "Content-Type": "audio/wav"}
                for number in range(clients)
            ]
        by_phrase, by_voice = (
            _enroll(port, headers[0], f"{_V2}/{mode}/profiles", person.repetitions)
            for mode in ("text-dependent", "text-independent")
        )
        paths = {
            "1.0, voice and phrase": (
                f"/spid/v1.0/verify?verificationProfileId={by_phrase}",
                ("result", "Accept"),
            ),
            "2.0, voice and phrase": (
                f"{_V2}/text-dependent/profiles/{by_phrase}/verify",
                ("recognitionResult", "Accept"),
            ),
            "2.0, voice": (
                f"{_V2}/text-independent/profiles/{by_voice}/verify?ignoreMinLength=true",
                ("recognitionResult", "Accept"),
            ),
        }
        questions = {
            name: [Question(path, said, each, accepted) for each in headers]
            for name, (path, accepted) in paths.items()
        }
        yield Running("Edge Voice", process.pid, port, questions)


def _enroll(
    port: int, headers: dict[str, str], path: str, repetitions: Sequence[FloatArray]
) -> str:
    """A new profile's id."""

    def send(path: str, body: bytes, media_type: str) -> dict[str, Any]:
        connection = http.client.HTTPConnection(HOST, port, timeout=PATIENCE_S)
        connection.request("POST", path, body, {**headers, "Content-Type": media_type})
        answer = connection.getresponse()
        said = answer.read()
        connection.close()
        if answer.status != http.client.CREATED:
            raise RuntimeError(f"{path}: {answer.status} {said[:200]!r}")
        content: dict[str, Any] = json.loads(said)
        return content

    made = str(send(path, b'{"locale": "en-US"}', "application/json")["profileId"])
    for samples in repetitions:
        send(f"{path}/{made}/enrollments?ignoreMinLength=true", wav(samples), "audio/wav")
    return made


def give_priority(process: int, nice: int) -> None:
    """Give all threads of a process a priority, also those that chose one of their own."""
    for task in Path(f"/proc/{process}/task").iterdir():
        os.setpriority(os.PRIO_PROCESS, int(task.name), nice)


@contextmanager
def beside(core: int) -> Iterator[None]:
    """Keep this process off a core, if there are others."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, allowed - {core} or allowed)
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def benchmark(
    rounds: int, count: int, clients: int, core: int, nice: int, peer_python: str | None
) -> Iterator[list[str]]:
    """A row for each server, call and number of clients."""
    play = load_play()
    before = ["taskset", "-c", str(core), "nice", "-n", str(nice)]
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        stack.enter_context(beside(core))
        start: list[Callable[[], AbstractContextManager[Running]]] = [
            partial(edge_voice, before, Path(name), play, clients)
        ]
        if peer_python is not None:
            start += [
                partial(peer, peer_python, before, Path(name), play, clients)
                for package, peer in PEERS.items()
                if version_of(peer_python, package) is not None
            ]
        servers = [stack.enter_context(each()) for each in start]
        for server in servers:
            give_priority(server.pid, nice)
        measured = {
            (number, what, many): Measured()
            for number, server in enumerate(servers)
            for what in server.questions
            for many in (1, clients)
        }
        for round_ in range(rounds + 1):
            for (number, what, many), found in measured.items():
                server = servers[number]
                asked = server.questions[what][:many]
                # The first round is there to have everything loaded.
                measure(server, asked, *((count, found) if round_ else (many, Measured())))
        for (number, what, many), found in measured.items():
            server = servers[number]
            yield [server.name, what, str(many), *found.cells(memory_mb(server.pid, "VmHWM"))]


def main(arguments: list[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tools.benchmark_verifications")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--count", type=int, default=50, metavar="N", help="answers a round")
    parser.add_argument("--clients", type=int, default=10, metavar="N", help="how many at once")
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)), metavar="N")
    parser.add_argument(
        "--nice", type=int, default=10, metavar="N", help="of all servers; below 0 takes root"
    )
    parser.add_argument(
        "--peer-python", metavar="PYTHON", help="a Python with the packages of tools/http_peers.py"
    )
    options = parser.parse_args(arguments)
    peer = options.peer_python
    if peer is not None and not any(version_of(peer, package) for package in PEERS):
        parser.error(f"{peer} has none of {', '.join(PEERS)}: see tools/http_peers.py")
    os.environ["OMP_NUM_THREADS"] = "1"  # for the servers
    load = os.getloadavg()[0]
    table = Table(title="Verifications over HTTP, on one core")
    for title in ("server", "call", "clients"):
        table.add_column(title)
    for title in (
        "a second", "median, ms", "95 %, ms", "of one client", "processor, ms", "PSS, MB", "RSS, MB"
    ):  # fmt: skip
        table.add_column(title, justify="right")
    for row in benchmark(
        options.rounds, options.count, options.clients, options.core, options.nice, peer
    ):
        table.add_row(*row)
    console = Console(width=None if sys.stdout.isatty() else 150)
    console.print(table)
    console.print(
        f"Load of the machine ({os.cpu_count()} cores): {load:.1f} before,"
        f" {os.getloadavg()[0]:.1f} after."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
