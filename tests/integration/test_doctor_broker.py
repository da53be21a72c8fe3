"""The doctor at the broker: every step, right and wrong, with a real mosquitto."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge.config import Config, DeviceConfig, HomeAssistantConfig, MqttConfig, TlsConfig
from edge.doctor import Finding, State, service
from edge.doctor.broker import check
from edge.doctor.context import Context, Unit
from edge.mqtt import MqttPublisher
from edge.mqtt.discovery import announcement
from tests.integration.broker import Authority, Broker, Subscriber, find, free_port
from tests.integration.doctor import codes, the
from tests.integration.waiting import PATIENCE, settled

LOGIN = ("door", "open sesame 42")
BEFORE_LOGIN = ["broker_name.found", "broker_connect.reached", "broker_tls.local"]
WELCOME = [*BEFORE_LOGIN, "broker_login.accepted"]


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes is waited for, however busy the machine is."""
    monkeypatch.setattr("edge.mqtt.session._ANSWER_S", PATIENCE)
    monkeypatch.setattr("edge.doctor.broker._RETURN_S", PATIENCE)


def look(port: int, **settings: Any) -> list[Finding]:
    mqtt = MqttConfig(port=port, **settings)
    return list(check(Context(Config(mqtt=mqtt, device=DeviceConfig(id="hall")))))


def password(folder: Path, text: str = LOGIN[1]) -> Path:
    file = folder / "password"
    file.write_text(text + "\n")
    file.chmod(0o600)
    return file


def test_all_is_well_and_nobody_notices(tmp_path: Path) -> None:
    with Broker(tmp_path) as broker, Subscriber(broker) as home:
        found = look(broker.port)
        assert codes(found) == [*WELCOME, "broker_publish.taken", "broker_receive.received"]
        assert {finding.state for finding in found} == {State.GREEN}
        home.wait_for("/doctor")
    # One message that nothing reads, and nothing that stays.
    assert [(each.topic, each.retain) for each in home.messages] == [
        ("edge-voice/hall/doctor", False)
    ]
    assert set(home.messages[0].json) == {"doctor"}
    with Broker(tmp_path / "again") as broker:
        found = look(broker.port, protocol="3.1.1")
        assert "MQTT 3.1.1" in the("broker_login.accepted", found).found
        assert codes(found)[-1] == "broker_receive.received"


def test_nothing_is_published_at_all() -> None:
    assert codes(look(1, enabled=False)) == ["broker.off"]
    assert list(service.check_status(Context())) == []


def test_what_the_service_says_is_remembered(tmp_path: Path) -> None:
    with Broker(tmp_path) as broker, Subscriber(broker, contract=False) as home:
        status = {"state": "online", "microphone": "listening"}
        home._client.publish("edge-voice/hall/status", json.dumps(status), qos=1, retain=True)
        home.wait_for("/status")
        context = Context(Config(mqtt=MqttConfig(port=broker.port), device=DeviceConfig(id="hall")))
        list(check(context))
    assert context.status == status
    assert context.reported_microphone == "listening"


def test_unknown_name() -> None:
    found = look(1883, host="no-such-broker.invalid")
    assert codes(found) == [
        "broker_name.unknown",
        "broker_connect.not_tried",
        "broker_tls.not_tried",
        "broker_login.not_tried",
        "broker_publish.not_tried",
        "broker_receive.not_tried",
    ]
    assert "getent hosts no-such-broker.invalid" in found[0].remedy


def test_nothing_listens_there() -> None:
    found = look(free_port())
    assert codes(found)[:3] == [
        "broker_name.found", "broker_connect.failed", "broker_tls.not_tried"
    ]  # fmt: skip
    assert "nothing listens there" in found[1].found
    assert "check that the broker runs" in found[1].remedy


def test_settings_that_cannot_be_used(tmp_path: Path) -> None:
    found = look(1883, username="door", password_file=tmp_path / "absent")
    assert "mqtt.password_file cannot be read" in the("broker.settings", found).found
    assert "check its name" in found[0].remedy
    assert codes(found)[1:] == [
        f"broker_{step}.not_tried" for step in ("connect", "tls", "login", "publish", "receive")
    ]


@pytest.mark.parametrize(
    ("status", "running", "expected"),
    [
        ({}, True, ["service_says.nothing"]),
        ({"state": "offline"}, False, ["service_says.offline"]),
        ({"state": "offline"}, True, ["service_says.cut_off"]),
        ({"state": "online", "listening": False}, True, ["service_says.not_listening"]),
        (
            {"state": "online", "problem": "x" * 1000, "audit_problem": "full"},
            True,
            ["service_says.problem", "service_says.problem"],
        ),
        (
            {"state": "online", "locked_out": True, "lost_samples": 16_001},
            True,
            ["service_says.locked_out", "service_says.losses"],
        ),
        (
            {"state": "online", "listening": True, "lost_samples": 16_000, "enrolled": 2},
            True,
            ["service_says.online"],
        ),
    ],
)
def test_what_the_service_says_of_itself(
    status: dict[str, Any], running: bool, expected: list[str]
) -> None:
    unit = Unit({"LoadState": "loaded", "ActiveState": "active" if running else "inactive"})
    found = list(service.check_status(Context(status=status, unit=unit)))
    assert codes(found) == expected
    assert max(len(each.found) for each in found) < 260


def test_what_is_announced_to_home_assistant(tmp_path: Path) -> None:
    house = "homes/one"
    with Broker(tmp_path) as broker, Subscriber(broker) as home:
        config = Config(
            mqtt=MqttConfig(port=broker.port),
            device=DeviceConfig(id="hall"),
            homeassistant=HomeAssistantConfig(discovery=True, prefix=house),
        )

        def look_again(now: Config) -> Finding:
            context = Context(now)
            list(check(context))
            found = list(service.check_home_assistant(context))
            assert len(codes(found)) == 1
            return found[0]

        off = replace(config, homeassistant=HomeAssistantConfig(prefix=house))
        assert look_again(off).code == "home_assistant.off"
        missing = look_again(config)
        assert missing.code == "home_assistant.missing"
        count = missing.found.split()[0]
        assert missing.found == f"{count} of {count} entities are not announced below homes/one"
        assert "let its user write homes/one/#" in missing.remedy
        publisher = MqttPublisher(config.mqtt, config.device)
        publisher.announce(announcement(config))
        publisher.start()
        home.wait_for("/status")
        assert settled(lambda: publisher.announced)
        publisher.close()
        announced = look_again(config)
        assert announced.code == "home_assistant.announced"
        assert announced.found.startswith(f"{count} entities")
        assert look_again(off).code == "home_assistant.left_over"
        other = replace(config, device=DeviceConfig(id="gate"))
        assert look_again(other).code == "home_assistant.missing"
    assert list(service.check_home_assistant(Context(config))) == []


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), days=400)


def test_encrypted_with_a_password(tmp_path: Path, authority: Authority) -> None:
    tls = TlsConfig(enabled=True, ca_file=authority.ca_file)
    with Broker(tmp_path / "broker", login=LOGIN, tls=authority) as broker:
        settings = {"tls": tls, "username": LOGIN[0], "password_file": password(tmp_path)}
        found = look(broker.port, **settings)
    assert codes(found)[2:] == [
        "broker_tls.trusted",
        "broker_login.accepted",
        "broker_publish.taken",
        "broker_receive.received",
    ]
    assert "TLSv1.3; the certificate is valid until 20" in found[2].found
    assert LOGIN[1] not in str(found)


def test_a_certificate_about_to_end(tmp_path: Path) -> None:
    ending = Authority(tmp_path / "ending", days=3)
    with Broker(tmp_path / "broker", tls=ending) as broker:
        found = look(broker.port, tls=TlsConfig(enabled=True, ca_file=ending.ca_file))
    assert the("broker_tls.ending", found).state is State.YELLOW
    assert codes(found)[-1] == "broker_receive.received"


@pytest.mark.parametrize("fault", ["another authority", "another name", "no TLS there"])
def test_encryption_that_does_not_come_about(
    tmp_path: Path, authority: Authority, fault: str
) -> None:
    theirs: Authority | None = authority
    trusted = authority
    if fault == "another authority":
        trusted = Authority(tmp_path / "other")
    elif fault == "another name":
        theirs = trusted = Authority(tmp_path / "elsewhere", name="elsewhere.example")
    else:
        theirs = None
    with Broker(tmp_path / "broker", tls=theirs) as broker:
        found = look(broker.port, tls=TlsConfig(enabled=True, ca_file=trusted.ca_file))
    failed = the("broker_tls.failed", found)
    if fault == "no TLS there":
        assert "the TLS handshake failed" in failed.found
        assert "that the broker offers TLS there" in failed.remedy
    else:
        assert "its certificate is not trusted" in failed.found
        assert "check mqtt.tls.ca_file" in failed.remedy
    assert codes(found)[-3:] == [
        "broker_login.not_tried", "broker_publish.not_tried", "broker_receive.not_tried"
    ]  # fmt: skip


def test_a_broker_that_wants_tls_and_gets_none(tmp_path: Path, authority: Authority) -> None:
    with Broker(tmp_path, tls=authority) as broker:
        found = look(broker.port)
    silent = the("broker_login.silent", found)
    assert "whether the broker wants TLS" in silent.remedy


def test_a_broker_that_wants_a_certificate(tmp_path: Path, authority: Authority) -> None:
    options = f"cafile {authority.ca_file}\nrequire_certificate true"
    with Broker(tmp_path, tls=authority, options=options) as broker:
        found = look(broker.port, tls=TlsConfig(enabled=True, ca_file=authority.ca_file))
    refused = the("broker_login.refused", found)
    assert refused.found == "it wants a certificate of this device"
    assert refused.remedy == "set mqtt.tls.cert_file and mqtt.tls.key_file"


def test_a_broker_that_stands_still_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.mqtt.session._ANSWER_S", 0.3)
    with Broker(tmp_path) as broker:
        broker.freeze()
        found = look(broker.port)
        broker.thaw()
    assert codes(found)[3] == "broker_login.silent"


def test_wrong_password_and_none(tmp_path: Path) -> None:
    with Broker(tmp_path / "broker", login=LOGIN) as broker:
        wrong = password(tmp_path, "a wrong one")
        found = look(broker.port, username=LOGIN[0], password_file=wrong)
        refused = the("broker_login.refused", found)
        assert "refused user 'door' or the password" in refused.found
        assert "content of mqtt.password_file" in refused.remedy
        assert "a wrong one" not in str(found)
        found = look(broker.port)
        assert "it wants a user name" in the("broker_login.refused", found).found
        assert "set mqtt.username" in the("broker_login.refused", found).remedy


def test_access_list_that_stops_what_is_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.doctor.broker._RETURN_S", 0.3)
    with Broker(tmp_path, acl="topic read #\n") as broker:
        found = look(broker.port)
        assert codes(found)[4:] == ["broker_publish.refused", "broker_receive.not_tried"]
        assert "Not authorized" in found[4].found
        assert "topic readwrite edge-voice/hall/#" in found[4].remedy
        # The older protocol has no word for it: the message is taken, and gone.
        found = look(broker.port, protocol="3.1.1")
        assert codes(found)[4:] == ["broker_publish.taken", "broker_receive.lost"]


def test_access_list_that_stops_what_comes_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.doctor.broker._RETURN_S", 0.3)
    with Broker(tmp_path, acl="topic write #\n") as broker:
        found = look(broker.port)
    assert codes(found)[4:] == ["broker_publish.taken", "broker_receive.lost"]
    assert "did not come back within 0.3 s" in found[5].found
    assert "topic readwrite edge-voice/hall/#" in found[5].remedy


def test_a_broker_that_refuses_subscriptions(tmp_path: Path) -> None:
    """Mosquitto says so with its plugin for roles; its access list just delivers nothing."""
    plugins = sorted(Path("/usr/lib").glob("*/mosquitto_dynamic_security.so"))
    if not plugins or find("mosquitto") is None:
        pytest.skip("mosquitto's plugin dynamic-security is not installed")
    rules = tmp_path / "rules.json"
    access = {
        "publishClientSend": True,
        "publishClientReceive": True,
        "subscribe": False,
        "unsubscribe": True,
    }
    group = {"groupname": "everybody", "roles": []}
    rules.write_text(
        json.dumps({"defaultACLAccess": access, "groups": [group], "anonymousGroup": "everybody"})
    )
    rules.chmod(0o600)
    options = f"plugin {plugins[0]}\nplugin_opt_config_file {rules}"
    with Broker(tmp_path / "broker", options=options) as broker:
        found = look(broker.port)
    assert codes(found)[4:] == ["broker_publish.taken", "broker_receive.refused"]
    assert "commands do not arrive" in found[5].found
