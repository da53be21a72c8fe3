"""What the demo starts: a broker (amqtt, MQTT 3.1.1 only), a subscriber, and the service."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
import yaml
from paho.mqtt.client import MQTTMessage

import edge
from edge.config import Config
from edge.crypto.keys import DEFAULT_FILE, make_key_file
from edge.errors import EnvironmentFault
from edge.mqtt.session import Session, json_object
from edge.mqtt.topics import Topics
from edge.types import SAMPLE_RATE, FloatArray

_HOST = "127.0.0.1"
_BROKER_START_S = 15.0
_BROKER_STOP_S = 10.0
_SERVICE_STOP_S = 5.0
_BLOCK = SAMPLE_RATE // 50
_ROOM_DBFS = -62.0
"""Level of the noise between recordings, the same as in them."""


class DemoBroker:
    """A broker in its own thread, for anyone on this machine; use it with `with`.

    `host` and `port` are valid inside. Raises `EnvironmentFault` without a working amqtt.
    """

    def __init__(self) -> None:
        self.host = _HOST
        self.port = 0
        self._thread = threading.Thread(target=self._run, name="demo-broker", daemon=True)
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None

    def __enter__(self) -> DemoBroker:
        # amqtt logs every connection, and every client that leaves without a DISCONNECT.
        for name in ("amqtt", "transitions"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._thread.start()
        if not self._started.wait(_BROKER_START_S):
            raise EnvironmentFault(
                f"the demo's MQTT broker did not start in {_BROKER_START_S:.0f} s"
            )
        if isinstance(self._failure, ImportError):
            raise EnvironmentFault(
                f"the demo's MQTT broker is not installed ({self._failure}): pip install"
                " 'edge-voice[demo]', or run tools/demo in a checkout"
            )
        if self._failure is not None:
            raise EnvironmentFault(f"the demo's MQTT broker did not start: {self._failure}")
        return self

    def __exit__(self, *_: object) -> None:
        if self._loop is not None and self._stop is not None:
            # The loop may have ended by itself, and closed.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_BROKER_STOP_S)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - it is raised in the caller's thread
            self._failure = error
        finally:
            self._started.set()

    async def _serve(self) -> None:
        from amqtt.adapters import StreamReaderAdapter, StreamWriterAdapter  # noqa: PLC0415
        from amqtt.broker import Broker  # noqa: PLC0415

        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        configuration: dict[str, Any] = {
            # Listening is done here because amqtt does not report the port it was given.
            "listeners": {"default": {"type": "external"}},
            "plugins": {
                "amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}
            },
        }
        broker = Broker(configuration)

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await broker.external_connected(
                StreamReaderAdapter(reader), StreamWriterAdapter(writer), "default"
            )

        await broker.start()
        server = await asyncio.start_server(connected, _HOST, 0)
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._stop.wait()
        server.close()
        await broker.shutdown()


class DecisionSubscriber(Session):
    """Receives the status and the decisions of one device."""

    def __init__(self, config: Config) -> None:
        super().__init__(config.mqtt, "demo")
        self._topics = Topics(config.mqtt.base_topic, config.device.id)

    def __enter__(self) -> DecisionSubscriber:
        super().__enter__()
        self.subscribe([self._topics.status, self._topics.decision])
        return self

    def wait_for_status(
        self,
        condition: Callable[[dict[str, Any]], bool],
        timeout_s: float,
        running: Callable[[], bool],
    ) -> bool:
        """Wait for a status that meets a condition; false once time is over or `running` is."""

        def meets(message: MQTTMessage) -> bool | None:
            status = message.topic == self._topics.status
            return (status and condition(json_object(message.payload))) or None

        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and running():
            if self.wait(meets, 0.1):
                return True
        return False

    def next_decision(self, timeout_s: float) -> tuple[MQTTMessage, dict[str, Any]] | None:
        """The next decision, as a message and as JSON; None when none came in time."""
        topic = self._topics.decision
        return self.wait(
            lambda each: (each.topic == topic and json_object(each.payload)) or None, timeout_s
        )

    def skip_decisions(self) -> int:
        """Drop the decisions that have arrived; returns how many."""
        return sum(1 for _ in iter(lambda: self.next_decision(0.0), None))


def is_online(status: dict[str, Any]) -> bool:
    """Whether a status says that the device is online."""
    return status.get("state") == "online"


class Player:
    """Writes mono 16-bit little-endian PCM at 16 kHz to a pipe, in real time, without a gap.

    Between recordings it plays a quiet room, for a live microphone is never digitally silent.
    """

    def __init__(self, sink: IO[bytes]) -> None:
        self._sink = sink
        self._pending: deque[FloatArray] = deque()
        self._changed = threading.Condition()
        self._begun: float | None = None
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="demo-player", daemon=True)
        self._room = np.random.default_rng(0).standard_normal(SAMPLE_RATE).astype(np.float32)
        self._room *= np.float32(10.0 ** (_ROOM_DBFS / 20.0))

    def __enter__(self) -> Player:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending = True
        self._thread.join(2.0)

    @property
    def broken(self) -> bool:
        """Whether the other end of the pipe is closed."""
        return not self._thread.is_alive()

    def play(self, samples: FloatArray) -> float | None:
        """Play a recording, shape (n,) at `SAMPLE_RATE`, to its end.

        Returns the `time.monotonic()` of its first sample; None if the pipe broke.
        """
        with self._changed:
            self._begun = None
            self._pending.extend(np.split(samples, np.arange(_BLOCK, len(samples), _BLOCK)))
            while not self.broken and (self._begun is None or self._pending):
                self._changed.wait(0.2)
            return self._begun

    def _run(self) -> None:
        played = 0
        started = time.monotonic()
        while not self._ending:
            with self._changed:
                if self._pending:
                    block = self._pending.popleft()
                    if self._begun is None:
                        self._begun = started + played / SAMPLE_RATE
                    self._changed.notify_all()
                else:
                    block = self._room[played % len(self._room) :][:_BLOCK]
            played += len(block)
            # A microphone delivers a block once its last sample is over.
            wait = started + played / SAMPLE_RATE - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            try:
                self._sink.write((np.clip(block, -1.0, 1.0) * 32767.0).astype("<i2").tobytes())
                self._sink.flush()
            except (OSError, ValueError):
                return


def write_config(folder: Path, settings: dict[str, Any]) -> Path:
    """Write `config.yaml`, and the store's key to avoid the warning about a key made on the way."""
    path = folder / "config.yaml"
    make_key_file(Path(settings["state_directory"]) / DEFAULT_FILE)
    path.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    return path


def command(*arguments: str) -> list[str]:
    """The command line of `edge-voice ARGUMENTS`, for this same Python."""
    return [sys.executable, "-m", "edge.cli", *arguments]


def environment() -> dict[str, str]:
    """An environment in which `command` finds this same package."""
    here = str(Path(edge.__file__).resolve().parents[1])
    inherited = os.environ.get("PYTHONPATH", "")
    path = os.pathsep.join(part for part in (here, inherited) if part)
    return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}


class ServiceProcess:
    """`edge-voice run` while used as a context manager; `piped` sound replaces the microphone."""

    def __init__(self, config: Path, *, piped: bool) -> None:
        self._config = config
        self._piped = piped
        self._log = config.with_name("service.log")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> ServiceProcess:
        arguments = ["run", "--config", str(self._config)]
        if self._piped:
            arguments += ["--input", "-"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - this very program
                command(*arguments),
                stdin=subprocess.PIPE if self._piped else subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment(),
                cwd=self._config.parent,
            )
        return self

    def __exit__(self, *_: object) -> None:
        process = self._process
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_SERVICE_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdin is not None:
            # Closing flushes the buffer into a broken pipe.
            with suppress(OSError):
                process.stdin.close()

    @property
    def running(self) -> bool:
        """Whether the process is running."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Its process id. Raises `ValueError` before the start."""
        if self._process is None:
            raise ValueError("the service has not been started")
        return self._process.pid

    @property
    def sound(self) -> IO[bytes]:
        """The pipe for sound: raw mono 16-bit little-endian PCM at 16 kHz."""
        if self._process is None or self._process.stdin is None:
            raise ValueError("the service does not read from a pipe")
        return self._process.stdin

    def fault(self, what: str) -> EnvironmentFault:
        """An error with what went wrong and the last line that the service logged."""
        status = self._process.poll() if self._process else None
        ended = f"; the service ended with status {status}" if status is not None else ""
        try:
            lines = self._log.read_text(encoding="utf-8", errors="replace").split("\n")
        except OSError:
            lines = []
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return EnvironmentFault(f"{what}{ended}" + (f"; it logged: {last}" if last else ""))
