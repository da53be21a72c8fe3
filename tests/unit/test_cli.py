"""The command line's frame: parsing, exit codes, errors, and the commands that need no model."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge import __version__
from edge.cli import devices, identify, profiles
from edge.cli.main import COMMANDS, main
from edge.errors import EnrolmentRejected, ProfileError
from edge.store import ProfileStore
from edge.types import ProfileKind
from tests.unit.test_store import enrol, make_sample

REPOSITORY = Path(__file__).resolve().parents[2]

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration of this test's own, so that none of this machine's is read or changed."""
    file = tmp_path / "config.yaml"
    file.write_text("state_directory: state\n")
    monkeypatch.setenv("EDGE_VOICE_CONFIG", str(file))
    return file


@pytest.fixture
def store_path(tmp_path: Path) -> Path:
    path = tmp_path / "state" / "signatures.sqlite"
    with ProfileStore(path) as store:
        enrol(store, "Ada", 1, 2, 3)
        store.create("Grace", ProfileKind.VOICE, required=30)
        store.add_sample("Grace", make_sample(4, phrase=False, seconds=12.5), "5" * 64, "")
    return path


def run_json(capture: Capture, *arguments: str) -> tuple[int, dict[str, Any]]:
    code = main([*arguments, "--json"])
    lines = capture.readouterr().out.splitlines()
    assert len(lines) == 1
    value: dict[str, Any] = json.loads(lines[0])
    return code, value


def test_help_lists_every_command(capsys: Capture) -> None:
    assert main(["--help"]) == 0
    listed = re.findall(r"^  (\w+) +\w", capsys.readouterr().out, re.MULTILINE)
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
        (["open"], "the commands are run, demo"),
        (["--frobnicate", "profiles", "list"], "--frobnicate"),
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


@pytest.mark.usefixtures("store_path")
def test_list_shows_everybody(capsys: Capture) -> None:
    assert main(["profiles", "list"]) == 0
    title, ada, grace = capsys.readouterr().out.splitlines()
    assert title.split()[:3] == ["NAME", "KIND", "STATUS"]
    assert ada.split()[:6] == ["Ada", "passphrase", "enrolled", "3", "of", "3"]
    assert grace.split()[:6] == ["Grace", "voice", "enrolling", "12.5", "of", "30"]


def test_list_of_nobody(capsys: Capture) -> None:
    assert main(["profiles", "list"]) == 0
    assert "Nobody is enrolled" in capsys.readouterr().out


@pytest.mark.usefixtures("store_path")
def test_show_never_shows_a_signature(capsys: Capture) -> None:
    code, value = run_json(capsys, "profiles", "show", "GRACE")
    assert code == 0
    assert (value["profile"]["name"], value["profile"]["remaining"]) == ("Grace", 17.5)
    assert not any("embedding" in key for key in value["profile"])
    assert main(["profiles", "show", "Ada"]) == 0
    assert "3 of 3 repetitions" in capsys.readouterr().out


@pytest.mark.usefixtures("store_path")
@pytest.mark.parametrize("action", ["show", "revert", "reset", "rename", "delete"])
def test_unknown_profile_is_2_and_hints(capsys: Capture, action: str) -> None:
    extra = {"rename": ["Augusta"], "show": []}.get(action, ["--yes"])
    assert main(["profiles", action, "Adda", *extra]) == 2
    assert "did you mean Ada?" in capsys.readouterr().err


def test_rename_reset_delete(capsys: Capture, store_path: Path) -> None:
    assert main(["profiles", "rename", "ada", "Augusta Ada"]) == 0
    assert main(["profiles", "rename", "Grace", "augusta ADA"]) == 2
    assert main(["profiles", "reset", "augusta ada", "--yes"]) == 0
    assert "Augusta Ada is reset" in capsys.readouterr().out
    code, value = run_json(capsys, "profiles", "show", "augusta ada")
    assert (code, value["profile"]["remaining"]) == (0, 3)
    code, value = run_json(capsys, "profiles", "delete", "augusta ada", "-y")
    assert (code, value["deleted"]["name"]) == (0, "Augusta Ada")
    with ProfileStore(store_path) as store:
        assert [profile.name for profile in store.list()] == ["Grace"]


class _Answers:
    def __init__(self, answer: str, *, terminal: bool) -> None:
        self.answer, self.terminal = answer, terminal

    def isatty(self) -> bool:
        return self.terminal

    def readline(self) -> str:
        return self.answer


@pytest.mark.parametrize("action", ["delete", "reset"])
@pytest.mark.parametrize(
    ("answer", "terminal", "code"),
    [("y\n", True, 0), ("Yes\n", True, 0), ("\n", True, 1), ("", True, 1), ("y\n", False, 2)],
)
def test_erasing_asks_first(
    monkeypatch: pytest.MonkeyPatch,
    store_path: Path,
    action: str,
    answer: str,
    terminal: bool,
    code: int,
) -> None:
    monkeypatch.setattr(sys, "stdin", _Answers(answer, terminal=terminal))
    assert main(["profiles", action, "Ada"]) == code
    with ProfileStore(store_path) as store:
        kept = any(profile.name == "Ada" and profile.samples for profile in store.list())
    assert kept is (code != 0)


def _teach(store_path: Path, *seeds: int) -> None:
    with ProfileStore(store_path) as store:
        for seed in seeds:
            store.adapt(store.get("Ada"), replace(make_sample(seed), adapted=True), most=5)


def test_show_tells_what_was_learned_and_revert_forgets_it(
    capsys: Capture, store_path: Path, config: Path
) -> None:
    def adapted() -> str:
        assert main(["profiles", "show", "Ada"]) == 0
        lines = capsys.readouterr().out.splitlines()
        return next(line for line in lines if line.startswith("  adapted "))

    assert adapted() == "  adapted  no (enrolment.adapt is off)"
    config.write_text("state_directory: state\nenrolment: {adapt: true, adapt_samples: 7}\n")
    assert adapted() == "  adapted  nothing yet"
    code, before = run_json(capsys, "profiles", "show", "Ada")
    assert (code, before["profile"]["adapted"], before["profile"]["drift"]) == (0, 0, 0.0)
    _teach(store_path, 7, 8)
    assert re.fullmatch(
        r"  adapted  2 of at most 7 utterances, drift 0\.\d{3} \(0 none, 1 another voice\);"
        r" latest 2023-11-1\d \d\d:\d\d",
        adapted(),
    )
    code, value = run_json(capsys, "profiles", "show", "Ada")
    assert (code, value["profile"]["adapted"], value["profile"]["enrolments"]) == (0, 2, 3)
    assert 0.05 < value["profile"]["drift"] < 0.3  # random numbers, which no voice is
    code, value = run_json(capsys, "profiles", "list")
    assert [each["adapted"] for each in value["profiles"]] == [2, 0]
    config.write_text("state_directory: state\n")
    assert adapted().endswith("; now off")
    assert main(["profiles", "revert", "Ada", "--yes"]) == 0
    assert "Ada is known by the enrolment alone" in capsys.readouterr().out
    code, after = run_json(capsys, "profiles", "show", "Ada")
    assert (code, after["profile"]["adapted"], after["profile"]["enrolments"]) == (0, 0, 3)
    code, value = run_json(capsys, "profiles", "revert", "Ada", "-y")
    assert (code, value["profile"]["adapted"]) == (0, 0)


@pytest.mark.parametrize(("answer", "code", "left"), [("y\n", 0, 0), ("\n", 1, 1)])
def test_reverting_asks_first(
    monkeypatch: pytest.MonkeyPatch, store_path: Path, answer: str, code: int, left: int
) -> None:
    _teach(store_path, 7)
    monkeypatch.setattr(sys, "stdin", _Answers(answer, terminal=True))
    assert main(["profiles", "revert", "Ada"]) == code
    with ProfileStore(store_path) as store:
        assert len(store.get("Ada").adapted) == left


def test_damaged_signature_can_be_reset(capsys: Capture, store_path: Path) -> None:
    content = bytearray(store_path.read_bytes())
    content[bytes(content).index(make_sample(2).speaker_embedding[40:44].tobytes())] ^= 1
    store_path.write_bytes(content)
    code, value = run_json(capsys, "profiles", "list")
    assert code == value["error"]["exit_code"] == 3
    assert "signature of Ada" in value["error"]["message"]
    assert main(["profiles", "reset", "Ada", "--yes"]) == 0
    assert main(["profiles", "list"]) == 0


def test_foreign_store_is_3_and_left_alone(capsys: Capture, store_path: Path) -> None:
    store_path.write_bytes(b"keep me" * 1000)
    for arguments in (["profiles", "list"], ["enroll", "Ada", "a.wav"], ["verify", "Ada", "a.wav"]):
        assert main(arguments) == 3
        assert "not a signature store" in capsys.readouterr().err
    assert store_path.read_bytes() == b"keep me" * 1000


def test_config_check_shows_every_mistake(capsys: Capture, config: Path) -> None:
    assert main(["config", "check"]) == 0
    assert "fine" in capsys.readouterr().out
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


def test_rejected_enrolment_carries_its_reason(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> int:
        raise EnrolmentRejected("too_noisy", "too noisy: find a quieter moment")

    _replace_run(monkeypatch, refuse)
    code, value = run_json(capsys, "profiles", "list")
    assert code == 2
    assert value["error"]["reason"] == "too_noisy"


def test_devices_without_sound_hardware_or_with(capsys: Capture) -> None:
    code, value = run_json(capsys, "devices")
    if code == 0:
        assert {"index", "name", "is_default"} <= set(value["devices"][0])
    else:
        assert code == value["error"]["exit_code"] == 3
    assert devices.NAME == "devices"


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


def test_name_that_the_terminal_cannot_show(tmp_path: Path) -> None:
    with ProfileStore(tmp_path / "state" / "signatures.sqlite") as store:
        store.create("李小龙 [red]", ProfileKind.PHRASE, required=3)
    done = run_process("profiles", "list", env={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0
    assert "\\u674e" in done.stdout
    assert "[red]" in run_process("profiles", "list").stdout


def test_real_process_has_the_exit_codes(store_path: Path) -> None:
    assert run_process("profiles", "list").returncode == 0
    assert run_process("profiles", "show", "Nobody").returncode == 2
    done = run_process("profiles", "delete", "Ada", stdin=subprocess.DEVNULL)
    assert done.returncode == 2
    assert "--yes" in done.stderr
    store_path.write_bytes(b"")
    done = run_process("--json", "profiles", "list")
    assert done.returncode == json.loads(done.stdout)["error"]["exit_code"] == 3


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
@pytest.mark.parametrize("output", [">/dev/full", ">&-"])
@pytest.mark.parametrize("options", [[], ["--json"]])
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
    assert f"argument --wait: '{text[:40]}' cannot be used; give seconds, more than 0" in error
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
