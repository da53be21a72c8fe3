"""The benchmarks of the HTTP server: what they count, and that they run."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tools import benchmark_http
from tools.benchmark_verifications import Measured, main, measure
from tools.http_peers import Question, Running

ACCEPTED, REJECTED = b'{"result": "Accept"}', b'{"result": "Reject"}'


class _Handler(BaseHTTPRequestHandler):
    """Answers with what it is sent."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def echo() -> Iterator[Running]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Running("echo", os.getpid(), server.server_address[1], {})
    server.shutdown()
    thread.join()
    server.server_close()


def _question(body: bytes) -> Question:
    return Question("/verify", body, {}, ("result", "Accept"))


def test_clients_ask_until_the_count_is_reached(echo: Running) -> None:
    found = Measured()
    for _ in range(2):
        measure(echo, [_question(ACCEPTED)] * 3, 20, found)
    assert found.count == 40
    assert [sum(each) for each in found.answered] == [20, 20]
    assert found.pss_mb > 1.0
    assert 0.0 < max(found.latencies_s) <= found.elapsed_s


def test_a_rejection_ends_it(echo: Running) -> None:
    with pytest.raises(RuntimeError, match="Reject"):
        measure(echo, [_question(ACCEPTED), _question(REJECTED)], 20, Measured())


def test_figures_of_a_row() -> None:
    measured = Measured(
        answered=[[3, 1], [2, 2]],
        latencies_s=[0.1, 0.1, 0.2, 0.2, 0.2, 0.2, 0.3, 1.0],
        elapsed_s=4.0,
        processor_s=0.4,
        pss_mb=80.4,
    )
    assert measured.cells(rss_mb=120.6) == ["2.0", "200", "755", "3 to 5", "50", "80", "121"]


@pytest.mark.slow
@pytest.mark.long
def test_runs_on_the_recordings_of_the_demo(capsys: pytest.CaptureFixture[str]) -> None:
    cores = os.sched_getaffinity(0)
    assert main(["--rounds", "1", "--count", "2", "--clients", "2"]) == 0
    assert os.sched_getaffinity(0) == cores
    rows = [line.split("│")[1:4] for line in capsys.readouterr().out.splitlines() if "│" in line]
    assert [[cell.strip() for cell in row] for row in rows] == [
        ["Edge Voice", "1.0, voice and phrase", "1"],
        ["Edge Voice", "1.0, voice and phrase", "2"],
        ["Edge Voice", "2.0, voice and phrase", "1"],
        ["Edge Voice", "2.0, voice and phrase", "2"],
        ["Edge Voice", "2.0, voice", "1"],
        ["Edge Voice", "2.0, voice", "2"],
    ]


@pytest.mark.slow
@pytest.mark.long
def test_door_decides_while_clients_verify(capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark_http.main(["--plays", "1", "--only", "verifications"]) == 0
    rows = [line.split("│") for line in capsys.readouterr().out.splitlines() if "│" in line]
    assert [(row[1].strip(), row[4].strip()) for row in rows] == [
        ("nothing", "2 of 2"),
        ("verifications", "1 of 1"),
    ]
    assert [int(row[5]) > 0 for row in rows] == [False, True]


def test_python_without_a_peer_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--peer-python", "/bin/true"])
    assert "/bin/true has none of hass-speaker-recognition" in capsys.readouterr().err
