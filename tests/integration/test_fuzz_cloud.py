"""A fuzzer against the running server: whatever it is sent, it answers in JSON and never by 500.

The fuzzer makes requests from the documents, right ones and wrong ones.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from edge.cloud_api.openapi import SERVED, Served
from edge.store import open_store
from edge.types import ProfileKind
from tests.integration.http_server import ServerProcess
from tests.unit.cloud import said
from tests.unit.stores import make_sample

pytestmark = [pytest.mark.slow, pytest.mark.long]

EXAMPLES = int(os.environ.get("EDGE_VOICE_FUZZ_EXAMPLES", "25"))
SETTINGS = "lockout:\n  enabled: false\n"
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_headers_conformance,response_schema_conformance,unsupported_method,"
    "allow_header_conformance"
)
MOST_MB = 40.0
"""How much larger the process may become meanwhile."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    server = ServerProcess(tmp_path_factory.mktemp("fuzzed"), settings=SETTINGS)
    try:
        yield server
    finally:
        server.stop()


def memory_mb(server: ServerProcess) -> float:
    return float(psutil.Process(server.process.pid).memory_info().rss) / 1e6


def enrolled(server: ServerProcess) -> list[str]:
    """Ids of people of every kind; the fuzzer deletes some."""
    made = []
    with open_store(server.state) as store:
        for kind, model in ((ProfileKind.PHRASE, "5" * 64), (ProfileKind.VOICE, "")):
            for _ in range(3):
                profile = store.create(f"Person {uuid.uuid4()}", kind, required=1.0)
                sample = make_sample(1, phrase=kind is ProfileKind.PHRASE, seconds=2.0)
                store.add_sample(profile.id, sample, "5" * 64, model)
                made.append(profile.id)
    return made


def with_ids(served: Served, ids: list[str]) -> dict[str, Any]:
    """A document whose ids are often those of somebody."""
    document = served.document()
    known = {"anyOf": [{"enum": ids}, {"type": "string", "format": "uuid"}]}
    for calls in document["paths"].values():
        for call in calls.values():
            for parameter in call["parameters"]:
                if parameter["name"].endswith(("ProfileId", "ProfileIds", "profileId")):
                    parameter["schema"] = known
    return document


@pytest.mark.parametrize("served", SERVED, ids=lambda served: served.name)
def test_no_request_is_answered_by_500(
    tmp_path: Path, server: ServerProcess, served: Served
) -> None:
    pytest.importorskip("schemathesis")
    people = enrolled(server)
    key = server.new_key(name=served.name)
    # Warmed up: what the models take is taken once.
    status, _, _ = server.request("/spid/v1.0/identify", key=key, body=said("ada_enroll_1"))
    assert status == 400
    before_mb = memory_mb(server)
    document = tmp_path / "openapi.json"
    document.write_text(json.dumps(with_ids(served, people)))
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("schemathesis")), "run", str(document),
            "--url", f"{server.url}{served.route.prefix}",
            "--header", f"Ocp-Apim-Subscription-Key: {key}",
            "--checks", CHECKS, "--max-examples", str(EXAMPLES), "--seed", "1",
            "--max-response-time", "20", "--request-timeout", "60", "--no-color",
            "--suppress-health-check", "all",
        ],
        check=False, timeout=1200, capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:]
    assert memory_mb(server) < before_mb + MOST_MB
    log = server.log.read_text()
    assert "unexpected" not in log
