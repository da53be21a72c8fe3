"""The cloud's API on the wire, in the ways of clients that a test client in the process has not."""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.store import open_store
from edge.store.api_keys import ApiRole
from edge.types import Profile
from edge.web.callers import HEADER
from tests.integration.http_server import ServerProcess, answer_on
from tests.integration.waiting import PATIENCE, settled
from tests.unit.cloud import V1, said
from tests.unit.voices import enrolled, the_engine


@pytest.fixture(scope="module")
def ada() -> Profile:
    return enrolled(the_engine(), "ada")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    server = ServerProcess(tmp_path_factory.mktemp("wire"), "--tls")
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def key(server: ServerProcess) -> str:
    return server.new_key(ApiRole.MANAGE)


@pytest.fixture(scope="module")
def verify(server: ServerProcess, ada: Profile) -> str:
    """The path that verifies Ada, whom the door has enrolled."""
    with open_store(server.state) as store:
        profile = store.create(
            "Ada", ada.kind, required=3.0, samples=ada.samples,
            speaker_model=ada.speaker_model, phrase_model=ada.phrase_model,
        )  # fmt: skip
    return f"{V1}/verify?verificationProfileId={profile.id}"


def test_a_client_that_waits_to_be_told_to_go_on(
    server: ServerProcess, key: str, verify: str
) -> None:
    body = said("ada_right_phrase")
    head = (
        f"POST {verify} HTTP/1.1\r\nHost: localhost\r\n{HEADER}: {{key}}\r\n"
        f"Content-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n"
    )
    with server.connect() as connection:
        connection.sendall(head.format(key=key).encode())
        told = connection.recv(1024)
        assert told.startswith(b"HTTP/1.1 100 ")
        connection.sendall(body)
        status, _, answer = answer_on(connection)
    assert (status, json.loads(answer)["result"]) == (200, "Accept")
    # A wrong key is told so, and need not send what it has.
    with server.connect() as connection:
        connection.sendall(head.format(key="0" * 32).encode())
        status, _, answer = answer_on(connection)
    assert (status, json.loads(answer)["error"]["code"]) == (401, "Unspecified")


def test_a_client_that_sends_a_file_in_chunks_and_polls(
    server: ServerProcess, key: str, tmp_path: Path
) -> None:
    """As the standard library of Python does, with which the first samples were written."""
    file = tmp_path / "ada.wav"
    file.write_bytes(said("ada_enroll_1"))
    headers = {HEADER: key, "Content-Type": "application/octet-stream"}

    def send(method: str, url: str, body: object = None) -> http.client.HTTPResponse:
        parsed = urllib.parse.urlparse(url)
        connection = http.client.HTTPSConnection(
            parsed.netloc, context=server.trusting(), timeout=PATIENCE
        )
        path = f"{parsed.path}?{parsed.query}"
        connection.request(method, path, body, headers)  # type: ignore[arg-type]
        return connection.getresponse()

    base = f"https://localhost:{server.port}{V1}/identificationProfiles"
    with send("POST", base, '{"locale": "en-us"}') as answer:
        profile_id = json.loads(answer.read())["identificationProfileId"]
    with file.open("rb") as body:
        begun = send("POST", f"{base}/{profile_id}/enroll?shortAudio=True", body)
    assert begun.status == 202
    location = begun.headers["Operation-Location"]
    assert location.startswith(f"https://localhost:{server.port}{V1}/operations/")

    def succeeded() -> bool:
        with send("GET", location) as answer:
            return bool(json.loads(answer.read())["status"] == "succeeded")

    assert settled(succeeded)


def test_a_client_that_is_curl(
    server: ServerProcess, key: str, verify: str, tmp_path: Path
) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("no curl: install the Debian package curl")
    file = tmp_path / "ada.wav"
    file.write_bytes(said("ada_right_phrase"))
    for how in (
        ["--data-binary", f"@{file}"],
        ["--form", f"audio=@{file}"],
        ["--upload-file", str(file), "--request", "POST"],
    ):
        done = subprocess.run(
            [
                curl, "--silent", "--show-error", "--cacert", str(server.state / "http.pem"),
                "--header", f"{HEADER}: {key}", *how, f"https://localhost:{server.port}{verify}",
            ],
            check=True, capture_output=True, timeout=PATIENCE,
        )  # fmt: skip
        assert json.loads(done.stdout)["result"] == "Accept"
