"""The broker's password: where it is found, and when it is refused."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from edge.config import DeviceConfig, MqttConfig, TlsConfig
from edge.errors import ConfigError
from edge.mqtt import MqttPublisher, Topics
from edge.mqtt.connection import read_password, tls_context


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
        (b"", None),
        (b"\n", None),
    ],
)
def test_one_line_of_text(tmp_path: Path, content: bytes, expected: str) -> None:
    assert read_password(secret(tmp_path, content)) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"one\ntwo\n", "one line only"),
        (b"a\0b", "one line only"),
        (b"x" * 5000, "one line only"),
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


def test_tls_verifies() -> None:
    assert tls_context(TlsConfig()) is None
    context = tls_context(TlsConfig(enabled=True))
    assert context is not None
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


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
