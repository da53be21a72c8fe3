"""Measures the running service: time to start and stop, processor, memory, time to decide.

Also with several microphones.
"""

from __future__ import annotations

import os
import shlex
import socket
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from edge.config import doors_of, load_config
from edge.demo.parts import DecisionSubscriber, DemoBroker, Player, ServiceProcess, write_config
from edge.demo.show import Show
from edge.demo.story import DemoPerson, Scene, demo_settings, enroll

STARTS = 5
PLAYS = 8
PLAYS_AT_ONCE = 4
_PATIENCE_S = 15.0


def measure_service(person: DemoPerson, scene: Scene, idle_s: float) -> dict[str, str]:
    """Start the service several times, leave it idle, then play speech to it.

    Args:
        person: the person to enroll.
        scene: the recording to play, which must be granted.
        idle_s: how long the room is quiet, seconds.

    Returns:
        Figures with their units, by name.
    """
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        broker = stack.enter_context(DemoBroker())
        # The same recording is played repeatedly, which replay detection would refuse.
        settings = {**demo_settings(folder, broker), "replay": {"enabled": False}}
        path = write_config(folder, settings)
        enroll((person,), load_config(path), Show(None))
        starts, stops = [], []
        for _ in range(STARTS):
            with _ready_socket(folder) as ready, ServiceProcess(path, piped=True) as service:
                started = time.monotonic()
                with Player(service.sound):
                    ready.recv(4096)
                    starts.append(time.monotonic() - started)
                stopped = time.monotonic()
            stops.append(time.monotonic() - stopped)
        config = load_config(path)
        subscriber = stack.enter_context(DecisionSubscriber(config))
        service = stack.enter_context(ServiceProcess(path, piped=True))
        player = stack.enter_context(Player(service.sound))
        time.sleep(5.0)
        before = processor_s(service.pid)
        time.sleep(idle_s)
        idle = (processor_s(service.pid) - before) / idle_s
        delays, granted = [], 0
        for _ in range(PLAYS):
            begun = player.play(scene.samples)
            arrival = subscriber.next_decision(_PATIENCE_S)
            if begun is None or arrival is None:
                raise service.fault("no decision came")
            message, decision = arrival
            granted += decision["decision"] == "granted"
            delays.append(message.timestamp - begun - scene.speech_end_s)
        wait = config.audio.end_silence_s
        median = statistics.median(delays)
        return {
            "start to listening": f"{statistics.median(starts):.2f} s",
            "stop, at most": f"{max(stops):.2f} s",
            "idle, nobody speaks": f"{100 * idle:.2f} %",
            "decision after the end of speech": f"{1e3 * median:.0f} ms",
            "decision after the end of speech, beyond the end-pointer's wait": (
                f"{1e3 * (median - wait):.0f} ms"
            ),
            "granted": f"{granted} of {PLAYS}",
            "peak memory": f"{memory_mb(service.pid, 'VmHWM'):.0f} MB",
        }


@dataclass(frozen=True)
class SeveralMicrophones:
    """What a service with so many microphones takes.

    Attributes:
        microphones: how many there are.
        idle: share of a core in quiet rooms.
        speaking: share of a core while somebody speaks at all of them at the same time.
        utterance_s: processor time that an utterance takes, idle time included.
        wait_s: median time from the end of the speech to the decision.
        granted: how many decisions let in, of all that there should be.
        decisions: how many there should be.
        peak_mb: most memory.
    """

    microphones: int
    idle: float
    speaking: float
    utterance_s: float
    wait_s: float
    granted: int
    decisions: int
    peak_mb: float


def measure_microphones(
    person: DemoPerson, scene: Scene, count: int, idle_s: float
) -> SeveralMicrophones:
    """Run a service with `count` microphones, idle and then spoken to at all of them at once.

    Each reads a program that passes on a pipe, in real time; what those take is not counted.
    """
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        broker = stack.enter_context(DemoBroker())
        pipes = [folder / f"sound-{number}" for number in range(count)]
        for pipe in pipes:
            os.mkfifo(pipe)
        sources = [{"source": f"cat {shlex.quote(str(pipe))}"} for pipe in pipes]
        settings = {
            **demo_settings(folder, broker),
            "replay": {"enabled": False},
            # On a busy machine too each decision is to be counted.
            "access": {"decision_lifetime_s": 60.0},
            "audio": sources[0],
            "microphones": {f"door-{number}": each for number, each in enumerate(sources[1:], 2)},
        }
        path = write_config(folder, settings)
        config = load_config(path)
        enroll((person,), config, Show(None))
        subscribers = [stack.enter_context(DecisionSubscriber(door)) for door in doors_of(config)]
        service = stack.enter_context(ServiceProcess(path, piped=False))
        players = []
        for pipe in pipes:
            # Opened for both: neither end waits for the other one.
            sound = stack.enter_context(os.fdopen(os.open(pipe, os.O_RDWR), "wb"))
            players.append(stack.enter_context(Player(sound)))
        for subscriber in subscribers:
            if not subscriber.wait_for_status(
                lambda status: bool(status.get("microphone") == "listening"),
                4 * _PATIENCE_S,
                lambda: service.running,
            ):
                raise service.fault("a microphone is not listened to")
        time.sleep(5.0)
        before = processor_s(service.pid)
        time.sleep(idle_s)
        idle = (processor_s(service.pid) - before) / idle_s
        waits, granted = [], 0
        before, began = processor_s(service.pid), time.monotonic()
        for _ in range(PLAYS_AT_ONCE):
            with ThreadPoolExecutor(count) as pool:
                begun = list(pool.map(lambda player: player.play(scene.samples), players))
            for at, subscriber in zip(begun, subscribers):
                arrival = subscriber.next_decision(4 * _PATIENCE_S)
                if at is None or arrival is None:
                    raise service.fault("no decision came")
                message, decision = arrival
                granted += decision["decision"] == "granted"
                waits.append(message.timestamp - at - scene.speech_end_s)
        taken = processor_s(service.pid) - before
        speaking = taken / (time.monotonic() - began)
        return SeveralMicrophones(
            count,
            idle,
            speaking,
            taken / (count * PLAYS_AT_ONCE),
            statistics.median(waits),
            granted,
            count * PLAYS_AT_ONCE,
            memory_mb(service.pid, "VmHWM"),
        )


@contextmanager
def _ready_socket(folder: Path) -> Iterator[socket.socket]:
    """The service manager's end, where the service sends READY=1 once sound arrives."""
    address = folder / "notify"
    address.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(address))
        server.settimeout(_PATIENCE_S)
        os.environ["NOTIFY_SOCKET"] = str(address)
        try:
            yield server
        finally:
            del os.environ["NOTIFY_SOCKET"]


def processor_s(process: int) -> float:
    """User and system time of a process so far, seconds."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mb(process: int, field: str = "VmRSS") -> float:
    """Resident size of a process, megabytes; `VmHWM` is the largest so far."""
    for line in Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"no {field} for process {process}")
