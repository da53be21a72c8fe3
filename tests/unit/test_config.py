"""Settings: what a file gives, where it is looked for, and the examples that ship."""

from __future__ import annotations

import dataclasses
import os
import pwd
import re
import typing
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

import edge.config.loading
from edge.cli.main import main
from edge.config import Config, Setting, all_settings, find_config, load_config
from edge.config.settings import AssistantConfig, MicrophoneConfig, SecurityConfig
from edge.errors import EXIT_INPUT, ConfigError

EXAMPLES = Path(__file__).resolve().parents[2] / "config"
SETTINGS = [setting for setting in all_settings() if not setting.is_section]


def read(tmp_path: Path, text: str) -> Config:
    file = tmp_path / "config.yaml"
    file.write_text(text, encoding="utf-8")
    return load_config(file)


def value(config: Config, path: str) -> object:
    found: object = config
    for key in path.split("."):
        found = found[key] if isinstance(found, Mapping) else getattr(found, key)
    return found


def document(path: str, text: str) -> str:
    """A file in which one setting is given."""
    keys = path.split(".")
    lines = [f"{'  ' * depth}{key}:" for depth, key in enumerate(keys)]
    return "\n".join(lines) + f" {text}\n"


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without any configuration."""
    monkeypatch.delenv("EDGE_VOICE_CONFIG", raising=False)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(edge.config.loading, "SYSTEM_FILE", tmp_path / "etc" / "config.yaml")
    return tmp_path


def test_without_a_file_the_defaults_hold(nowhere: Path) -> None:
    assert find_config() is None
    assert load_config() == Config()


@pytest.fixture
def homeless(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user id without an account and without $HOME, as in many containers."""

    def unknown(user: object) -> None:
        raise KeyError(user)

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("XDG_STATE_HOME", "STATE_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    return nowhere


def test_without_a_home_the_systems_file_is_used(homeless: Path) -> None:
    assert find_config() is None
    file = homeless / "etc" / "config.yaml"
    file.parent.mkdir()
    file.write_text("state_directory: /var/lib/edge-voice\n")
    assert load_config().state_path == Path("/var/lib/edge-voice")


def test_without_a_home_the_state_needs_a_place(
    homeless: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["profiles", "list"]) == 2
    error = "edge-voice: error: this user has no home directory; set state_directory, or HOME\n"
    assert capsys.readouterr().err == error
    monkeypatch.setenv("XDG_STATE_HOME", str(homeless))
    assert load_config().state_path == homeless / "edge-voice"


@pytest.mark.parametrize("user", ["~", "~nobody-of-this-name"])
def test_a_home_that_is_not_there_is_named(homeless: Path, user: str) -> None:
    with pytest.raises(ConfigError, match=f"no home directory '{user}'; write the whole path"):
        read(homeless, document("state_directory", f'"{user}/edge"'))


def test_where_a_file_is_looked_for(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = {
        "user": nowhere / "home" / ".config" / "edge-voice" / "config.yaml",
        "system": nowhere / "etc" / "config.yaml",
        "named": nowhere / "named.yaml",
        "given": nowhere / "given.yaml",
    }
    for name, file in places.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"device: {{id: {name}}}\n")
        if name == "named":
            monkeypatch.setenv("EDGE_VOICE_CONFIG", str(file))
        given = file if name == "given" else None
        assert load_config(given).device.id == name


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "audio:\n", "audio: {}\nmqtt: ~\n"])
def test_empty_files_and_sections_are_the_defaults(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text) == Config()


def test_a_file_with_a_byte_order_mark_and_windows_lines(tmp_path: Path) -> None:
    config = read(tmp_path, "\ufeffdevice:\r\n  name: Tür\r\n")
    assert config.device.name == "Tür"


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("audio.device", "2", 2),
        ("audio.device", '"2"', "2"),
        ("audio.device", "USB Audio", "USB Audio"),
        ("audio.device", "null", None),
        ("audio.end_silence_s", "1", 1.0),
        ("audio.end_silence_s", "5e-1", 0.5),
        ("audio.max_utterance_s", "1e1", 10.0),
        ("audio.end_silence_s", ".5", 0.5),
        ("mqtt.port", "", None),
        ("security.false_accept_rate", "strict", "strict"),
        ("security.false_accept_rate", "1e-3", 0.001),
        ("mqtt.enabled", "off", False),
        ("mqtt.enabled", "Yes", True),
        ("mqtt.username", "on", "on"),
        ("mqtt.username", "0123", "0123"),
        ("mqtt.username", "1:30", "1:30"),
        ("mqtt.protocol", "5", "5"),
        ("mqtt.protocol", "3.1.1", "3.1.1"),
        ("mqtt.base_topic", "home/voice", "home/voice"),
        ("mqtt.host", "fe80::1%eth0", "fe80::1%eth0"),
        ("device.name", "2026-01-01", "2026-01-01"),
        ("device.name", "'yes'", "yes"),
        ("state_directory", "/srv/x", Path("/srv/x")),
        ("log_level", "debug", "debug"),
    ],
)
def test_values_mean_what_their_setting_needs(
    tmp_path: Path, path: str, text: str, expected: object
) -> None:
    found = value(read(tmp_path, document(path, text)), path)
    assert found == expected
    assert type(found) is type(expected) or isinstance(expected, Path)


def test_relative_files_are_taken_from_the_folder_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    text = "state_directory: here/state\nmodels_directory: ~/models\n"
    config = read(tmp_path, text)
    assert config.state_directory == tmp_path / "here" / "state"
    assert config.models_directory == Path("/home/ada/models")


CREDENTIALS = ("signing.key_file", "commands.keys_file", "mqtt.password_file", "http.key_file")
FILES = [each.path for each in SETTINGS if Path in (each.kind, *typing.get_args(each.kind))]


@pytest.mark.parametrize("path", FILES)
def test_a_bare_name_is_a_credential_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """Of the settings whose secret systemd may keep, and of no other file or folder."""
    credentials = tmp_path / "credentials"
    (credentials / "folder").mkdir(parents=True)
    (credentials / "name").write_text("x")
    together = {
        "http.key_file": "  cert_file: x\n",
        "mqtt.password_file": "  username: door\n",
        "mqtt.tls.ca_file": "    enabled: true\n",
        "mqtt.tls.cert_file": "    enabled: true\n    key_file: x\n",
        "mqtt.tls.key_file": "    enabled: true\n    cert_file: x\n",
    }.get(path, "")

    def found(name: str) -> object:
        return value(read(tmp_path, document(path, name) + together), path)

    assert found("name") == tmp_path / "name"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    assert found("name") == (Path("name") if path in CREDENTIALS else tmp_path / "name")
    is_folder = path in ("state_directory", "models_directory", "store.debug_recordings")
    for other in ("absent", "folder", "credentials/folder" if is_folder else "credentials/name"):
        assert found(other) == tmp_path / other


def test_state_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/edge-voice:/var/lib/other")
    assert Config().state_path == Path("/var/lib/edge-voice")
    assert Config(state_directory=Path("/srv/x")).state_path == Path("/srv/x")
    monkeypatch.delenv("STATE_DIRECTORY")
    assert Config().state_path == Path("/home/ada/.local/state/edge-voice")


def test_broker_port() -> None:
    mqtt = Config().mqtt
    assert mqtt.broker_port == 1883
    secured = dataclasses.replace(mqtt, tls=dataclasses.replace(mqtt.tls, enabled=True))
    assert secured.broker_port == 8883
    assert dataclasses.replace(secured, port=1234).broker_port == 1234


def test_false_accept_rate() -> None:
    assert Config().security.far == 0.001
    assert SecurityConfig("strict").far == 0.0001
    assert SecurityConfig(0.005).far == 0.005


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().audio.end_silence_s = 1.0  # type: ignore[misc]


# --- the table of settings and the examples ---


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: str(setting.path))
def test_every_setting_is_documented_and_its_default_is_allowed(
    tmp_path: Path, setting: Setting
) -> None:
    assert setting.rule.doc.endswith(".")
    if setting.default is None:
        assert setting.rule.empty, "what does leaving it out mean?"
        return
    numeric = isinstance(setting.default, (int, float)) and not isinstance(setting.default, bool)
    numeric = numeric or setting.kind == float | str
    assert (setting.rule.least is not None and setting.rule.most is not None) == numeric
    text = str(setting.default).lower() if isinstance(setting.default, bool) else setting.default
    config = read(tmp_path, document(setting.path, str(text)))
    section = setting.path.rpartition(".")[0]
    assert config == (
        read(tmp_path, document(section, "")) if ".ID." in section + "." else Config()
    )


def test_the_example_names_every_setting_with_its_default_and_its_range() -> None:
    file = EXAMPLES / "edge-voice.yaml"
    assert load_config(file) == Config()
    tree = yaml.safe_load(file.read_text(encoding="utf-8"))
    named = []
    waiting = [("", tree)]
    while waiting:
        prefix, group = waiting.pop()
        for key, found in group.items():
            path = f"{prefix}.{key}" if prefix else key
            if isinstance(found, dict):
                waiting.append((path, found))
            else:
                named.append(path)
    # Of several sections of one kind there is none by default; an example is in a comment.
    paths = [row.path for row in all_settings() if row.several or not row.is_section]
    assert sorted(named) == sorted(path for path in paths if ".ID." not in path)


def test_the_example_states_each_range_as_the_code_has_it() -> None:
    comment = ""
    stated = {}
    for line in (EXAMPLES / "edge-voice.yaml").read_text(encoding="utf-8").splitlines():
        text = line.strip()
        if text.startswith("#"):
            comment += " " + text.lstrip("# ")
        elif text:
            stated[text.split(":")[0]] = comment
            comment = ""
    for setting in SETTINGS:
        rule = setting.rule
        free = setting.path in ("audio.device", "mqtt.port") or ".ID." in setting.path
        if rule.least is not None and not free:
            assert f"{rule.least:g} to {rule.most:g}" in stated[setting.path.split(".")[-1]]


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.yaml")), ids=lambda file: str(file.name))
def test_every_example_is_right(file: Path) -> None:
    config = load_config(file)
    assert (config == Config()) == (file.name == "edge-voice.yaml")


def test_several_sections_of_one_kind(tmp_path: Path) -> None:
    text = "microphones:\n  back-door:\n    name: Back door\n    device: USB\n  garage:\n"
    found = read(tmp_path, text).microphones
    assert found == {
        "back-door": MicrophoneConfig("Back door", "USB"),
        "garage": MicrophoneConfig(),
    }
    assert read(tmp_path, "microphones:\n").microphones == {}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("microphones: USB", "1: microphones: must be a group of names"),
        ("microphones: [USB]", "1: microphones: must be a group of names"),
        (
            "microphones:\n  back door: {}",
            "2: microphones: 'back door' cannot be a name; give 1 to",
        ),
        ("microphones:\n  a: {}\n  a: {}", "3: microphones.a: given twice (first in line 2)"),
        ("microphones:\n  a: USB", "2: microphones.a: must be a group of keys"),
        (
            "microphones:\n  a:\n    nam: x",
            "3: microphones.a: unknown key 'nam'; did you mean name?",
        ),
        ("microphones:\n  a:\n    device: 1001", "3: microphones.a.device: 1001 is too large"),
        ("microphones:\n  front-door:\n", "2: microphones.front-door: the name of device.id"),
        ("microphones: {" + ",".join(f"m{n}: {{}}" for n in range(17)) + "}", "more than 16"),
    ],
)
def test_a_mistake_in_one_of_several(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(told)):
        read(tmp_path, text)


# --- files that cannot be read ---


def refused(file: Path) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    assert caught.value.exit_code == EXIT_INPUT
    assert "\n" not in str(caught.value)
    assert str(file) in str(caught.value)
    return caught.value


def test_no_such_file(tmp_path: Path) -> None:
    assert "no such file" in str(refused(tmp_path / "absent.yaml"))


def test_a_folder_and_a_pipe(tmp_path: Path) -> None:
    assert "not a regular file" in str(refused(tmp_path))
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert "not a regular file" in str(refused(pipe))


def test_a_dangling_link_in_the_usual_place_is_not_passed_over(nowhere: Path) -> None:
    link = edge.config.loading.SYSTEM_FILE
    link.parent.mkdir()
    link.symlink_to(nowhere / "absent")
    with pytest.raises(ConfigError, match="no such file"):
        load_config()


def test_too_large(tmp_path: Path) -> None:
    file = tmp_path / "large.yaml"
    file.write_bytes(b"# long\n" * 20_000)
    assert "longer than 64 KiB" in str(refused(file))


def test_not_text(tmp_path: Path) -> None:
    file = tmp_path / "binary.yaml"
    file.write_bytes(b"device:\n  name: T\xfcr\n")
    assert str(refused(file)).startswith(f"{file}:2: not UTF-8 text")
    file.write_bytes(b"device:\n  name: \x00\n")
    assert str(refused(file)).startswith(f"{file}:2: a control character")


KITCHEN = "wyoming:\n  assistants:\n    kitchen:\n"


def test_assistants(tmp_path: Path) -> None:
    text = f"{KITCHEN}      speech_to_text: '[fd00::1]:10300'\n      people: Ada, , Grace Hopper\n"
    config = read(tmp_path, text + "      gate: enrolled\n").wyoming
    assert config.stays_here
    kitchen = config.assistants["kitchen"]
    assert kitchen.program == ("fd00::1", 10300)
    assert kitchen.names == ["Ada", "Grace Hopper"]
    assert (AssistantConfig().program, AssistantConfig().names) == (("127.0.0.1", 10300), [])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"{KITCHEN}    attic:\n", "4: wyoming.assistants.attic.port: the port of kitchen"),
        (f"{KITCHEN}      port: 10300\n", "3: wyoming.assistants.kitchen.speech_to_text: its own"),
        (f"{KITCHEN}      people: Ada\n", "4: wyoming.assistants.kitchen.people: has no effect"),
        (f"device:\n  id: kitchen\n{KITCHEN}", "5: wyoming.assistants.kitchen: the name of device"),
        (f"microphones:\n  kitchen:\n{KITCHEN}", "kitchen: the name of a microphone; give another"),
        (f"{KITCHEN}      gate: shut\n", "4: wyoming.assistants.kitchen.gate: 'shut'"),
        (f"{KITCHEN}      speech_to_text: whisper\n", "has no port; give host:port"),
    ],
)
def test_a_mistake_in_an_assistant(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(told)):
        read(tmp_path, text)
