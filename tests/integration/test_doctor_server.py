"""The doctor at the HTTP server: its unit, its certificate, its keys."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from edge.config import Config, HttpConfig
from edge.crypto.certificates import new_certificate
from edge.doctor import State, server, storage
from edge.doctor.context import Context
from edge.store import open_store
from edge.store.api_keys import ApiKeys, ApiRole
from tests.integration.doctor import codes, no_programs, program, the

DAY_S = 86_400.0


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    no_programs(tmp_path, monkeypatch)
    http = HttpConfig(address="192.168.1.5")
    (tmp_path / "state").mkdir(mode=0o700)
    return Context(Config(state_directory=tmp_path / "state", http=http))


def test_for_this_machine_alone_nothing_is_checked(tmp_path: Path) -> None:
    assert codes(server.check(Context(Config(state_directory=tmp_path)))) == ["http_server.here"]


@pytest.mark.parametrize(
    ("active", "code"),
    [("active", "http_server.running"), ("inactive", "http_server.not_running")],
)
def test_the_unit(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, active: str, code: str
) -> None:
    said = f"echo LoadState=loaded; echo ActiveState={active}"
    asked = f'case "$*" in *edge-voice-serve.service*) {said};; esac'
    monkeypatch.setenv("PATH", str(program(tmp_path / "bin", "systemctl", asked)))
    assert codes(server.check(context)) == [code, "http_certificate.absent"]
    found = the(code, server.check(context))
    assert found.state is (State.GREEN if active == "active" else State.YELLOW)


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize(
    ("age_days", "code"),
    [
        (0, "http_certificate.valid"),
        (789, "http_certificate.valid"),
        (791, "http_certificate.ends"),
        (821, "http_certificate.ended"),
    ],
)
def test_the_certificate(
    context: Context,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    age_days: int,
    code: str,
    own: bool,
) -> None:
    made_at = time.time() - age_days * DAY_S
    with monkeypatch.context() as past:
        past.setattr("edge.crypto.certificates.time.time", lambda: made_at)
        content = new_certificate(["door"])
    file = tmp_path / "state" / "http.pem" if own else tmp_path / "own.pem"
    file.write_bytes(content)
    if not own:
        http = replace(context.config.http, cert_file=file)
        context = Context(replace(context.config, http=http))
    assert codes(server.check(context)) == [code]
    found = the(code, server.check(context))
    if "valid" not in code:
        assert ("http.cert_file" in found.remedy) == (not own)


def test_a_certificate_that_is_none(context: Context, tmp_path: Path) -> None:
    (tmp_path / "state" / "http.pem").write_text("nothing")
    assert codes(server.check(context)) == ["http_certificate.unreadable"]
    absent = replace(context.config.http, cert_file=tmp_path / "absent")
    absent_context = Context(replace(context.config, http=absent))
    assert codes(server.check(absent_context)) == ["http_certificate.unreadable"]


def test_a_server_without_a_key_serves_nobody(context: Context) -> None:
    with open_store(context.config.state_path) as store:
        assert "http_keys.none" in codes(storage.check(context))
        here = Context(replace(context.config, http=HttpConfig()))
        assert "http_keys.none" not in codes(storage.check(here))
        ApiKeys(store).new("Phone", ApiRole.MANAGE)
    assert "http_keys.none" not in codes(storage.check(context))
