"""The HTTP server's certificate: made, kept, renewed, or the owner's."""

from __future__ import annotations

import ipaddress
import ssl
import stat
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from edge.cli.main import main
from edge.config import HttpConfig
from edge.crypto.certificates import RENEW_BEFORE, fingerprint_of, new_certificate, time_left
from edge.errors import ConfigError, EnvironmentFault
from edge.web.certificate import ServerCertificate
from tests.unit.commands import Capture, run_json

NAMES = ["localhost", "door", "door.local", "127.0.0.1"]
HTTP = HttpConfig(address="192.168.1.5", names="front.example, 192.168.7.7")


@pytest.fixture(autouse=True)
def hostname(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "door")


def made(content: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificate(content)


def test_one_of_its_own_is_made_and_kept(tmp_path: Path) -> None:
    first = ServerCertificate(HTTP, tmp_path)
    file = tmp_path / "http.pem"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    found = made(file.read_bytes())
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [
        "localhost", "door", "door.local", "front.example",
    ]  # fmt: skip
    assert names.get_values_for_type(x509.IPAddress) == [
        ipaddress.ip_address(text) for text in ("192.168.7.7", "127.0.0.1", "::1", "192.168.1.5")
    ]
    key = found.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"
    assert found.not_valid_after_utc - found.not_valid_before_utc <= timedelta(days=825)
    assert ServerCertificate(HTTP, tmp_path).fingerprint == first.fingerprint
    assert first.fingerprint == found.fingerprint(hashes.SHA256()).hex(":")


def test_nothing_older_than_tls_1_2(tmp_path: Path) -> None:
    context = ServerCertificate(HTTP, tmp_path).context
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION


@pytest.mark.parametrize(
    ("days", "renewed"), [(819 - 30, False), (820 - 29, True), (900, True), (0, False)]
)
def test_it_is_renewed_before_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int, renewed: bool
) -> None:
    began = datetime.now(timezone.utc) - timedelta(days=days)
    with monkeypatch.context() as past:
        past.setattr("edge.crypto.certificates.time.time", began.timestamp)
        (tmp_path / "http.pem").write_bytes(new_certificate(NAMES))
    file = tmp_path / "http.pem"
    former = made(file.read_bytes())
    assert (time_left(former) < RENEW_BEFORE) == renewed
    running = ServerCertificate(HttpConfig(), tmp_path)
    assert (running.fingerprint != fingerprint_of(former)) == renewed
    assert time_left(made(file.read_bytes())) > timedelta(days=800) or not renewed


def test_it_is_made_anew_for_a_name_that_it_lacks(tmp_path: Path) -> None:
    former = ServerCertificate(HttpConfig(), tmp_path).fingerprint
    now = ServerCertificate(HttpConfig(names="front.example"), tmp_path).fingerprint
    assert now != former
    # What it has besides is no reason.
    assert ServerCertificate(HttpConfig(), tmp_path).fingerprint == now


def test_it_is_made_anew_for_an_address_that_is_set_and_not_for_every(tmp_path: Path) -> None:
    every = HttpConfig(address="0.0.0.0")  # noqa: S104 (what is tested)
    former = ServerCertificate(every, tmp_path).fingerprint
    assert ServerCertificate(every, tmp_path).fingerprint == former
    there = HttpConfig(address="192.0.2.9")
    now = ServerCertificate(there, tmp_path).fingerprint
    assert now != former
    assert ServerCertificate(there, tmp_path).fingerprint == now


def test_a_running_server_renews_and_takes_what_is_put_in_its_place(tmp_path: Path) -> None:
    running = ServerCertificate(HttpConfig(), tmp_path)
    first = running.fingerprint
    running.refresh()
    assert running.fingerprint == first
    (tmp_path / "http.pem").unlink()
    running.refresh()
    second = running.fingerprint
    assert second != first


def owners(folder: Path, mode: int = 0o600) -> tuple[Path, Path, Path]:
    """A certificate with its key in one file, and in two."""
    content = new_certificate(["front.example"])
    both, cert, key = folder / "both.pem", folder / "cert.pem", folder / "key.pem"
    at = content.index(b"-----BEGIN CERTIFICATE")
    for file, part in ((both, content), (cert, content[at:]), (key, content[:at])):
        file.write_bytes(part)
        file.chmod(mode)
    cert.chmod(0o644)
    return both, cert, key


def test_the_owners_is_used_and_none_made(tmp_path: Path) -> None:
    both, cert, key = owners(tmp_path)
    one = ServerCertificate(HttpConfig(cert_file=both), tmp_path / "state")
    two = ServerCertificate(HttpConfig(cert_file=cert, key_file=key), tmp_path / "state")
    assert one.fingerprint == two.fingerprint
    assert not (tmp_path / "state").exists()


def test_the_owners_renewed_one_is_used_and_a_broken_one_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    both, _, _ = owners(tmp_path)
    running = ServerCertificate(HttpConfig(cert_file=both), tmp_path)
    first = running.fingerprint
    both.write_bytes(new_certificate(["front.example"]))
    running.refresh()
    second = running.fingerprint
    assert second != first
    both.write_bytes(b"half of it")
    running.refresh()
    assert running.fingerprint == second
    assert "the certificate stays as it is" in caplog.messages[-1]
    both.unlink()
    running.refresh()
    assert running.fingerprint == second


def test_the_key_may_be_a_credential(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, cert, key = owners(tmp_path, 0o400)
    folder = tmp_path / "credentials"
    folder.mkdir()
    key.rename(folder / "http-key")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    http = HttpConfig(cert_file=cert, key_file=Path("http-key"))
    assert ServerCertificate(http, tmp_path).fingerprint


@pytest.mark.parametrize("fault", ["absent", "empty", "text", "other key", "no key", "encrypted"])
def test_a_bad_one_is_said_in_a_line(tmp_path: Path, fault: str) -> None:
    both, cert, key = owners(tmp_path)
    http = HttpConfig(cert_file=cert, key_file=key)
    if fault == "absent":
        cert.unlink()
    elif fault in ("empty", "text"):
        cert.write_text("" if fault == "empty" else "no certificate")
    elif fault == "other key":
        key.write_bytes(new_certificate(["other"]))
    elif fault == "no key":
        http = HttpConfig(cert_file=cert)
    else:
        key.write_bytes(_encrypted(both.read_bytes()))
    with pytest.raises(ConfigError) as error:
        ServerCertificate(http, tmp_path)
    text = str(error.value)
    assert text.startswith(f"{cert}: cannot be used (")
    assert text.endswith("check http.cert_file and http.key_file")
    assert "\n" not in text


def _encrypted(content: bytes) -> bytes:
    key = serialization.load_pem_private_key(content, None)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )


@pytest.mark.parametrize("one_file", [True, False])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, one_file: bool) -> None:
    both, cert, key = owners(tmp_path, 0o644)
    http = HttpConfig(cert_file=both) if one_file else HttpConfig(cert_file=cert, key_file=key)
    with pytest.raises(ConfigError, match="is open to other users"):
        ServerCertificate(http, tmp_path)


def test_a_file_of_its_own_that_is_damaged_or_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "http.pem").write_text("damaged")
    with pytest.raises(EnvironmentFault, match="remove it, and another one is made"):
        ServerCertificate(HttpConfig(), tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentFault, match="the certificate cannot be kept"):
        ServerCertificate(HttpConfig(), tmp_path / "file" / "state")


@pytest.mark.usefixtures("config")
def test_the_command_shows_its_fingerprint(capsys: Capture, tmp_path: Path) -> None:
    code, shown = run_json(capsys, "serve", "--fingerprint")
    assert code == 0
    running = ServerCertificate(HttpConfig(), tmp_path / "state")
    assert shown == {
        "fingerprint": running.fingerprint,
        "ends": running.ends.date().isoformat(),
    }
    assert main(["serve", "--fingerprint"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"SHA-256 {running.fingerprint}"
    assert [file.name for file in (tmp_path / "state").iterdir()] == ["http.pem"]
