"""The command line's frame: parsing, exit codes, errors, and the commands that need no model."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge import __version__
from edge.audio.devices import InputDevice
from edge.cli import identify, profiles
from edge.cli.main import COMMANDS, _log_to_stderr, main
from edge.cli.output import complain, json_text, show, show_json
from edge.errors import EnrollmentRejected, ProfileError
from edge.store import ProfileStore
from edge.types import ProfileKind
from tests.unit.commands import Capture, run_json

REPOSITORY = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.usefixtures("config")


def test_help_lists_every_command(capsys: Capture) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    listed = re.findall(r"^  (\w+) +\w", shown, re.MULTILINE)
    assert [name for name in listed if name in COMMANDS] == list(COMMANDS)
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"edge-voice {__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(capsys: Capture, command: str) -> None:
    assert main([command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: edge-voice {command}")
    assert "--json" in shown
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a command"),
        (["profile"], "did you mean profiles?"),
        (["open"], "the commands are setup, run, serve, wyoming, demo"),
        (["--frobnicate", "profiles", "list"], "--frobnicate"),
        (["access", "set", "Ada", "--hours=--"], "--hours=-- has no usable value"),
        (["--config=--", "profiles", "list"], "--config=-- has no usable value"),
        (["profiles"], "ACTION"),
        (["profiles", "remove"], "invalid choice"),
        (["profiles", "list", "Ada"], "unrecognized arguments: Ada"),
        (["profiles", "show"], "NAME"),
        (["verify"], "NAME"),
        (["verify", "Ada", "--wait", "soon"], "--wait"),
        (["enroll", "Ada", "--wait", "-1"], "--wait"),
        (["enroll", "Ada", "--short"], "--voice"),
        (["enroll", "Ada", "--voice", "--phrase", "x"], "--phrase"),
        (["--config"], "--config"),
    ],
)
def test_bad_usage_is_one_line_and_2(capsys: Capture, arguments: list[str], message: str) -> None:
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert re.fullmatch(r"edge-voice: error: [^\n]+\n", shown.err)
    assert message in shown.err


def test_bad_usage_as_json(capsys: Capture) -> None:
    code, value = run_json(capsys, "profiles", "remove")
    assert code == value["error"]["exit_code"] == 2
    assert "invalid choice" in value["error"]["message"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--json", "profiles", "list"],
        ["profiles", "--json", "list"],
        ["profiles", "list", "--json"],
    ],
)
def test_common_options_go_anywhere(
    capsys: Capture, store_path: Path, arguments: list[str]
) -> None:
    assert main(arguments) == 0
    assert len(json.loads(capsys.readouterr().out)["profiles"]) == 2


def test_config_check_shows_every_mistake(capsys: Capture, config: Path) -> None:
    assert main(["config", "check"]) == 0
    assert "valid" in capsys.readouterr().out
    config.write_text("audoi: {}\nmqtt:\n  port: many\nlog_level: chatty\n")
    assert main(["config", "check"]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 3
    assert all(line.startswith(f"edge-voice: error: {config}:") for line in errors)
    code, value = run_json(capsys, "config", "check", str(config))
    assert code == 2
    assert value["valid"] is False
    assert len(value["problems"]) == 3
    code, value = run_json(capsys, "profiles", "list")
    assert code == 2
    assert len(value["error"]["problems"]) == 3


def test_config_check_looks_into_the_command_keys(
    capsys: Capture, tmp_path: Path, config: Path
) -> None:
    keys = tmp_path / "keys.yaml"
    config.write_text(f"commands: {{keys_file: {keys}}}\n")
    assert main(["config", "check"]) == 0  # it may be a credential of the service
    keys.touch(mode=0o600)
    keys.write_text("keys:\n  - {id: a}\n")
    capsys.readouterr()
    assert main(["config", "check"]) == 2
    assert f"{keys}:2: algorithm is missing" in capsys.readouterr().err


def test_missing_config_is_2(capsys: Capture, tmp_path: Path) -> None:
    assert main(["--config", str(tmp_path / "none.yaml"), "profiles", "list"]) == 2
    assert "none.yaml: no such file" in capsys.readouterr().err


def _replace_run(monkeypatch: pytest.MonkeyPatch, action: Callable[[Any], int]) -> None:
    monkeypatch.setattr(profiles, "run", action)


def test_unforeseen_error_is_3_and_one_line(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> int:
        raise RuntimeError("two\nlines \x1b[31m")

    _replace_run(monkeypatch, fail)
    assert main(["profiles", "list"]) == 3
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "\x1b" not in error
    assert "RuntimeError" in error
    assert main(["-v", "profiles", "list"]) == 3
    assert "Traceback" in capsys.readouterr().err


def test_interrupt_is_130(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: object) -> int:
        raise KeyboardInterrupt

    _replace_run(monkeypatch, interrupt)
    assert main(["profiles", "list"]) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_rejected_enrollment_carries_its_reason(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> int:
        raise EnrollmentRejected("too_noisy", "too noisy: find a quieter moment")

    _replace_run(monkeypatch, refuse)
    code, value = run_json(capsys, "profiles", "list")
    assert code == 2
    assert value["error"]["reason"] == "too_noisy"


def test_devices(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [
        InputDevice(2, "USB Audio", 1, 48000.0, True),
        InputDevice(11, "HDMI", 2, 44100.0, False),
    ]
    monkeypatch.setattr("edge.audio.devices.list_devices", lambda: found)
    assert main(["devices"]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == [
        "*   2  USB Audio  (1 channels, 48000 Hz)",
        "   11  HDMI  (2 channels, 44100 Hz)",
    ]
    code, value = run_json(capsys, "devices")
    assert code == 0
    assert value["devices"][0] == {
        "index": 2, "name": "USB Audio", "channels": 1, "default_rate": 48000.0,
        "is_default": True, "lasting_name": "USB Audio",
    }  # fmt: skip
    found.append(InputDevice(12, "USB Audio", 1, 48000.0, False))
    monkeypatch.setattr("edge.audio.devices.lasting_name", lambda *_: "/dev/snd/by-path/usb-1")
    assert main(["devices"]) == 0
    assert capsys.readouterr().out.splitlines()[1] == "       /dev/snd/by-path/usb-1"
    found.clear()
    code, value = run_json(capsys, "devices")
    assert code == value["error"]["exit_code"] == 3
    assert "no microphone found" in value["error"]["message"]


ODD = "USB\x1b]0;owned\x07 \x9b31m\u202e\u2066"
TOLD = r"USB\x1b]0;owned\x07 \x9b31m\u202e\u2066"


def test_no_line_commands_the_terminal(capsys: Capture) -> None:
    # Whoever makes a device, runs a broker or names a file chooses what is said of it.
    show(f"{ODD}\nAda\u200cm")
    assert capsys.readouterr().out == f"{TOLD}\nAda\u200cm\n"
    complain(ODD)
    assert capsys.readouterr().err == f"edge-voice: warning: {TOLD}\n"
    _log_to_stderr(0)
    logging.getLogger("edge").warning("microphone %s is gone", ODD)
    assert capsys.readouterr().err == f"edge-voice: WARNING: microphone {TOLD} is gone\n"


def run_process(*arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edge.cli", *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), **more.pop("env", {})},
        **more,
    )


@pytest.mark.usefixtures("store_path")
def test_listing_profiles_loads_neither_models_nor_sound() -> None:
    script = (
        "import sys; from edge.cli.main import main; code = main(['profiles', 'list']);"
        "print(sorted(m for m in sys.modules if m.split('.')[0] in"
        " ('ai_edge_litert', 'tflite_runtime', 'sounddevice', 'soundfile', 'paho', 'amqtt')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.usefixtures("store_path")
def test_closed_pipe_is_silent() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "edge.cli", "profiles", "list"],
            cwd=REPOSITORY,
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_name_that_the_terminal_cannot_show(tmp_path: Path, capsys: Capture) -> None:
    with ProfileStore(tmp_path / "state" / "signatures.sqlite") as store:
        store.create("李小龙 [red]", ProfileKind.PHRASE, required=3)
    done = run_process("profiles", "list", env={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0
    assert "\\u674e" in done.stdout
    assert main(["profiles", "list"]) == 0
    assert "[red]" in capsys.readouterr().out


def test_real_process_has_the_exit_codes(store_path: Path) -> None:
    assert run_process("profiles", "show", "Nobody").returncode == 2
    done = run_process("profiles", "delete", "Ada", stdin=subprocess.DEVNULL)
    assert done.returncode == 2
    assert "--yes" in done.stderr
    store_path.write_bytes(b"")
    done = run_process("--json", "profiles", "list")
    assert done.returncode == json.loads(done.stdout)["error"]["exit_code"] == 3


@pytest.mark.parametrize(
    "character", ["\x1b", "\x7f", "\x9b", "\u202e", "\u2066", "\u200b", "\U000e0041", "\ud800"]
)
def test_json_holds_nothing_that_a_terminal_obeys(
    character: str, capsys: pytest.CaptureFixture[str]
) -> None:
    value = {"name": f"Zoë 李{character}m", "list": [1, None, True]}
    show_json(value)
    line = capsys.readouterr().out
    assert json.loads(line) == value
    assert character not in line
    assert "Zoë 李\\u" in line
    assert json.loads(json_text(value, indent=2)) == value
    assert json_text({"a": 1}, indent=2) == '{\n  "a": 1\n}'


def test_no_process_leaves_a_core_dump() -> None:
    code = (
        "import resource, edge.cli.main as it\n"
        "it.main = lambda: print(*resource.getrlimit(resource.RLIMIT_CORE))\n"
        "it.entry_point()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "0 0\n"


def test_numpy_works_on_one_thread() -> None:
    """Threads that wait for each other took most of a service's time."""
    code = (
        "import os, sys, edge.cli.main as it\n"
        "it.main = lambda: print(os.environ['OPENBLAS_NUM_THREADS'], 'numpy' in sys.modules)\n"
        "it.entry_point()"
    )
    for given, threads in ({}, "1"), ({"OPENBLAS_NUM_THREADS": "3"}, "3"):
        inherited = {k: v for k, v in os.environ.items() if k != "OPENBLAS_NUM_THREADS"}
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={**inherited, "PYTHONPATH": str(REPOSITORY), **given},
        )
        assert done.stdout == f"{threads} False\n"


def test_a_service_gives_back_the_memory_that_it_has_used() -> None:
    code = (
        "from pathlib import Path\n"
        "from edge.cli.run import give_back_memory\n"
        "give_back_memory()\n"
        "def resident_mb(): return int(Path('/proc/self/statm').read_text().split()[1]) / 256\n"
        "freed = b'x' * (16 << 20)\n"
        "del freed\n"  # glibc would keep blocks of that size from now on
        "used = [b'x' * (2 << 20) for _ in range(10)]\n"
        "above = b'x' * 100_000\n"
        "before = resident_mb()\n"
        "used.clear()\n"
        "print(before - resident_mb() > 15)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    assert done.stdout == "True\n"


def _with_output(arguments: list[str], output: str) -> subprocess.CompletedProcess[str]:
    """Run a command with its standard output as a shell's redirection makes it."""
    inherited = os.environ.get("PYTHONPATH", "")
    path = os.pathsep.join(part for part in (str(REPOSITORY), inherited) if part)
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {output}', "sh", sys.executable, "-m", "edge.cli", *arguments],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.usefixtures("store_path")
@pytest.mark.parametrize(("output", "options"), [(">/dev/full", []), (">&-", ["--json"])])
def test_output_that_cannot_be_written(output: str, options: list[str]) -> None:
    done = _with_output(["profiles", "list", *options], output)
    assert done.returncode == 3
    said = "edge-voice: error: standard output (is closed|cannot be written)[^\\n]*\\n"
    assert re.fullmatch(said, done.stderr)
    # What goes wrong before anything is printed keeps its own code and line.
    done = _with_output(["profiles", "show", "Nobody", *options], output)
    assert done.returncode == 2
    assert re.fullmatch("edge-voice: error: [^\\n]*'Nobody'[^\\n]*\\n", done.stderr)


def test_help_that_cannot_be_written() -> None:
    done = _with_output(["--version"], ">/dev/full")
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert _with_output(["profiles", "list"], ">/dev/full 2>/dev/full").returncode == 3
    assert _with_output(["nonsense", "--json"], ">&- 2>&-").returncode == 2


@pytest.mark.parametrize("text", ["nan", "-1", "0", "inf", "4000", "soon", "1" * 5000])
def test_how_long_to_wait_is_explained(capsys: Capture, text: str) -> None:
    assert main(["verify", "Ada", f"--wait={text}"]) == 2
    error = capsys.readouterr().err
    assert f"argument --wait: invalid seconds '{text[:40]}'; use more than 0" in error
    assert len(error) < 200


def test_a_group_may_be_a_name_with_a_comma(store_path: Path) -> None:
    with ProfileStore(store_path) as store:
        store.create("Lovelace, Ada", ProfileKind.VOICE, required=30)

        def named(group: str) -> list[str]:
            return [profile.name for profile in identify._named(store, group)]

        assert named("lovelace, ada") == ["Lovelace, Ada"]
        assert named("Grace, Ada,Grace") == ["Grace", "Ada"]
        with pytest.raises(ProfileError, match="'Nobody'"):
            named("Ada,Nobody")
