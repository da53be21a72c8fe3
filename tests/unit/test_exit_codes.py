"""The same fault has the same exit code in every command, the one that the reference names."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest

from edge.cli.main import main
from edge.private_files import hold
from tests.conftest import REPOSITORY
from tests.unit.commands import Capture
from tests.unit.sound_system import SoundSystem

pytestmark = pytest.mark.usefixtures("cheap_passphrases")
WITH_STORE = (
    "profiles list",
    "profiles show Ada",
    "profiles revert Ada --yes",
    "profiles reset Ada --yes",
    "profiles rename Ada Eve",
    "profiles delete Ada --yes",
    "profiles export Ada new.profile --yes --passphrase-file passphrase",
    "profiles import text --passphrase-file passphrase",
    "keys show",
    "keys rotate",
    "keys rewrap",
    "access show",
    "access set Ada --hours 08:00-09:00",
    "access enable Ada",
    "access disable Ada",
    "access clear Ada",
    "audit show",
    "audit verify",
    "enroll Bob text",
    "enroll Ada --digits --files-from folder",
    "verify Ada text",
    "identify text",
    "run --input text",
)
WITH_CONFIGURATION = (
    *WITH_STORE,
    "access clock",
    "lockout show",
    "lockout lift",
    "audit export new.txt",
    "evaluate folder",
    "calibrate folder",
    "config check",
    "signing public-key",
    "command status --key signing-key",
    "discovery show",
    "discovery remove",
    "monitor",
    "setup --yes --check skip",
)


@pytest.fixture
def here(tmp_path: Path, store_path: Path, config: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with Ada enrolled, a broker that is not there, and some files."""
    config.write_text("state_directory: state\nmqtt: {host: 127.0.0.1, port: 9}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    (tmp_path / "folder").mkdir()
    for name, text in (
        ("text", "some text\n"),
        ("passphrase", "correct horse battery\n"),
        ("short", "short\n"),
        ("another", "another horse battery\n"),
    ):
        (tmp_path / name).write_text(text)
    assert main(["signing", "new-key", "signing-key"]) == 0
    return tmp_path


def codes(commands: tuple[str, ...], capsys: Capture) -> dict[str, int]:
    """The exit code of each command; one that fails says so in a line."""
    found = {}
    for command in commands:
        capsys.readouterr()
        found[command] = main(command.split())
        if command != "config check":
            assert len(re.findall(r"edge-voice: (error|refused): ", capsys.readouterr().err)) == 1
    return found


def every(code: int, commands: tuple[str, ...]) -> dict[str, int]:
    return dict.fromkeys(commands, code)


@pytest.mark.usefixtures("here")
class TestInput:
    """Exit code 2."""

    @pytest.mark.parametrize("name", ["text", "folder"])
    def test_what_is_there_is_not_replaced(self, capsys: Capture, name: str) -> None:
        commands: tuple[str, ...] = (
            f"keys make {name}",
            f"signing new-key {name}",
            f"audit export {name}",
            f"profiles export Ada {name} --passphrase-file passphrase",
        )
        if name == "text":
            commands += ("setup --yes --check skip --preset home",)
        assert codes(commands, capsys) == every(2, commands)

    def test_a_folder_is_no_file(self, capsys: Capture) -> None:
        commands = (
            "profiles export Ada folder --yes --passphrase-file passphrase",
            "keys rewrap --key-file folder",
            "profiles import folder --passphrase-file passphrase",
            "signing public-key folder",
        )
        assert codes(commands, capsys) == every(2, commands)

    def test_what_is_missing(self, capsys: Capture) -> None:
        commands = (
            "identify nowhere",
            "enroll Bob nowhere",
            "evaluate nowhere",
            "calibrate nowhere",
            "profiles import nowhere --passphrase-file passphrase",
            "profiles import text --passphrase-file nowhere",
            "profiles export Ada new --passphrase-file nowhere",
            "keys rewrap --passphrase-file nowhere",
            "signing public-key nowhere",
            "config check nowhere",
            "run --input nowhere",
            "run --config nowhere",
            "command status --key nowhere",
            "command status --key signing-key --device-key nowhere",
            "setup --yes --check skip --user door --password-file nowhere",
            "setup --yes --check skip --tls --ca-file nowhere",
        )
        assert codes(commands, capsys) == every(2, commands)

    def test_what_is_no_key(self, capsys: Capture) -> None:
        commands = (
            "keys rewrap --key-file text",
            "signing public-key text",
            "command status --key text",
            "command status --key signing-key --device-key text",
        )
        assert codes(commands, capsys) == every(2, commands)

    def test_who_is_not_there(self, capsys: Capture) -> None:
        commands = tuple(
            f"{command} Zoe{rest}"
            for command, rest in (
                ("verify", " text"),
                ("enroll --digits --files-from folder", ""),
                ("enroll --duress", " text"),
                ("profiles show", ""),
                ("profiles revert", " --yes"),
                ("profiles reset", " --yes"),
                ("profiles rename", " Eve"),
                ("profiles delete", " --yes"),
                ("profiles export", " new --passphrase-file passphrase"),
                ("access show", ""),
                ("access set", " --hours 08:00-09:00"),
                ("access enable", ""),
                ("access disable", ""),
                ("access clear", ""),
            )
        )
        assert codes(commands, capsys) == every(2, commands)

    def test_mistakes_in_the_configuration(self, capsys: Capture, config: Path) -> None:
        config.write_text("lock: yes\n")
        assert codes(WITH_CONFIGURATION, capsys) == every(2, WITH_CONFIGURATION)

    def test_passphrases(self, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
        made = "profiles export Ada ada.profile --passphrase-file passphrase"
        assert main(made.split()) == 0
        commands = (
            "keys rewrap --passphrase-file short",
            "profiles export Ada new --passphrase-file short",
            "profiles import ada.profile --passphrase-file another",
        )
        assert codes(commands, capsys) == every(2, commands)
        assert main(["keys", "rewrap", "--passphrase-file", "passphrase"]) == 0
        monkeypatch.setattr("edge.crypto.keys.ask_at_terminal", lambda _: "another horse battery")
        monkeypatch.setattr(
            "edge.crypto.keys.KeySources.__init__.__defaults__",
            (lambda _: "another horse battery",),
        )
        assert codes(WITH_STORE, capsys) == every(2, WITH_STORE)

    def test_nobody_to_ask(self, capsys: Capture) -> None:
        commands = (
            "profiles import text",
            "profiles export Ada new",
            "profiles delete Ada",
            "profiles reset Ada",
            "keys rewrap --passphrase",
            "setup",
        )
        assert codes(commands, capsys) == every(2, commands)


@pytest.mark.usefixtures("here")
class TestEnvironment:
    """Exit code 3."""

    @pytest.mark.parametrize("place", ["/proc/none/new", "text/new", "/sys/new"])
    def test_where_nothing_can_be_written(self, capsys: Capture, place: str) -> None:
        commands = (
            f"keys make {place}",
            f"signing new-key {place}",
            f"audit export {place}",
            f"profiles export Ada {place} --passphrase-file passphrase",
            f"keys rewrap --key-file {place}",
            f"setup --yes --check skip --config {place}/config.yaml",
        )
        assert codes(commands, capsys) == every(3, commands)

    def test_a_report_that_cannot_be_written(self, capsys: Capture) -> None:
        speech = REPOSITORY / "edge" / "demo" / "recordings"
        for person in ("ada", "bob"):
            Path("folder", person).mkdir()
            for file in sorted(speech.glob("ada_*.flac")):
                Path("folder", person, file.name).symlink_to(file)
        commands = ("evaluate folder --output /proc/none/new",)
        assert codes(commands, capsys) == every(3, commands)

    @pytest.mark.parametrize("fault", ["damaged", "no key", "no passphrase"])
    def test_the_store(self, capsys: Capture, store_path: Path, fault: str) -> None:
        if fault == "damaged":
            store_path.write_bytes(b"garbage" * 1000)
        elif fault == "no key":
            (store_path.parent / "store.key").unlink()
        else:
            assert main(["keys", "rewrap", "--passphrase-file", "passphrase"]) == 0
        assert codes(WITH_STORE, capsys) == every(3, WITH_STORE)

    def test_the_broker(self, capsys: Capture) -> None:
        commands = (
            "command status --key signing-key",
            "discovery remove",
        )
        assert codes(commands, capsys) == every(3, commands)

    def test_the_microphone(self, capsys: Capture, sound_system: SoundSystem) -> None:
        sound_system.devices.clear()
        commands = (
            "enroll Bob",
            "devices",
            "enroll Bob --device foo",
            "monitor --listen",
            "setup --yes --check skip --microphone foo",
        )
        assert codes(commands, capsys) == every(3, commands)

    def test_another_service(self, capsys: Capture, store_path: Path) -> None:
        hold(store_path.parent / "run.lock")
        commands = ("run --input text",)
        assert codes(commands, capsys) == every(3, commands)


def test_the_reference_has_them() -> None:
    page = (REPOSITORY / "docs" / "reference" / "commands.md").read_text()
    table = page.split("## Exit codes")[1].split("\n## ")[0]
    assert re.findall(r"^\| ([\d, ]+) \|", table, re.MULTILINE) == ["0", "1", "2", "3", "130, 141"]
