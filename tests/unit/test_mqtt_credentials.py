"""Password and certificates for the broker, and what is said where connecting fails."""

from __future__ import annotations

import socket
import ssl
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from edge.config import DeviceConfig, MqttConfig, TlsConfig
from edge.errors import ConfigError
from edge.mqtt import MqttPublisher, Topics
from edge.mqtt.connection import (
    connect_failure,
    connect_refusal,
    disconnection,
    read_password,
    tls_context,
    tls_refusal,
)


def secret(folder: Path, content: bytes = b"open sesame\n", mode: int = 0o600) -> Path:
    file = folder / "mqtt-password"
    file.write_bytes(content)
    file.chmod(mode)
    return file


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o640, 0o440])
def test_a_closed_file_is_read(tmp_path: Path, mode: int) -> None:
    assert read_password(secret(tmp_path, mode=mode)) == "open sesame"
    assert read_password(None) is None


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"x", "x"),
        (b"x\r\n", "x"),
        (b" x ", " x "),
        ("Tür".encode(), "Tür"),
        (b"x" * 4096, "x" * 4096),
        (b"", None),
        (b"\n", None),
    ],
)
def test_one_line_of_text(tmp_path: Path, content: bytes, expected: str) -> None:
    assert read_password(secret(tmp_path, content)) == expected


def test_the_mark_that_windows_puts_before_a_text_is_no_part_of_it(tmp_path: Path) -> None:
    assert read_password(secret(tmp_path, content=b"\xef\xbb\xbfopen sesame\r\n")) == "open sesame"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"one\ntwo\n", "one line only"),
        (b"a\0b", "one line only"),
        (b"x" * 4097, "one line only"),
        (b"\xff\xfe", "not UTF-8"),
    ],
)
def test_other_content_is_refused_and_not_shown(
    tmp_path: Path, content: bytes, expected: str
) -> None:
    with pytest.raises(ConfigError, match=expected) as caught:
        read_password(secret(tmp_path, content))
    assert "two" not in str(caught.value)
    assert "xxx" not in str(caught.value)


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602, 0o666])
def test_a_file_that_is_open_to_everyone_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(ConfigError, match="chmod o-rwx") as caught:
        read_password(secret(tmp_path, mode=mode))
    assert "sesame" not in str(caught.value)


def test_absent_or_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_password(tmp_path / "absent")
    with pytest.raises(ConfigError, match="not a regular file"):
        read_password(tmp_path)


def test_a_bare_name_is_a_systemd_credential(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret(tmp_path, mode=0o400)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert read_password(Path("mqtt-password")) == "open sesame"
    for other in ("other", "/a/mqtt-password"):
        with pytest.raises(ConfigError, match="No such file"):
            read_password(Path(other))
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    with pytest.raises(ConfigError, match="No such file"):
        read_password(Path("mqtt-password"))


def test_the_publisher_refuses_at_once(tmp_path: Path) -> None:
    open_file = secret(tmp_path, mode=0o644)
    settings = MqttConfig(username="door", password_file=open_file)
    with pytest.raises(ConfigError, match="chmod"):
        MqttPublisher(settings, DeviceConfig())
    MqttPublisher(MqttConfig(enabled=False, password_file=open_file), DeviceConfig()).close()


def test_tls_verifies(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tls_context(TlsConfig()) is None
    context = ssl.create_default_context()
    # As an older OpenSSL begins, and as a newer Python does.
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    flags = context.verify_flags & ~ssl.VERIFY_X509_STRICT
    context.verify_flags = flags | ssl.VERIFY_X509_STRICT
    monkeypatch.setattr(ssl, "create_default_context", lambda cafile: context)
    assert tls_context(TlsConfig(enabled=True)) is context
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.verify_flags == flags


def pem(folder: Path, name: str, passphrase: bytes | None = None) -> TlsConfig:
    """A certificate signed by itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    today = datetime.now(timezone.utc)
    made = x509.CertificateBuilder(
        subject, subject, key.public_key(), 1, today, today + timedelta(days=1)
    ).sign(key, hashes.SHA256())
    closed = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    files = folder / f"{name}.pem", folder / f"{name}.key"
    files[0].write_bytes(made.public_bytes(Encoding.PEM))
    files[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, closed))
    return TlsConfig(enabled=True, ca_file=files[0], cert_file=files[0], key_file=files[1])


def test_certificates(tmp_path: Path) -> None:
    good, other = pem(tmp_path, "good"), pem(tmp_path, "other")
    context = tls_context(good)
    assert context is not None
    assert context.cert_store_stats()["x509"] == 1  # this authority, and nobody else
    broken = tmp_path / "broken.pem"
    broken.write_text("nothing")
    why = "not a matching, unencrypted PEM file"
    own = "mqtt.tls.cert_file or mqtt.tls.key_file"
    locked = pem(tmp_path, "locked", b"sesame")
    for wrong, file, setting, reason in (
        (replace(good, ca_file=tmp_path / "absent"), "absent", "mqtt.tls.ca_file",
         "No such file or directory"),
        (replace(good, ca_file=broken), "broken.pem", "mqtt.tls.ca_file", why),
        (replace(good, cert_file=broken), "broken.pem", own, why),
        (replace(good, key_file=other.key_file), "good.pem", own, why),
        (locked, "locked.pem", own, why),  # and nobody is asked for its passphrase
        (replace(good, ca_file=Path("a\0b")), "a\0b", "mqtt.tls.ca_file", "cannot be read"),
    ):  # fmt: skip
        with pytest.raises(ConfigError) as caught:
            tls_context(wrong)
        place = file if "\0" in file else tmp_path / file
        assert str(caught.value) == (
            f"{place}: {setting} cannot be used ({reason}); check its name, content and permissions"
        )


def alert(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, "alert")
    error.reason = reason
    return error


OWN = TlsConfig(enabled=True, cert_file=Path("own.pem"), key_file=Path("own.key"))


@pytest.mark.parametrize(
    ("error", "tls", "said"),
    [
        (alert("TLSV13_ALERT_CERTIFICATE_REQUIRED"), TlsConfig(enabled=True),
         "it wants a certificate of this device; set mqtt.tls.cert_file and mqtt.tls.key_file"),
        (alert("SSL/TLS_ALERT_HANDSHAKE_FAILURE"), TlsConfig(enabled=True),
         ("it refused the TLS handshake and probably wants a certificate of this device; "
          "set mqtt.tls.cert_file and mqtt.tls.key_file")),
        (alert("TLSV1_ALERT_UNKNOWN_CA"), OWN,
         ("it does not accept this device's certificate (unknown ca); "
          "check mqtt.tls.cert_file, and that the broker trusts who signed it")),
        (alert("WRONG_VERSION_NUMBER"), OWN, None),
        (alert("TLSV1_ALERT_INTERNAL_ERROR"), TlsConfig(enabled=True), None),
        (ConnectionResetError(), TlsConfig(enabled=True), None),
        (None, TlsConfig(enabled=True), None),
    ],
)  # fmt: skip
def test_what_is_said_of_this_devices_certificate(
    error: Exception | None, tls: TlsConfig, said: str | None
) -> None:
    assert tls_refusal(error, tls) == said
    if error is not None and said is not None:
        assert connect_failure(error, MqttConfig(tls=tls)) == said


UNTRUSTED = ssl.SSLCertVerificationError(1, "failed")
UNTRUSTED.verify_message = "self-signed certificate."


@pytest.mark.parametrize(
    ("error", "tls", "said"),
    [
        (UNTRUSTED, True, "its certificate is not trusted (self-signed certificate); check"),
        (ssl.SSLError(1, "wrong version"), True, "the TLS handshake failed; check mqtt.port"),
        (ConnectionResetError(104, "Connection reset by peer"), True, "the TLS handshake failed"),
        (ConnectionResetError(104, "Connection reset by peer"), False,
         "connection reset by peer; check the network and mqtt.host"),
        (socket.gaierror(-2, "Name not known"), False, "its name cannot be resolved; check mqtt."),
        (UnicodeError("label too long"), False, "its name cannot be resolved; check mqtt.host"),
        (TimeoutError(110, "timed out"), False, "it does not answer; check mqtt.host, the network"),
        (ConnectionRefusedError(111, "Connection refused"), False, "nothing listens there; check"),
        (OSError(101, "Network is unreachable"), False,
         "network is unreachable; check the network and mqtt.host"),
        (ValueError("Invalid host."), False, "valueError; check the network and mqtt.host"),
    ],
)  # fmt: skip
def test_what_is_said_where_connecting_fails(error: Exception, tls: bool, said: str) -> None:
    assert connect_failure(error, MqttConfig(tls=TlsConfig(enabled=tls))).startswith(said)


@pytest.mark.parametrize(
    ("code", "user", "said"),
    [
        (134, None, "it wants a user name (Bad user name or password); set mqtt.username and mqtt"),
        (135, None, "it wants a user name (Not authorized); set mqtt.username and mqtt.password_f"),
        (134, "door", "it refused user 'door' or the password (Bad user name or password); check"),
        (135, "door", "it refused user 'door' or the password (Not authorized); check"),
        (
            133,
            None,
            "it refused the client's name (Client identifier not valid); set another mqtt.",
        ),
        (137, None, "it refused the connection (Server busy); see the broker's log"),
        (137, "door", "it refused the connection (Server busy); see the broker's log"),
    ],
)
def test_what_is_said_where_the_broker_refuses(code: int, user: str | None, said: str) -> None:
    reason = ReasonCode(PacketTypes.CONNACK, identifier=code)
    assert connect_refusal(reason, MqttConfig(username=user)).startswith(said)


def test_what_is_said_where_the_broker_ends_it() -> None:
    taken, shut = (ReasonCode(PacketTypes.DISCONNECT, identifier=code) for code in (142, 139))
    assert disconnection(taken).startswith("another client connected under the same name; give")
    assert disconnection(shut) == "the broker ended the connection (Server shutting down)"


@pytest.mark.parametrize("fields", [{"state": "open"}, {"level": float("nan")}])
def test_status_fields_that_cannot_be(fields: dict[str, object]) -> None:
    subject = MqttPublisher(MqttConfig(), DeviceConfig())
    with pytest.raises(ValueError, match=r"state|JSON"):
        subject.set_status(**fields)
    with pytest.raises(TypeError):
        subject.set_status(when=object())
    subject.close()


def test_topics() -> None:
    topics = Topics("home/voice", "hall")
    assert topics.status == "home/voice/hall/status"
    assert topics.decision == "home/voice/hall/decision"
    assert topics.below("command/result") == "home/voice/hall/command/result"
    assert topics.suffix("home/voice/hall/set/x") == "set/x"
    for outside in ("home/voice/hall", "home/voice/hall2/set/x", "x/home/voice/hall/set", ""):
        assert topics.suffix(outside) == ""
