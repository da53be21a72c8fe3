"""`edge-voice serve` as a process: TLS, limits, attacks, its beginning and its end."""

from __future__ import annotations

import hashlib
import os
import socket
import ssl
import stat
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.cli.main import main
from edge.crypto.certificates import new_certificate
from edge.resources import demo_directory
from edge.store.api_keys import ApiRole
from edge.web.callers import HEADER
from tests.conftest import REPOSITORY
from tests.integration.http_server import COMMAND, ServerProcess, answer_on, closed, json_of
from tests.integration.waiting import PATIENCE, settled

TRIED = """
# What interfaces do with the server's parts, in three calls; and a limit that can be waited for.
import edge.page
import edge.web.connections
from starlette.responses import JSONResponse
from starlette.routing import Route
from edge.store.api_keys import ApiRole
from edge.web.bodies import read_audio, read_body, to_utterance
from edge.web.callers import waiting_as
from edge.web.context import context_of

edge.web.connections.HEADER_S = 1.0

async def key(request):
    return JSONResponse({"key": context_of(request).callers.check(request, ApiRole.VERIFY).name})

async def size(request):
    return JSONResponse({"bytes": len(await read_body(request, 1 << 20))})

async def speech(request):
    context = context_of(request)
    caller = waiting_as(request, context.callers.check(request, ApiRole.VERIFY))
    data = await read_audio(request)
    work = lambda engine: engine.analyze(to_utterance(data)).quality.net_speech_s
    return JSONResponse({"speech_s": await context.recognizer.run(caller, work)})

edge.page.routes = lambda: [
    Route("/key", key), Route("/size", size, methods=["POST"]),
    Route("/speech", speech, methods=["POST"]),
]
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    made = ServerProcess(tmp_path_factory.mktemp("serve"), "--tls", code=TRIED + COMMAND)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def key(server: ServerProcess) -> str:
    return server.new_key(ApiRole.VERIFY)


def test_it_shows_the_certificate_that_it_serves(server: ServerProcess) -> None:
    with server.connect() as connection:
        assert isinstance(connection, ssl.SSLSocket)
        shown = connection.getpeercert(binary_form=True)
        assert connection.version() == "TLSv1.3"
        assert connection.selected_alpn_protocol() is None
    assert shown is not None
    assert hashlib.sha256(shown).digest().hex(":") == server.fingerprint
    assert stat.S_IMODE((server.state / "http.pem").stat().st_mode) == 0o600


def test_nothing_is_served_in_the_clear_nor_over_old_tls(server: ServerProcess) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as plain:
        plain.sendall(b"GET /key HTTP/1.1\r\nHost: localhost\r\n\r\n")
        received = plain.recv(100)
        assert b"HTTP" not in received
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.minimum_version = ssl.TLSVersion.TLSv1
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    plain = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)
    with plain, pytest.raises(ssl.SSLError):
        old.wrap_socket(plain)


def test_a_key_is_asked_for_and_stops_as_it_is_revoked(server: ServerProcess) -> None:
    assert server.request("/key")[0] == 401
    text = server.new_key(ApiRole.VERIFY, "Tablet")
    status, headers, body = server.request("/key", key=text)
    assert (status, json_of(body)) == (200, {"key": "Tablet"})
    assert headers["strict-transport-security"] == "max-age=31536000"
    assert "server" not in headers
    assert main(["keys", "api", "revoke", "Tablet", "--config", str(server.config)]) == 0
    # Not by its address, which others here need: one wrong key is borne.
    assert server.request("/key", key=text)[0] == 401


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost", 200), ("127.0.0.1:1", 200), ("evil.example", 421), ("169.254.169.254", 421)],
)
def test_another_host_is_refused(server: ServerProcess, key: str, host: str, status: int) -> None:
    assert server.request("/key", key=key, Host=host)[0] == status


@pytest.mark.parametrize(
    "line",
    [
        "GET http://evil.example/key HTTP/1.1\r\nHost: evil.example",
        "GET /key HTTP/1.1\r\nHost: localhost\r\nHost: evil.example",
        "GET /key HTTP/1.1",
        "GET /key HTTP/1.1\r\nHost: localhost\r\nX-A: b\x00c",
        "GET /key HTTP/1.1\r\nHost: localhost\r\nX A: b",
        "GET /../../etc/passwd HTTP/1.1\r\nHost: localhost",
        "GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: localhost",
        "GET /key%0d%0aX-Injected:%20yes HTTP/1.1\r\nHost: localhost",
        "GET /" + "a" * 40_000 + " HTTP/1.1\r\nHost: localhost",
        "GET /key HTTP/1.1\r\nHost: localhost\r\nX: " + "a" * 40_000,
        "GET /key HTTP/1.1\r\nHost: localhost\r\n" + "X: a\r\n" * 5_000 + "Y: b",
        "POST /size HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6",
        "POST /size HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked",
        "\x16\x03\x01\x02\x00\x01\x00",
    ],
)
def test_injections_are_refused(server: ServerProcess, line: str) -> None:
    try:
        status, headers, body = server.send(f"{line}\r\n\r\n".encode("latin-1"))
    except (ConnectionError, ssl.SSLError):  # it hung up before all of it was sent
        return
    assert 400 <= status < 502
    assert status != 500
    assert "x-injected" not in headers
    assert headers["x-frame-options"] == "DENY"
    assert b"root:" not in body


def test_a_gigabyte_that_is_declared_and_not_sent_is_refused_at_once(
    server: ServerProcess,
) -> None:
    head = b"POST /size HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n"
    with server.connect() as connection:
        connection.sendall(head + b"\r\n")
        assert answer_on(connection)[0] == 413
        assert closed(connection)
    # Who asks first is told not to send it.
    with server.connect() as connection:
        connection.sendall(head + b"Expect: 100-continue\r\n\r\n")
        assert answer_on(connection)[0] == 413


def test_a_body_without_end_is_refused(server: ServerProcess) -> None:
    head = b"POST /size HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    with server.connect() as connection:
        connection.sendall(head)
        try:
            for _ in range(200):
                connection.sendall(b"10000\r\n" + bytes(65536) + b"\r\n")
        except (ConnectionError, ssl.SSLError):
            return  # it hung up
        assert answer_on(connection)[0] == 413


def test_what_real_clients_send_is_taken(server: ServerProcess) -> None:
    head = b"POST /size HTTP/1.1\r\nHost: localhost\r\n"
    chunks = b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\n\r\n"
    assert json_of(server.send(head + chunks)[2]) == {"bytes": 7}
    with server.connect() as connection:
        connection.sendall(head + b"Content-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        assert connection.recv(25).startswith(b"HTTP/1.1 100")
        connection.sendall(b"abc")
        assert json_of(answer_on(connection)[2]) == {"bytes": 3}
    with server.connect() as connection:  # two after one another, sent at once
        connection.sendall((head + b"Content-Length: 1\r\n\r\na") * 2)
        received = b""
        while received.count(b'{"bytes":1}') < 2:
            received += connection.recv(4096)


def test_a_slow_loris_loses_its_connections_and_others_are_served(
    server: ServerProcess, key: str
) -> None:
    slow = [server.connect() for _ in range(20)]
    for number, connection in enumerate(slow):
        connection.sendall(b"GET /key HTTP/1.1\r\nHost: loc"[: number + 1])
    assert server.request("/key", key=key)[0] == 200
    for connection in slow:
        assert closed(connection)
        connection.close()


def test_one_address_cannot_take_all_connections(server: ServerProcess) -> None:
    held = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(40)]
    # Some of them were closed at once, before any TLS.
    assert sum(map(closed, held[32:])) == 8
    for connection in held:
        connection.close()


def test_ten_clients_at_once_are_served_in_turn(server: ServerProcess, key: str) -> None:
    recording = (demo_directory() / "ada_right_phrase.flac").read_bytes()
    finished: list[int] = []
    statuses: list[int] = []
    begin = threading.Barrier(10)

    def client(number: int) -> None:
        begin.wait()
        for _ in range(3):
            status, _, body = server.request("/speech", key=key, body=recording)
            statuses.append(status)
            assert json_of(body)["speech_s"] > 1.0
            finished.append(number)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert statuses == 30 * [200]
    third = {number: [at for at, each in enumerate(finished) if each == number][2]
             for number in range(10)}  # fmt: skip
    first = {number: finished.index(number) for number in range(10)}
    assert max(first.values()) < min(third.values())


class TestWrongKeys:
    def test_a_thousand_of_them_and_a_restart(self, tmp_path: Path) -> None:
        server = ServerProcess(tmp_path, code=TRIED + COMMAND)
        right = server.new_key()
        assert server.request("/key", key=right)[0] == 200
        statuses: Counter[int] = Counter()
        with server.connect() as connection:
            for number in range(1000):
                head = f"GET /key HTTP/1.1\r\nHost: localhost\r\n{HEADER}: {number:032x}\r\n\r\n"
                connection.sendall(head.encode())
                statuses[answer_on(connection)[0]] += 1
        assert statuses == {401: 5, 429: 995}
        assert server.request("/key", key=right)[0] == 429
        assert server.stop() == 0
        assert right not in server.log.read_text()
        assert f"{7:032x}" not in server.log.read_text()
        assert len(server.log.read_text().splitlines()) < 6
        again = ServerProcess(tmp_path, code=TRIED + COMMAND)
        assert again.request("/key", key=right)[0] == 429
        assert main(["lockout", "lift", "--config", str(again.config)]) == 0
        assert settled(lambda: again.request("/key", key=right)[0] == 200)
        assert again.stop() == 0

    def test_the_most_talkative_server_says_no_key(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        server = ServerProcess(tmp_path, "-vv", code=TRIED + COMMAND)
        right, wrong = server.new_key(), "0123456789abcdef" * 2
        assert server.request("/key", key=right)[0] == 200
        assert [server.request("/key", key=wrong)[0] for _ in range(6)] == [401] * 5 + [429]
        assert server.stop() == 0
        assert main(["audit", "show", "--json", "--config", str(server.config)]) == 0
        audited = capsys.readouterr().out
        assert "wrong_keys" in audited
        log = server.log.read_text()
        assert "locked out for 60 s" in log
        for key in (right, wrong):
            assert key not in log
            assert key not in audited


def failed(
    folder: Path, *arguments: str, code: str = COMMAND, settings: str = ""
) -> tuple[int, str]:
    """Exit code and the last line of a server that does not start."""
    config = folder / "failing.yaml"
    config.write_text(f"state_directory: state\n{settings}")
    done = subprocess.run(
        [sys.executable, "-c", code, "serve", "--config", str(config), *arguments],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr.splitlines()[-1]


class TestBeginning:
    def test_a_port_that_is_taken(self, server: ServerProcess, tmp_path: Path) -> None:
        code, line = failed(tmp_path, "--port", str(server.port))
        assert code == 3
        assert "(address already in use): set another http.address or http.port" in line

    def test_an_address_of_another_machine(self, tmp_path: Path) -> None:
        code, line = failed(tmp_path, "--address", "192.0.2.1")
        assert code == 3
        assert "cannot serve at 192.0.2.1, port 8443" in line

    def test_a_state_that_another_server_uses(self, server: ServerProcess) -> None:
        code, line = failed(server.folder, "--port", "0")
        assert code == 3
        assert "another 'edge-voice serve' is using it" in line

    def test_a_certificate_that_is_none(self, tmp_path: Path) -> None:
        (tmp_path / "cert.pem").write_text("none")
        code, line = failed(tmp_path, "--port", "0", settings="http: {cert_file: cert.pem}\n")
        assert code == 2
        assert "check http.cert_file and http.key_file" in line

    def test_a_store_without_its_key(self, tmp_path: Path) -> None:
        first = ServerProcess(tmp_path)
        first.stop()
        (tmp_path / "state" / "store.key").unlink()
        code, line = failed(tmp_path, "--port", "0")
        assert code == 3
        assert "key" in line

    def test_packages_that_are_not_installed(self, tmp_path: Path) -> None:
        missing = "import sys; sys.modules['uvicorn'] = None\n"
        code, line = failed(tmp_path, code=missing + COMMAND)
        assert code == 3
        assert "pip install 'edge-voice[http]'" in line

    @pytest.mark.parametrize("arguments", [("--port", "65536"), ("--address", "here")])
    def test_arguments_that_are_none(self, tmp_path: Path, arguments: tuple[str, ...]) -> None:
        code, _ = failed(tmp_path, *arguments)
        assert code == 2


def test_the_owners_certificate_means_tls_here_too(tmp_path: Path) -> None:
    (tmp_path / "own.pem").write_bytes(new_certificate(["localhost", "127.0.0.1"]))
    (tmp_path / "own.pem").chmod(0o600)
    server = ServerProcess(tmp_path, settings="http: {cert_file: own.pem}\n")
    assert server.url == f"https://127.0.0.1:{server.port}"
    assert not (server.state / "http.pem").exists()
    assert server.stop() == 0


def test_everywhere_else_there_is_tls(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, "--address", "0.0.0.0")  # noqa: S104 (what is tested)
    assert server.url.startswith("https://")
    assert server.request("/nothing")[0] == 404
    assert server.stop() == 0


def test_it_ends_in_the_middle_of_requests_and_tells_systemd(tmp_path: Path) -> None:
    told = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(told))
        systemd.settimeout(PATIENCE)
        code = f"import os; os.environ['NOTIFY_SOCKET'] = {str(told)!r}\n{TRIED}{COMMAND}"
        server = ServerProcess(tmp_path / "home", code=code)
        assert systemd.recv(1000).startswith(b"READY=1\nSTATUS=serving at 127.0.0.1, port ")
        silent, begun = server.connect(), server.connect()
        begun.sendall(b"POST /size HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\na")
        assert server.stop() == 0
        messages = [systemd.recv(1000)]
        while not messages[-1].startswith(b"STOPPING=1"):
            messages.append(systemd.recv(1000))
        for connection in (silent, begun):
            connection.close()
    assert "Traceback" not in server.log.read_text()
