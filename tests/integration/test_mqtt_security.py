"""Passwords and certificates, right and wrong, with a real broker that wants them."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import pytest

from edge.config import MqttConfig, TlsConfig
from edge.errors import ConfigError
from edge.mqtt import MqttPublisher
from tests.integration.broker import Authority, Broker, Subscriber
from tests.integration.home import DEVICE, decision, ids, publisher
from tests.integration.waiting import settled

LOGIN = ("door", "open sesame 42")

pytestmark = pytest.mark.usefixtures("soon_again")


def password(folder: Path, text: str) -> Path:
    file = folder / "password"
    file.write_text(text + "\n")
    file.chmod(0o600)
    return file


def test_user_and_password(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    file = password(tmp_path, LOGIN[1])
    with (
        Broker(tmp_path / "broker", login=LOGIN) as broker,
        Subscriber(broker) as listener,
        publisher(broker.port, username=LOGIN[0], password_file=file) as subject,
    ):
        made = decision()
        subject.publish_decision(made)
        listener.wait_for("/decision")
        assert ids(listener) == [made.id]
    assert LOGIN[1] not in caplog.text


def test_wrong_password_is_said_once_and_never_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    file = password(tmp_path, "a wrong one")
    with Broker(tmp_path / "broker", login=LOGIN) as broker:
        wrong = {"username": LOGIN[0], "password_file": file, "reconnect_max_s": 1.0}
        with publisher(broker.port, **wrong) as subject:
            assert settled(lambda: caplog.text.count("refused user") >= 3)
            assert not subject.connected
    logged = [each.message for each in caplog.records if each.levelno > logging.DEBUG]
    assert len(logged) == 1
    assert "refused user 'door' or the password" in logged[0]
    assert "mqtt.password_file" in logged[0]
    assert "a wrong one" not in caplog.text


def test_broker_that_wants_a_user(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Broker(tmp_path / "broker", login=LOGIN) as broker, publisher(broker.port):
        assert settled(lambda: "it wants a user name" in caplog.text)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def test_tls_with_password(tmp_path: Path, authority: Authority) -> None:
    file = password(tmp_path, LOGIN[1])
    secured = TlsConfig(enabled=True, ca_file=authority.ca_file)
    with (
        Broker(tmp_path / "broker", login=LOGIN, tls=authority) as broker,
        Subscriber(broker) as listener,
        publisher(broker.port, tls=secured, username=LOGIN[0], password_file=file) as subject,
    ):
        made = [decision() for _ in range(20)]
        for one in made:
            subject.publish_decision(one)
        listener.wait_for("/decision", lambda got: got["id"] == made[-1].id)
        assert ids(listener) == [one.id for one in made]
        subject.close()
        listener.wait_for("/status", lambda status: status["state"] == "offline")


def test_a_stranger_s_certificate_is_refused(
    tmp_path: Path, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    other = Authority(tmp_path / "other")
    secured = TlsConfig(enabled=True, ca_file=other.ca_file)
    with (
        Broker(tmp_path / "broker", tls=authority) as broker,
        publisher(broker.port, tls=secured) as subject,
    ):
        assert settled(lambda: "its certificate is not trusted" in caplog.text)
        assert not subject.connected


def test_a_certificate_for_another_name_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    elsewhere = Authority(tmp_path / "authority", name="elsewhere.example")
    secured = TlsConfig(enabled=True, ca_file=elsewhere.ca_file)
    with (
        Broker(tmp_path / "broker", tls=elsewhere) as broker,
        publisher(broker.port, tls=secured) as subject,
    ):
        assert settled(lambda: "its certificate is not trusted" in caplog.text)
        assert not subject.connected


@pytest.mark.parametrize("older", ["", "tls_version tlsv1.2"])
def test_own_certificate(
    tmp_path: Path, authority: Authority, caplog: pytest.LogCaptureFixture, older: str
) -> None:
    # Mosquitto's oldest TLS is 1.2 unless told otherwise, and in that the refusal comes sooner.
    options = f"cafile {authority.ca_file}\nrequire_certificate true\n{older}"
    secured = TlsConfig(
        enabled=True,
        ca_file=authority.ca_file,
        cert_file=authority.cert_file,
        key_file=authority.key_file,
    )
    with Broker(tmp_path / "broker", tls=authority, options=options) as broker:
        with publisher(broker.port, tls=secured) as subject:
            assert settled(lambda: subject.connected)
        without = dataclasses.replace(secured, cert_file=None, key_file=None)
        with publisher(broker.port, tls=without) as subject:
            assert settled(lambda: "cannot use the broker" in caplog.text)
            assert not subject.connected
        (said,) = {line for line in caplog.messages if "cannot use the broker" in line}
        assert "wants a certificate of this device; set mqtt.tls.cert_file and" in said
        stranger = Authority(tmp_path / "stranger")
        another = dataclasses.replace(
            secured, cert_file=stranger.cert_file, key_file=stranger.key_file
        )
        caplog.clear()
        with publisher(broker.port, tls=another) as subject:
            assert settled(lambda: "cannot use the broker" in caplog.text)
            assert not subject.connected
        assert "does not accept this device's certificate (unknown ca); check" in caplog.text


def test_tls_where_there_is_none_and_none_where_there_is(
    tmp_path: Path, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    with Broker(tmp_path / "plain") as plain, Broker(tmp_path / "tls", tls=authority) as secured:
        with publisher(plain.port, tls=TlsConfig(enabled=True, ca_file=authority.ca_file)):
            assert settled(lambda: "that the broker offers TLS there" in caplog.text)
        with publisher(secured.port):
            assert settled(lambda: "whether the broker wants TLS" in caplog.text)


def test_certificate_files_that_cannot_be_used(tmp_path: Path, authority: Authority) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("nothing")
    for tls, setting in (
        (TlsConfig(enabled=True, ca_file=tmp_path / "absent.pem"), "mqtt.tls.ca_file"),
        (TlsConfig(enabled=True, ca_file=broken), "mqtt.tls.ca_file"),
        (
            TlsConfig(
                enabled=True,
                ca_file=authority.ca_file,
                cert_file=broken,
                key_file=authority.key_file,
            ),
            "mqtt.tls.cert_file",
        ),
    ):
        with pytest.raises(ConfigError, match=setting) as caught:
            MqttPublisher(MqttConfig(tls=tls), DEVICE)
        assert "\n" not in str(caught.value)
