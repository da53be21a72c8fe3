"""`edge-voice serve` as a process, and raw connections to it."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

from edge.store import open_store
from edge.store.api_keys import ApiKeys, ApiRole
from edge.web.callers import HEADER
from tests.conftest import REPOSITORY
from tests.integration.waiting import PATIENCE

COMMAND = "from edge.cli.main import entry_point; entry_point()"


class ServerProcess:
    """A server on a free port of 127.0.0.1, with a state directory of its own.

    Args:
        code: what the process runs in place of the command alone.
    """

    def __init__(
        self, folder: Path, *arguments: str, code: str = COMMAND, settings: str = ""
    ) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.config = folder / "config.yaml"
        self.config.write_text(f"state_directory: state\n{settings}")
        self.log = folder / "log"
        path = os.pathsep.join(filter(None, (str(REPOSITORY), os.environ.get("PYTHONPATH"))))
        self._environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable, "-c", code, "serve", "--json", "--config", str(self.config),
                    "--port", "0", *arguments,
                ],
                env=self._environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )  # fmt: skip
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert "serving" in line, line + self.log.read_text()
        said = json.loads(line)["serving"]
        self.url, self.port, self.fingerprint = said["url"], said["port"], said["fingerprint"]

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def new_key(self, role: ApiRole = ApiRole.MANAGE, name: str = "Phone") -> str:
        """A new key, made beside the running server as a command makes it."""
        with open_store(self.state) as store:
            return ApiKeys(store).new(name, role)

    def stop(self) -> int:
        """Its exit code after SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(PATIENCE)
        finally:
            self.process.kill()

    def connect(self) -> socket.socket:
        """A connection, over TLS where it serves that, which trusts its certificate alone."""
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
        if self.fingerprint is None:
            return plain
        return self.trusting().wrap_socket(plain, server_hostname="localhost")

    def trusting(self) -> ssl.SSLContext:
        """What a client has that trusts its certificate."""
        return ssl.create_default_context(cafile=self.state / "http.pem")

    def request(
        self, path: str, *, key: str = "", body: bytes = b"", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of an answer, over a connection of its own."""
        lines = {
            "Host": "localhost",
            "Connection": "close",
            **({HEADER: key} if key else {}),
            **({"Content-Length": str(len(body))} if body else {}),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        method = "POST" if body else "GET"
        return self.send(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body)

    def send(self, data: bytes) -> tuple[int, dict[str, str], bytes]:
        """The same for bytes that are sent as they are."""
        with self.connect() as connection:
            connection.sendall(data)
            return answer_on(connection)


def answer_on(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """The first answer on a connection: status, headers with names in small letters, body."""
    with connection.makefile("rb") as file:
        status = int(file.readline().split()[1])
        headers: dict[str, str] = {}
        while line := file.readline().strip():
            name, _, value = line.decode("latin-1").partition(": ")
            headers[name.lower()] = value
        length = headers.get("content-length")
        body = file.read(int(length)) if length is not None else b""
        return status, headers, body


def closed(connection: socket.socket) -> bool:
    """Whether the other side hangs up; waits for that, and for nothing else."""
    try:
        return connection.recv(1) == b""
    except (ConnectionError, ssl.SSLError):
        return True


def json_of(body: bytes) -> Any:
    return json.loads(body)
