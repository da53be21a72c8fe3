"""How much later a text arrives with `edge-voice wyoming` in between, in one run with and without.

A speech-to-text program that answers at once stands behind both ways, and a client speaks in real
time, as a satellite does. What is measured is the time from the end of the sound to the text. Both
ways take turns, so that whatever else the machine does hits both.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, cast

import yaml
from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.event import Event
from wyoming.server import AsyncEventHandler, AsyncTcpServer

from edge.audio.files import read_audio
from edge.resources import demo_directory

_ROUNDS = 20
_MOST_ADDED_MS = 50.0
_PIECE_S = 0.064
_PIECE_BYTES = int(16000 * _PIECE_S) * 2
_SENTENCES = ("ada_right_phrase", "ada_wrong_phrase", "stranger_other_phrase")


class _AtOnce(AsyncEventHandler):
    """A speech-to-text program that needs no time."""

    async def handle_event(self, event: Event) -> bool:
        if AudioStop.is_type(event.type):
            await self.write_event(Transcript("turn on the light").event())
        return True


async def late_s(port: int, sound: bytes) -> float:
    """Seconds from the end of an utterance, spoken in real time, to its text."""
    async with AsyncTcpClient("127.0.0.1", port) as client:
        await client.write_event(Transcribe().event())
        await client.write_event(AudioStart(16000, 2, 1).event())
        due = time.monotonic()
        for at in range(0, len(sound), _PIECE_BYTES):
            due += _PIECE_S
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            chunk = AudioChunk(16000, 2, 1, sound[at : at + _PIECE_BYTES])
            await client.write_event(chunk.event())
        ended = time.perf_counter()
        await client.write_event(AudioStop().event())
        event = await client.read_event()
        if event is None or not Transcript.is_type(event.type):
            raise RuntimeError(f"no text came, but {event}")
        return time.perf_counter() - ended


async def measure(direct: int, between: int, rounds: int) -> tuple[list[float], list[float]]:
    """The times of both ways, seconds."""
    sounds = [_sound(name) for name in _SENTENCES]
    straight, through = [], []
    for number in range(rounds + 1):
        sound = sounds[number % len(sounds)]
        one, other = await late_s(direct, sound), await late_s(between, sound)
        if number:  # the first one opens files and fills caches
            straight.append(one)
            through.append(other)
    return straight, through


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; exit code 1 where it adds more than it may."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=_ROUNDS, help="utterances each way")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    args = parser.parse_args(arguments)
    figures = asyncio.run(_run(args.rounds))
    for way in ("without", "with"):
        one = figures[way]
        print(f"{way:<8} median {one['median_ms']:6.1f} ms, 95 % {one['p95_ms']:6.1f} ms")
    print(f"added    median {figures['added_ms']:6.1f} ms of at most {_MOST_ADDED_MS:g} ms")
    print(
        f"processor time of the server: {figures['processor_share']:.1%} of one, while it listens"
    )
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0 if figures["added_ms"] <= _MOST_ADDED_MS else 1


async def _run(rounds: int) -> dict[str, Any]:
    direct = _free_port()
    program = AsyncTcpServer("127.0.0.1", direct)
    await program.start(_AtOnce)
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.yaml"
        between = _free_port()
        assistant = {
            "port": between,
            "speech_to_text": f"127.0.0.1:{direct}",
            "gate": "enrolled",
        }
        settings = {
            "state_directory": f"{folder}/state",
            "mqtt": {"enabled": False},
            "wyoming": {"assistants": {"kitchen": assistant}},
        }
        config.write_text(yaml.safe_dump(settings))
        command = [sys.executable, "-m", "edge.cli"]
        files = [str(demo_directory() / f"ada_enroll_{number}.flac") for number in (1, 2, 3)]
        subprocess.run(
            [*command, "enroll", "Ada", *files, "--config", str(config)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        with subprocess.Popen(
            [*command, "wyoming", "--config", str(config)], stdout=subprocess.PIPE
        ) as server:
            try:
                await asyncio.to_thread(cast("IO[bytes]", server.stdout).readline)
                used, began = _processor_s(server.pid), time.monotonic()
                straight, through = await measure(direct, between, rounds)
                share = 2 * (_processor_s(server.pid) - used) / (time.monotonic() - began)
            finally:
                server.terminate()
                await asyncio.to_thread(server.wait)
    await program.stop()
    added = statistics.median(through) - statistics.median(straight)
    return {
        "rounds": rounds,
        "without": _figures(straight),
        "with": _figures(through),
        "added_ms": 1e3 * added,
        "processor_share": share,  # it listens half of the time
    }


def _figures(times_s: Sequence[float]) -> dict[str, float]:
    ordered = sorted(times_s)
    return {
        "median_ms": 1e3 * statistics.median(ordered),
        "p95_ms": 1e3 * ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))],
    }


def _sound(name: str) -> bytes:
    samples = read_audio(demo_directory() / f"{name}.flac").samples
    return (samples * 32767).astype("<i2").tobytes()


def _processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
