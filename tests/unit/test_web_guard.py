"""What holds for every request to the HTTP server and every answer."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from edge.config import Config, HttpConfig
from edge.errors import AudioFormatError, StoreError
from edge.web import bodies, guard
from edge.web.addresses import own_addresses, own_names
from edge.web.bodies import read_audio, read_body, to_utterance
from edge.web.guard import Guard
from edge.web.refusal import Refused
from tests.unit.web import client_of, close_context, make_context


async def size(request: Request) -> Response:
    return JSONResponse({"bytes": len(await request.body())})


async def audio(request: Request) -> Response:
    return JSONResponse({"audio": (await read_audio(request)).decode()})


async def own_header(_: Request) -> Response:
    return Response("", headers={"Cache-Control": "max-age=60"})


async def error(request: Request) -> Response:
    raise {
        "store": StoreError("the store /var/lib/secret is damaged"),
        "bug": RuntimeError("a secret of the code"),
        "refused": Refused(409, "Conflict", "not now", 1.2),
    }[request.path_params["kind"]]


@pytest.fixture
def client() -> TestClient:
    routes = [
        Route("/size", size, methods=["POST", "GET"]),
        Route("/audio", audio, methods=["POST"]),
        Route("/own", own_header),
        Route("/error/{kind}", error),
        Route("/{name}", lambda _: Response("")),
    ]
    application = Starlette(
        routes=routes, middleware=[Middleware(Guard, names=["door.local", "LocalHost"])]
    )
    return TestClient(application, base_url="https://door.local", follow_redirects=False)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("door.local", 200),
        ("DOOR.local:8443", 200),
        ("door.local.", 200),
        ("localhost:1", 200),
        ("127.0.0.1:8443", 200),
        ("[::1]:8443", 200),
        ("evil.example", 421),
        ("door.local.evil.example", 421),
        ("evil.example:8443", 421),
        ("8.8.8.8", 421),
        ("[2001:db8::1]:8443", 421),
        ("door.local@evil.example", 421),
        ("door.local:80@evil.example", 421),
        ("door.local:@evil.example", 421),
        ("door.local:80/x", 421),
        ("door.local:eighty", 421),
        ("[::1]@evil.example", 421),
        ("[::1].evil.example", 421),
        ("[::1]", 200),
        ("", 421),
        ("xn--door", 421),
        ("door.local, evil.example", 421),
    ],
)
def test_only_names_of_this_machine_are_served(client: TestClient, host: str, status: int) -> None:
    assert client.get("/x", headers={"Host": host}).status_code == status


def call(app: Any, scope: dict[str, Any], *messages: dict[str, Any]) -> list[dict[str, Any]]:
    """What an application sends for a request whose body comes in these messages."""
    sent: list[dict[str, Any]] = []
    coming = iter(messages)
    whole = {
        "type": "http", "method": "GET", "scheme": "http", "path": "/x", "raw_path": b"/x",
        "query_string": b"", "server": ("192.168.1.5", 8443), "client": ("192.168.1.7", 40000),
        "headers": [(b"host", b"localhost")],
    }  # fmt: skip

    async def receive() -> dict[str, Any]:
        for message in coming:
            return message
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(app({**whole, **scope}, receive, send))
    return sent


async def empty(scope: Any, receive: Any, send: Any) -> None:
    await Response("")(scope, receive, send)


@pytest.mark.parametrize(
    ("hosts", "server", "status"),
    [
        ([b"192.168.1.5:8443"], "192.168.1.5", 200),
        ([b"192.168.1.5"], "::ffff:192.168.1.5", 200),
        ([b"[fe80::1]"], "fe80::1%eth0", 200),
        ([b"192.168.1.6"], "192.168.1.5", 421),
        ([b"localhost", b"evil.example"], "192.168.1.5", 421),
        ([], "192.168.1.5", 421),
    ],
)
def test_its_own_address_is_that_which_the_client_came_to(
    hosts: list[bytes], server: str, status: int
) -> None:
    headers = [(b"host", host) for host in hosts]
    app = Guard(empty, ["localhost"])
    (start, _) = call(app, {"headers": headers, "server": (server, 8443)})
    assert start["status"] == status


@pytest.mark.parametrize("path", ["/x", "/own", "/error/bug", "/error/refused", "/a/b/c"])
def test_every_answer_has_the_headers(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-frame-options"] == "DENY"
    assert headers["strict-transport-security"] == "max-age=31536000"
    assert headers["cache-control"] == ("max-age=60" if path == "/own" else "no-store")
    assert "server" not in headers


def test_a_refused_host_has_them_too_and_http_no_hsts(client: TestClient) -> None:
    headers = client.get("http://evil.example/x").headers
    assert headers["x-frame-options"] == "DENY"
    assert "strict-transport-security" not in headers


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/x?a=b", 200),
        ("/%C3%A4", 200),
        ("/..%2f..%2fetc/passwd", 400),
        ("/static/%2e%2e/secret", 400),
        ("/a%00b", 400),
        ("/a%0d%0aSet-Cookie:%20a=b", 400),
        ("/a%5c..%5cb", 400),
        ("/" + "a" * 3000, 414),
        ("/x?" + "a" * 10_240, 200),
        ("/x?" + "a" * 10_241, 414),
    ],
)
def test_odd_paths_are_refused(client: TestClient, path: str, status: int) -> None:
    answer = client.get(path)
    assert answer.status_code == status
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("store", 503, "Unavailable"),
        ("bug", 500, "InternalServerError"),
        ("refused", 409, "Conflict"),
    ],
)
def test_errors_are_answered_without_what_is_inside(
    client: TestClient, kind: str, status: int, code: str
) -> None:
    answer = client.get(f"/error/{kind}")
    assert answer.status_code == status
    assert answer.json()["error"]["code"] == code
    assert "secret" not in answer.text
    if kind == "refused":
        assert answer.headers["retry-after"] == "2"


class TestBodies:
    @pytest.fixture(autouse=True)
    def limits(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert guard.MOST_BODY_BYTES == 24 << 20
        assert guard.MOST_BYTES_AT_ONCE == 64 << 20
        assert bodies.MOST_AUDIO_BYTES == 20 << 20
        monkeypatch.setattr(guard, "MOST_BODY_BYTES", 1000)
        monkeypatch.setattr(guard, "MOST_BYTES_AT_ONCE", 1500)
        monkeypatch.setattr(bodies, "MOST_AUDIO_BYTES", 500)

    def test_a_declared_gigabyte_is_refused_unread(self) -> None:
        headers = [(b"host", b"localhost"), (b"content-length", b"1000000000")]
        start, _ = call(Guard(empty, ["localhost"]), {"headers": headers})
        assert start["status"] == 413

    @pytest.mark.parametrize("chunked", [False, True])
    @pytest.mark.parametrize(("length", "status"), [(1000, 200), (1001, 413)])
    def test_a_body_may_be_so_large(
        self, client: TestClient, length: int, status: int, chunked: bool
    ) -> None:
        content = iter([b"x" * 500, b"x" * (length - 500)]) if chunked else b"x" * length
        assert client.post("/size", content=content).status_code == status

    def test_all_bodies_together_may_be_so_large(self) -> None:
        """While one is worked on, another of the same size is not taken; afterwards it is."""
        scope = {"headers": [(b"host", b"localhost")]}
        part = {"type": "http.request", "body": b"x" * 900, "more_body": False}
        statuses: list[int] = []

        async def read(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            if not statuses:
                statuses.append(0)
                inner = asyncio.get_running_loop().run_in_executor(None, call, app, scope, part)
                statuses.append((await inner)[0]["status"])
            await Response("")(scope, receive, send)

        app = Guard(read, ["localhost"])
        (start, _) = call(app, scope, part)
        assert (start["status"], statuses[1]) == (200, 503)
        assert call(app, scope, part)[0]["status"] == 200

    def test_a_body_that_does_not_come_is_a_timeout(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(guard, "BODY_S", 0.0)

        async def read(scope: Any, receive: Any, send: Any) -> None:
            await Request(scope, receive).body()

        begun = {"type": "http.request", "body": b"x", "more_body": True}
        start, _ = call(Guard(read, ["localhost"]), {}, begun)
        assert start["status"] == 408

    def test_a_client_that_goes_away_is_no_error(self, caplog: pytest.LogCaptureFixture) -> None:
        async def read(scope: Any, receive: Any, send: Any) -> None:
            await Request(scope, receive).body()

        assert call(Guard(read, ["localhost"]), {}, {"type": "http.disconnect"}) == []
        assert caplog.messages == []

    def test_a_reader_may_have_less_patience(self) -> None:
        async def receive() -> dict[str, Any]:
            await asyncio.Event().wait()
            raise AssertionError

        request = Request({"type": "http", "headers": []}, receive)
        with pytest.raises(Refused) as refusal:
            asyncio.run(read_body(request, 100, within_s=0.0))
        assert refusal.value.status == 408

    @pytest.mark.parametrize(
        ("kind", "content"),
        [
            ("audio/wav", b"sound"),
            ("application/x-www-form-urlencoded", b"sound"),
            ("", b"sound"),
            ("no type at all; \xff", b"sound"),
        ],
    )
    def test_audio_is_the_body_whatever_it_is_called(
        self, client: TestClient, kind: str, content: bytes
    ) -> None:
        headers = {"Content-Type": kind.encode("latin-1")}
        answer = client.post("/audio", content=content, headers=headers)
        assert answer.json() == {"audio": "sound"}

    def test_or_the_file_of_a_form(self, client: TestClient) -> None:
        form = {"file": ("a.wav", b"sound", "text/html")}
        assert client.post("/audio", files=form).json() == {"audio": "sound"}
        answer = client.post("/audio", files=form, data={"locale": "en-us"})
        assert answer.json() == {"audio": "sound"}

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"sound",
            b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nsound\r\n--x--\r\n',
            b"--x\r\n\r\n\r\n--x--",
        ],
    )
    def test_a_form_without_a_file_is_400(self, client: TestClient, body: bytes) -> None:
        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        answer = client.post("/audio", content=body, headers=headers)
        assert answer.status_code == 400
        assert answer.json()["error"]["code"] == "BadRequest"

    def test_a_form_with_two_is_400_and_one_too_large_413(self, client: TestClient) -> None:
        two = [("a", ("a.wav", b"1")), ("b", ("b.wav", b"2"))]
        assert client.post("/audio", files=two).status_code == 400
        assert client.post("/audio", files={"a": ("a.wav", b"x" * 400)}).status_code == 413
        headers = {"Content-Type": "multipart/form-data"}
        assert client.post("/audio", content=b"", headers=headers).status_code == 400


def test_a_recording_in_memory_is_read_as_a_file_is(tmp_path: Path) -> None:
    from edge.audio.files import read_audio as read_file
    from edge.audio.utterance import utterance_of
    from edge.resources import demo_directory

    file = demo_directory() / "ada_right_phrase.flac"
    found, expected = to_utterance(file.read_bytes()), utterance_of(read_file(file))
    assert found.quality == expected.quality
    assert found.samples.tolist() == expected.samples.tolist()
    for damaged in (b"", b"RIFF", b"no sound", file.read_bytes()[:50]):
        with pytest.raises(AudioFormatError, match=r"^the recording[: ]"):
            to_utterance(damaged)
    with pytest.raises(AudioFormatError, match="more than the 1 s allowed"):
        to_utterance(file.read_bytes(), longest_s=1.0)


def test_the_whole_application_refuses_another_name(tmp_path: Path) -> None:
    http = HttpConfig(names="front.example, 192.168.7.7")
    context = make_context(tmp_path, None, Config(state_directory=tmp_path, http=http))
    client = client_of(context)
    statuses = {
        host: client.get("/nowhere", headers={"Host": host}).status_code
        for host in ("localhost", "front.example:443", "192.168.7.7", "evil.example")
    }
    close_context(context)
    assert statuses == {
        "localhost": 404, "front.example:443": 404, "192.168.7.7": 404, "evil.example": 421,
    }  # fmt: skip


@pytest.fixture
def hostname(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "Door.home.lan")


@pytest.mark.usefixtures("hostname")
def test_the_names_of_a_machine() -> None:
    assert own_names(HttpConfig(names="Front.example")) == [
        "localhost", "door.home.lan", "door", "door.local", "front.example",
    ]  # fmt: skip


@pytest.mark.parametrize("address", ["127.0.0.1", "192.168.1.5", "::1"])
def test_the_addresses_of_a_machine_are_what_it_is_told(address: str) -> None:
    found = own_addresses(address)
    assert found == list(dict.fromkeys(["127.0.0.1", "::1", address]))


def test_or_those_that_lead_out() -> None:
    assert own_addresses("0.0.0.0")[:2] == ["127.0.0.1", "::1"]  # noqa: S104
