"""`edge-voice setup`: answers become files, and nothing that was there is lost."""

from __future__ import annotations

import io
import os
import shutil
import stat
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from edge.audio.devices import InputDevice
from edge.cli.main import main
from edge.config import Config, load_config
from edge.config.editing import changed, setting_of, written
from edge.doctor import Finding, broker, microphone
from edge.errors import EnvironmentFault, MicrophoneError
from edge.installation import configuration as answering
from edge.installation import service, user_service
from edge.mqtt.connection import read_password
from tests.unit.commands import Capture, run_json

USB = InputDevice(1, "USB PnP Sound Device: Audio (hw:1,0)", 1, 44100.0, is_default=False)
SECRET = "a word that is not shown"  # noqa: S105
LINE = InputDevice(0, "Line In", 2, 48000.0, is_default=True)


class Terminal(io.StringIO):
    """Somebody who types."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    return tmp_path / "etc" / "config.yaml"


def setup(file: Path, *options: str) -> int:
    return main(["setup", "--config", str(file), *_unchecked(options), *options])


def _unchecked(options: tuple[str, ...]) -> list[str]:
    """Without trying a broker and a microphone, unless that is the point."""
    return [] if "--check" in options else ["--check", "skip"]


def typed(
    monkeypatch: pytest.MonkeyPatch, *lines: str, secret: str | None = None, devices: object = ()
) -> None:
    """What somebody types, one line a question; the password is asked for apart."""
    monkeypatch.setattr("sys.stdin", Terminal("".join(f"{line}\n" for line in lines)))

    def password(_prompt: str, stream: object = None) -> str:
        if secret is None:
            raise EOFError
        return secret

    def listed() -> list[InputDevice]:
        if isinstance(devices, Exception):
            raise devices
        return list(devices)  # type: ignore[call-overload,no-any-return]

    monkeypatch.setattr("getpass.getpass", password)
    monkeypatch.setattr("edge.audio.devices.list_devices", listed)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_defaults_make_a_door(file: Path, capsys: Capture) -> None:
    assert setup(file, "--yes") == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert f"{file}: written" in out
    assert "Next, enroll someone for Front door: edge-voice enroll NAME" in out
    assert "The service was not started" in out
    config = load_config(file)
    assert config.mqtt.tls.enabled
    assert config.mqtt.tls.ca_file is None  # the preset's is not there
    assert config.homeassistant.discovery
    assert config.state_directory is None  # the service's own is not this file's business
    key = config.store.key_file
    assert key == file.parent / "store-key"
    assert config.signing.key_file == file.parent / "signing-key"
    assert config.mqtt.password_file == file.parent / "mqtt-password"
    assert mode(file) == 0o644
    assert {mode(file.parent / name) for name in ("store-key", "signing-key", "mqtt-password")} == {
        0o600
    }
    lines = [line for line in file.read_text().splitlines() if line.strip().startswith("#")]
    assert "# A front door: refuses poor recordings" in lines[0]


def test_a_second_time_nothing_changes(file: Path, capsys: Capture) -> None:
    setup(file, "--yes", "--name", "Haustür", "--broker", "10.0.0.5:1884")
    before = {path: path.read_bytes() for path in file.parent.iterdir()}
    capsys.readouterr()
    code, said = run_json(capsys, "setup", "--config", str(file), "--check", "skip", "--yes")
    assert code == 0
    assert (said["changed"], said["written"], said["backups"]) == (False, [], [])
    assert said["device"] == {"id": "haustur", "name": "Haustür"}
    assert said["broker"] == "10.0.0.5:1884"
    assert {path: path.read_bytes() for path in file.parent.iterdir()} == before


def test_what_is_replaced_is_kept(file: Path, tmp_path: Path, capsys: Capture) -> None:
    password = tmp_path / "password"
    password.write_text("first one\n")
    setup(file, "--yes", "--password-file", str(password))
    file.write_text(file.read_text() + "# mine\n")
    former = file.read_bytes()
    password.write_text("second one\n")
    capsys.readouterr()
    options = ("--id", "side", "--no-tls", "--no-discovery", "--password-file", str(password))
    code, said = run_json(
        capsys, "setup", "--config", str(file), "--check", "skip", "--yes", *options
    )
    assert code == 0
    place = file.parent / "mqtt-password"
    backups = [place.with_name("mqtt-password.bak"), file.with_name("config.yaml.bak")]
    assert said["backups"] == [str(backup) for backup in backups]
    assert backups[0].read_text() == "first one\n"
    assert mode(backups[0]) == 0o600
    assert place.read_text() == "second one\n"
    assert backups[1].read_bytes() == former
    assert file.read_text().endswith("# mine\n")
    config = load_config(file)
    assert config.device.id == "side"
    assert not config.mqtt.tls.enabled
    assert not config.homeassistant.discovery


def test_a_home_is_forgiving_and_signs_nothing(file: Path, capsys: Capture) -> None:
    assert setup(file, "--yes", "--preset", "home", "--user", "none") == 0
    assert "Decisions are signed" not in capsys.readouterr().out
    config = load_config(file)
    assert config.signing.key_file is None
    assert config.mqtt.username is None
    assert config.mqtt.password_file is None
    assert not (file.parent / "mqtt-password").exists()


def test_signatures_that_are_there_keep_their_key(file: Path, tmp_path: Path) -> None:
    state = tmp_path / "state" / "edge-voice"
    state.mkdir(parents=True)
    (state / "signatures.sqlite").touch()
    assert setup(file, "--yes") == 0
    assert load_config(file).store.key_file is None
    assert not (file.parent / "store-key").exists()


def test_a_key_that_is_missing_is_not_made_anew(file: Path, tmp_path: Path) -> None:
    """It is on a stick that is not plugged in: another one in its place would open nothing."""
    file.parent.mkdir()
    key = tmp_path / "stick" / "key"
    file.write_text(f"store: {{key_file: {key}}}\n")
    state = tmp_path / "state" / "edge-voice"
    state.mkdir(parents=True)
    (state / "signatures.sqlite").touch()
    assert setup(file, "--yes") == 0
    assert load_config(file).store.key_file == key
    assert not key.exists()


def test_a_key_that_is_there_is_used_and_stays(file: Path) -> None:
    file.parent.mkdir()
    key = file.parent / "store-key"
    key.write_text("0123456789abcdef" * 4 + "\n")
    key.chmod(0o600)
    assert setup(file, "--yes") == 0
    assert load_config(file).store.key_file == key
    assert key.read_text() == "0123456789abcdef" * 4 + "\n"


def test_every_question(file: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    lines = ["attic", "home", "Küche", "7", "1", "broker.lan:8883", "", "maybe", "y"]
    lines += ["/nowhere.pem", "none", "n", "y"]
    typed(monkeypatch, *lines, secret=SECRET, devices=[LINE, USB])
    assert setup(file) == 0
    out, err = capsys.readouterr()
    for question in (
        "Presets: door: balanced, for a front door; home: forgiving, opens nothing",
        "door or home [door]: ",
        "answer door or home",
        "Name of this device [Living room]: ",
        "    0  Line In (the default)",
        "    1  USB PnP Sound Device: Audio (hw:1,0)",
        "Microphone, by number, or default [default]: ",
        "no microphone has that number",
        "MQTT broker, HOST or HOST:PORT [homeassistant.local]: ",
        "MQTT user name, or none [edge-voice]: ",
        "Encrypt the connection (TLS) [n]: ",
        "answer y or n",
        "CA file for the broker's certificate, or none for the system's [none]: ",
        "/nowhere.pem: not a readable CA certificate (No such file or directory)",
        "Announce the device to Home Assistant [y]: ",
        "Sign decisions, for a lock to verify [n]: ",
    ):
        assert question in err, question
    assert SECRET not in out + err
    assert "Decisions are signed; the public key for a lock is " in out
    config = load_config(file)
    assert config.device.name == "Küche"
    assert config.device.id == "kuche"
    assert config.audio.device == "USB PnP Sound Device: Audio"
    assert (config.mqtt.host, config.mqtt.port) == ("broker.lan", 8883)
    assert config.mqtt.tls.enabled
    assert not config.homeassistant.discovery
    assert (file.parent / "mqtt-password").read_text() == f"{SECRET}\n"


def test_enter_keeps_all_that_is_set(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    typed(monkeypatch, devices=[LINE])
    assert setup(file, "--yes", "--microphone", "Line In", "--no-tls") == 0
    before = {path: path.read_bytes() for path in file.parent.iterdir()}
    typed(monkeypatch, *[""] * 7, secret="", devices=MicrophoneError("PortAudio is missing"))
    assert setup(file) == 0
    err = capsys.readouterr().err
    assert "The microphones cannot be listed: PortAudio is missing" in err
    assert "Microphone, by number, or default [Line In]: " in err
    assert {path: path.read_bytes() for path in file.parent.iterdir()} == before


@pytest.mark.parametrize("lines", [0, 3])
def test_who_leaves_changes_nothing(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture, lines: int
) -> None:
    typed(monkeypatch, *["", "", "", "", ""][: lines + 2 * (lines > 0)])
    assert setup(file) == 2
    err = capsys.readouterr().err
    assert "no answer; nothing was changed" in err
    assert ("No microphone yet; the service waits for one." in err) == (lines > 0)
    assert not file.parent.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--broker", "mqtt://x"], "mqtt.host: 'mqtt://x' is a URL; give x"),
        (["--broker", "x:99999"], "mqtt.port: 99999 is too large"),
        (["--broker", "a b"], "mqtt.host: 'a b' is not a host name"),
        (["--broker", "1.2.3.4:abc"], "mqtt.host: '1.2.3.4:abc' is not a host name or an address"),
        (["--user", "door\u00a0"], r"mqtt.username: 'door\xa0' holds a character that cannot be"),
        (["--name", ""], "device.name: '' cannot be used"),
        (["--id", "front door"], "device.id: 'front door' cannot be used"),
        (["--microphone", "x" * 300], "audio.device: 'xxx"),
        (["--user", "none", "--password-file", "x"], "--password-file needs --user"),
        (["--password-file", "nowhere"], "nowhere: cannot read the password (No such file"),
        (["--no-tls", "--ca-file", "x"], "--ca-file has no effect without TLS; add --tls"),
        (["--ca-file", "/dev/null"], "/dev/null: not a readable CA certificate"),
        (["--preset", "office"], "invalid choice: 'office'"),
    ],
)
def test_what_cannot_be_used(file: Path, capsys: Capture, options: list[str], message: str) -> None:
    assert setup(file, "--yes", *options) == 2
    assert message in capsys.readouterr().err
    assert not file.parent.exists()


@pytest.mark.parametrize("content", ["", "two\nlines\n", "a\0b", "x" * 5000])
def test_a_file_that_holds_no_password(file: Path, tmp_path: Path, content: str) -> None:
    password = tmp_path / "password"
    password.write_text(content)
    assert setup(file, "--yes", "--password-file", str(password)) == 2
    assert not file.exists()


def test_nobody_there_to_answer(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert setup(file) == 2
    assert "not a terminal; use --yes" in capsys.readouterr().err
    assert not file.exists()


def test_a_preset_does_not_replace_a_configuration(file: Path, capsys: Capture) -> None:
    setup(file, "--yes")
    before = file.read_bytes()
    assert setup(file, "--yes", "--preset", "home") == 2
    assert "already exists, and --preset would overwrite it" in capsys.readouterr().err
    assert file.read_bytes() == before


def test_a_configuration_with_mistakes_is_left_alone(file: Path, capsys: Capture) -> None:
    file.parent.mkdir()
    file.write_text("lock: yes\n")
    assert setup(file, "--yes") == 2
    assert "unknown key 'lock'" in capsys.readouterr().err
    assert file.read_text() == "lock: yes\n"


def test_without_root_it_is_the_users_own_configuration(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Capture
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("EDGE_VOICE_CONFIG", raising=False)
    monkeypatch.setattr("edge.config.loading.SYSTEM_FILE", tmp_path / "system.yaml")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    own = tmp_path / "edge-voice" / "config.yaml"
    assert main(["setup", "--check", "skip", "--yes"]) == 0
    out = capsys.readouterr().out
    assert f"{own}: written" in out
    # It is found without being named, and root has nothing to do with it.
    assert "to listen from this terminal: edge-voice run\n" in out
    assert "If something is wrong: edge-voice doctor\n" in out
    assert ": edge-voice enroll NAME\n" in out
    other = tmp_path / "my files" / "config.yaml"
    assert main(["setup", "--check", "skip", "--yes", "--config", str(other)]) == 0
    out = capsys.readouterr().out
    for command in ("run", "doctor", "enroll NAME"):
        assert f"edge-voice {command} --config '{other}'\n" in out


def test_the_machines_configuration_is_not_a_users(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Capture
) -> None:
    system = tmp_path / "system.yaml"
    system.write_text("device: {id: hall}\n")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("EDGE_VOICE_CONFIG", raising=False)
    monkeypatch.setattr("edge.config.loading.SYSTEM_FILE", system)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != system)
    assert main(["setup", "--check", "skip", "--yes"]) == 0
    own = tmp_path / "edge-voice" / "config.yaml"
    # The machine's is found first.
    assert f"edge-voice enroll NAME --config {own}\n" in capsys.readouterr().out
    assert system.read_text() == "device: {id: hall}\n"


class Systemctl:
    """A `systemctl` that does what it is told, except for one thing, and writes it down."""

    def __init__(self, folder: Path, fails: str = "") -> None:
        self._calls = folder / "calls"
        program = folder / "systemctl"
        program.write_text(
            f'#!/bin/sh\necho "$*" >>{self._calls}\ncase "$*" in *"{fails or "/"}"*) exit 1; esac\n'
        )
        program.chmod(0o755)

    @property
    def told(self) -> list[str]:
        return [line.removeprefix("--quiet ") for line in self._calls.read_text().splitlines()]


@pytest.fixture
def own(file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where the unit of a user lies who sets up a configuration of their own."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    return tmp_path / "systemd" / "user" / "edge-voice.service"


def test_a_service_of_ones_own(file: Path, own: Path, tmp_path: Path, capsys: Capture) -> None:
    systemd = Systemctl(tmp_path)
    assert setup(file, "--yes", "--service") == 0
    out = capsys.readouterr().out
    assert f"{own}: written" in out
    assert "is running, and starts when you log in (always: loginctl enable-linger)." in out
    assert f"Next, enroll someone for Front door: edge-voice enroll NAME --config {file}" in out
    unit = own.read_text()
    assert f'-m" "edge.cli" "run" "--config" "{file}"\n' in unit
    for limit in ("NoNewPrivileges=yes", "SystemCallFilter=@system-service", "LimitCORE=0"):
        assert f"\n{limit}\n" in unit
    assert mode(own) == 0o644
    assert systemd.told == [
        "--user show-environment",
        "--user daemon-reload",
        "--user enable edge-voice.service",
        "--user restart edge-voice.service",
    ]


def test_a_service_of_ones_own_that_does_not_start(
    file: Path, own: Path, tmp_path: Path, capsys: Capture
) -> None:
    Systemctl(tmp_path, fails="restart")
    assert setup(file, "--yes", "--service") == 3
    assert "did not start; see journalctl --user -u edge-voice" in capsys.readouterr().err
    assert own.exists()


@pytest.mark.parametrize("answer", ["y", ""])
def test_a_service_of_ones_own_is_asked_about(
    file: Path,
    own: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
    answer: str,
) -> None:
    systemd = Systemctl(tmp_path)
    typed(monkeypatch, *[""] * 9, answer, secret="")
    assert setup(file) == 0
    assert "Start it with systemd, as your own service [n]: " in capsys.readouterr().err
    assert own.exists() == bool(answer)
    assert len(systemd.told) == (4 if answer else 1)


@pytest.mark.parametrize("why", ["root", "no systemd"])
def test_where_there_can_be_no_service_of_ones_own(
    file: Path,
    own: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
    why: str,
) -> None:
    if why == "root":
        monkeypatch.setattr("os.geteuid", lambda: 0)
    else:
        Systemctl(tmp_path, fails="show-environment")
    assert setup(file, "--yes", "--service") == 3
    assert "--service needs a systemd of your own" in capsys.readouterr().err
    assert not file.exists()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze")
def test_systemd_understands_the_unit(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "a folder" / "edge-voice"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setattr("sys.argv", [str(program)])
    own = user_service.write_unit(tmp_path / 'my "50 %" of $HOME.yaml')
    done = subprocess.run(
        ["systemd-analyze", "verify", "--user", "--man=no", str(own)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
    )
    assert (done.returncode, done.stderr) == (0, "")


FAULTS = [
    broker.REFUSED(found="the broker refuses user 'door'", remedy="check the password"),
    microphone.CLOSED(found="there is no microphone", remedy="connect one"),
]


@pytest.mark.parametrize(
    ("options", "answer", "code"),
    [
        (["--yes", "--check", "warn"], None, 0),
        (["--yes", "--check", "require"], None, 3),
        (["--check", "warn"], "", 0),
        (["--check", "warn"], "n", 3),
        (["--check", "require"], None, 3),
    ],
)
def test_what_does_not_work_is_said_before_anything_is_written(
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
    options: list[str],
    answer: str | None,
    code: int,
) -> None:
    typed(monkeypatch, *[""] * 8, *([] if answer is None else [answer]), secret="")
    tried: list[Config] = []

    def faults(config: Config) -> list[Finding]:
        assert not file.exists()
        tried.append(config)
        return FAULTS

    monkeypatch.setattr("edge.doctor.examination.faults", faults)
    assert setup(file, "--user", "door", *options) == code
    assert file.exists() == (code == 0)
    assert [config.mqtt.username for config in tried] == ["door"]
    err = capsys.readouterr().err
    if "require" in options:
        assert (
            "nothing was written, because broker login: the broker refuses user 'door'; ch" in err
        )
    else:
        assert (
            "warning: broker login: the broker refuses user 'door'; check the password\n"
            "edge-voice: warning: microphone: there is no microphone; connect one\n"
        ) in err
    assert ("Write it anyway [y]: " in err) == (answer is not None)


def test_the_broker_is_tried_with_what_was_answered(file: Path, tmp_path: Path) -> None:
    file.parent.mkdir()
    data, config = answering.starting_point(file, "door")
    answers = replace(
        answering.present(config, "door"), host="10.0.0.5", port=1884, microphone="Line In"
    )
    with answering.as_answered(file, data, replace(answers, password=SECRET)) as tried:
        assert (tried.mqtt.host, tried.mqtt.port, tried.audio.device) == (
            "10.0.0.5",
            1884,
            "Line In",
        )
        assert read_password(tried.mqtt.password_file) == SECRET
    with answering.as_answered(file, data, answers) as tried:
        assert tried.mqtt.password_file is None
    (file.parent / "mqtt-password").write_text("the former\n")
    (file.parent / "mqtt-password").chmod(0o600)
    with answering.as_answered(file, data, answers) as tried:
        assert read_password(tried.mqtt.password_file) == "the former"
    assert [path.name for path in file.parent.iterdir()] == ["mqtt-password"]


@pytest.mark.parametrize("preset", ["door", "home"])
@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--user", "none"),
        ("--user", "none", "--no-tls", "--no-discovery", "--no-signing"),
        ("--user", "joe", "--broker", "10.0.0.5:1884", "--name", "Kitchen", "--tls"),
    ],
)
def test_what_is_tried_is_what_is_written(
    file: Path, monkeypatch: pytest.MonkeyPatch, preset: str, options: tuple[str, ...]
) -> None:
    tried: list[Config] = []

    def faults(config: Config) -> list[Finding]:
        tried.append(config)
        return []

    monkeypatch.setattr("edge.doctor.examination.faults", faults)
    assert setup(file, "--check", "require", "--yes", "--preset", preset, *options) == 0
    (before,), after = tried, load_config(file)
    without_password = replace(after.mqtt, password_file=None)
    assert (before.device, before.audio, before.mqtt) == (
        after.device,
        after.audio,
        without_password,
    )
    assert (after.mqtt.password_file is None) == ("none" in options)


@pytest.mark.parametrize(
    ("source", "what"),
    [("ffmpeg", "A program"), ("wyoming://127.0.0.1:10700", "A Wyoming satellite")],
)
def test_no_microphone_is_asked_for_where_something_else_is_listened_to(
    source: str, what: str, file: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    assert setup(file, "--yes") == 0
    file.write_bytes(changed(file.read_bytes(), file, {"audio.source": source}))
    capsys.readouterr()
    typed(monkeypatch, *[""] * 7, secret="", devices=[LINE, USB])
    assert setup(file) == 0
    err = capsys.readouterr().err
    assert f"{what} is listened to, not a microphone of this machine (audio.source)." in err
    assert "Microphone, by number" not in err
    assert setup(file, "--yes", "--microphone", "USB") == 2
    assert "--microphone has no effect with audio.source" in capsys.readouterr().err
    assert load_config(file).audio.device is None


def test_a_user_without_a_home_names_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Capture
) -> None:
    monkeypatch.delenv("EDGE_VOICE_CONFIG", raising=False)
    monkeypatch.setattr("edge.config.loading.SYSTEM_FILE", tmp_path / "system.yaml")
    monkeypatch.setattr("edge.config.loading.user_file", lambda: None)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert main(["setup", "--check", "skip", "--yes"]) == 2
    assert "no home directory; name a file with --config" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made(file: Path, capsys: Capture) -> None:
    file.parent.write_text("a file in the way")
    assert setup(file, "--yes") in (2, 3)
    assert str(file.parent) in capsys.readouterr().err
    assert file.parent.read_text() == "a file in the way"


@pytest.mark.parametrize("starts", [True, False])
def test_the_service_is_started_with_it(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture, starts: bool
) -> None:
    def start() -> None:
        if not starts:
            raise EnvironmentFault("everything is set up, but the service did not start; why")

    monkeypatch.setattr("edge.config.loading.SYSTEM_FILE", file)
    monkeypatch.setattr(service, "can_start", lambda: True)
    monkeypatch.setattr(service, "start", start)
    assert setup(file, "--yes", "--no-start") == 0
    assert "was not started" in capsys.readouterr().out
    assert setup(file, "--yes") == (0 if starts else 3)
    out, err = capsys.readouterr()
    assert ("The service is running, and starts with the machine." in out) == starts
    assert ("did not start" in err) == (not starts)
    assert "sudo edge-voice enroll NAME" in out
    assert "If something is wrong: sudo edge-voice doctor" in out


@pytest.mark.parametrize(
    ("named", "code", "said"),
    [
        ("pnp", 0, ""),
        ("1", 0, ""),
        ("default", 0, ""),
        ("foo", 3, "no microphone is called 'foo'; there are: 0 'Line In', 1 'USB PnP Sound Devi"),
        ("7", 3, "no microphone is called '7'; there are: 0 'Line In'"),
        ("n", 3, "more than one microphone is called 'n'; there are: 0 'Line In'"),
    ],
)
def test_a_microphone_that_is_named_must_be_there(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture, named: str, code: int, said: str
) -> None:
    typed(monkeypatch, devices=[LINE, USB])
    assert setup(file, "--yes", "--microphone", named) == code
    err = capsys.readouterr().err
    assert said in err
    assert len(err.splitlines()) == (code != 0)
    assert file.exists() == (code == 0)
    if named == "1":
        assert load_config(file).audio.device == "USB PnP Sound Device: Audio"


def test_without_any_microphone_none_can_be_named(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    typed(monkeypatch, devices=[])
    assert setup(file, "--yes", "--microphone", "foo") == 3
    assert "there is no microphone; connect one" in capsys.readouterr().err
    assert not file.exists()


def test_a_microphone_is_named_so_that_it_lasts(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    twin = InputDevice(2, "USB PnP Sound Device: Audio (hw:2,0)", 1, 44100.0, is_default=False)
    typed(monkeypatch, "", "", "1", *[""] * 6, secret="", devices=[LINE, USB, twin])
    assert setup(file) == 0
    assert load_config(file).audio.device == USB.name


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("home", ("home", None)),
        ("home:1884", ("home", 1884)),
        ("fd00::1", ("fd00::1", None)),
        ("[fd00::1]:1884", ("fd00::1", 1884)),
    ],
)
def test_a_broker_in_words(text: str, found: tuple[str, int | None]) -> None:
    assert answering.broker(text) == found


@pytest.mark.parametrize(
    ("name", "device_id"), [("Front door", "front-door"), ("Tür 2!", "tur-2"), ("門", "device")]
)
def test_a_name_for_topics(name: str, device_id: str) -> None:
    assert answering.id_of(name) == device_id


@pytest.mark.parametrize(
    "text", ["true", "no", "12:30", "a: b", '"', "x # y", "{a, b}", "0x1f", "é"]
)
@pytest.mark.parametrize("former", ["", "device: {id: x}\n", "device:\n  id: x\n", "device:\n"])
def test_any_text_stays_what_it_is(former: str, text: str) -> None:
    new = changed(former.encode(), Path("c.yaml"), {"device.name": written(text)})
    assert f"name: {written(text)}" in new.decode()


def test_a_setting_two_sections_down() -> None:
    where = {"mqtt.tls.enabled": "true", "mqtt.tls.ca_file": "ca.pem", "log_level": "debug"}
    for former in ("", "mqtt:\n", "mqtt: {}\n", "mqtt:\n  host: x  # here\n", "{mqtt: {tls: }}"):
        new = changed(former.encode(), Path("/x/c.yaml"), where)
        again = changed(new, Path("/x/c.yaml"), {"mqtt.tls.ca_file": "", "log_level": "info"})
        assert "ca.pem" not in again.decode()
        assert "# here" in again.decode() or "# here" not in former
    assert setting_of(Config(), "mqtt.tls.enabled") is False
