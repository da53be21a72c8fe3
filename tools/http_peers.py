"""Other servers that compare voices over HTTP, as their packages have them.

Each takes a Python of an environment of its own, made by `pip install
'hass-speaker-recognition[server]' resemblyzer`.
"""

from __future__ import annotations

import base64
import http.client
import json
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edge.demo.story import Play
from edge.types import FloatArray

PATIENCE_S = 120.0
HOST = "127.0.0.1"


@dataclass(frozen=True)
class Question:
    """A request that has a recording judged, and the field and value of an acceptance."""

    path: str
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    accepted: tuple[str, str]


@dataclass(frozen=True)
class Running:
    """A server that runs, and what its clients ask: by name, a question for each client."""

    name: str
    pid: int
    port: int
    questions: Mapping[str, Sequence[Question]] = field(repr=False)


def version_of(python: str, package: str) -> str | None:
    """The version of a package that a Python has; None if it has none."""
    code = f"from importlib.metadata import version; print(version({package!r}))"
    found = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return found.stdout.strip() or None


def post(port: int, path: str, content: object) -> None:
    """Send JSON. Raises `RuntimeError` where it does not succeed."""
    connection = http.client.HTTPConnection(HOST, port, timeout=PATIENCE_S)
    body = json.dumps(content).encode()
    connection.request("POST", path, body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    said = answer.read()
    connection.close()
    if answer.status != http.client.OK:
        raise RuntimeError(f"{path}: {answer.status} {said[:200]!r}")


@contextmanager
def speaker_recognition(
    python: str, before: Sequence[str], folder: Path, play: Play, clients: int
) -> Iterator[Running]:
    """Home Assistant's speaker recognition: Resemblyzer behind FastAPI; it names the nearest voice.

    Args:
        before: what its command line begins with.
    """
    package = "hass-speaker-recognition"
    with socket.socket() as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
    log = folder / "speaker_recognition.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [
                *before, python, "-m", "speaker_recognition", "--host", HOST, "--port", str(port),
                "--no-access-log", "--embeddings-dir", str(folder / "embeddings"),
            ],
            stdout=file,
            stderr=file,
        )  # fmt: skip
    try:
        _wait_for(process, port, log)
        samples = [
            {"user": person.name, "audio": _audio(np.concatenate(person.repetitions))}
            for person in play.people
        ]
        post(port, "/train", {"voice_samples": samples})
        person = play.people[0]
        said = next(scene for scene in play.scenes if scene.name == person.name).samples
        body = json.dumps({"audio": _audio(said)}).encode()
        headers = {"Content-Type": "application/json"}
        question = Question("/recognize", body, headers, ("user_id", person.name))
        name = f"{package} {version_of(python, package)}"
        yield Running(name, process.pid, port, {"recognize": [question] * clients})
    finally:
        process.terminate()
        process.wait()


def _audio(samples: FloatArray) -> dict[str, object]:
    """A recording at 16 kHz in its JSON."""
    pcm = (np.clip(samples, -1.0, 1.0) * 32767.0).astype("<i2").tobytes()
    return {"audio_data": base64.b64encode(pcm).decode(), "sample_rate": 16_000}


def _wait_for(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket() as attempt:
            if attempt.connect_ex((HOST, port)) == 0:
                return
        time.sleep(0.1)
    raise RuntimeError(f"it did not start: {log.read_text(errors='replace')[-500:]}")
