"""The doctor as a whole: all checks, their rows, and every message reached."""

from __future__ import annotations

import importlib
import io
import pkgutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from rich.console import Console

import edge.doctor
from edge.cli.doctor import label, show_lines, show_row
from edge.cli.main import main
from edge.doctor import Finding, FindingKind, State, examine
from edge.doctor.context import Context
from edge.doctor.examination import DoctorCheck, run_check
from edge.errors import ConfigError
from edge.store import open_store
from tests.integration.doctor import codes, the
from tests.unit.commands import Capture, run_json
from tests.unit.stores import enroll

KEYS = {"name", "state", "found", "remedy", "code"}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A device where nothing is red, without a broker."""
    file = tmp_path / "config.yaml"
    settings = {"mqtt": {"enabled": False}, "state_directory": str(tmp_path / "state")}
    file.write_text(yaml.safe_dump(settings))
    file.chmod(0o644)
    with open_store(tmp_path / "state") as store:
        enroll(store, "Ada", 1, 2, 3)
    return file


def test_nothing_red_is_0(config: Path, capsys: Capture) -> None:
    code, value = run_json(capsys, "doctor", "--quick", "--config", str(config))
    assert all(set(row) == KEYS for row in value["findings"])
    red = [row for row in value["findings"] if row["state"] == "red"]
    assert red == []
    assert code == 0
    assert value["red"] == 0
    assert sum(value[state.value] for state in State) == len(value["findings"])
    found = {row["code"] for row in value["findings"]}
    assert {
        "configuration.fine", "clock.plausible", "broker.off", "microphone.left_out",
        "store.opens", "audit.absent", "models.genuine", "speed.left_out",
    } <= found  # fmt: skip


def test_something_red_is_3_and_the_rest_is_still_run_check(
    config: Path, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "state" / "store.key").chmod(0o644)
    assert main(["doctor", "--quick", "--config", str(config)]) == 3
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    row = next(number for number, line in enumerate(lines) if "red state files" in line)
    assert "other users can read" in lines[row]
    assert "run: sudo chmod 600" in " ".join(lines[row : row + 4])
    assert any("green models" in line for line in lines[row:])
    assert lines[-1].startswith("1 red, ")


def test_every_mistake_of_the_configuration(config: Path, capsys: Capture) -> None:
    config.write_text("audioo: {}\nmqtt:\n  port: many\n")
    config.chmod(0o666)
    code, value = run_json(capsys, "doctor", "--quick", "--config", str(config))
    assert code == 3
    rows = [row for row in value["findings"] if row["code"] == "configuration.mistake"]
    assert [row["found"].partition(": ")[0] for row in rows] == [f"{config}:1", f"{config}:3"]
    assert "did you mean audio?" in rows[0]["found"]
    found = [row["code"] for row in value["findings"]]
    assert found[-1] == "examination.unread"
    assert "configuration.open" in found
    assert "models.genuine" in found
    assert not any(code.startswith(("broker", "state", "microphone")) for code in found)


def test_no_configuration_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if Path("/etc/edge-voice/config.yaml").exists():
        pytest.skip("this machine has a configuration")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "EDGE_VOICE_CONFIG", "STATE_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    found = list(examine(quick=True))
    assert {"configuration.defaults", "state.absent"} <= set(codes(found))
    assert list(tmp_path.iterdir()) == []


def test_a_check_that_hangs_or_fails_stops_nothing() -> None:
    over = threading.Event()

    def fails(_: Context) -> Iterator[Finding]:
        yield Finding("first", State.GREEN, "fine", "", "first.fine")
        raise RuntimeError("a secret of the program's own")

    def hangs(_: Context) -> Iterator[Finding]:
        over.wait(60.0)
        yield Finding("late", State.GREEN, "fine", "", "late.fine")

    found = list(run_check(DoctorCheck("first", fails), Context()))
    assert codes(found) == ["first.fine", "examination.failed"]
    assert "unexpected RuntimeError" in found[1].found
    assert "a secret" not in str(found)

    def lacks(_: Context) -> Iterator[Finding]:
        raise ConfigError("there is no home directory; set HOME")
        yield

    (prevented,) = run_check(DoctorCheck("state", lacks), Context())
    assert prevented.found == "the check of the state cannot be done: there is no home directory"
    assert (prevented.code, prevented.remedy) == ("examination.prevented", "set HOME")
    found = list(run_check(DoctorCheck("disk", hangs, limit_s=0.2), Context()))
    over.set()
    assert codes(found) == ["examination.hung"]
    assert the("examination.hung", found).found == "the check of the disk was stopped after 0.2 s"


def every_kind() -> list[FindingKind]:
    """All findings that are possible, wherever they are declared."""
    found: dict[str, FindingKind] = {}

    def take(value: object) -> None:
        if isinstance(value, FindingKind):
            assert found.setdefault(value.code, value) is value, f"{value.code} is declared twice"
        elif isinstance(value, dict):
            for each in value.values():
                take(each)

    for module in pkgutil.iter_modules(edge.doctor.__path__):
        for value in vars(importlib.import_module(f"edge.doctor.{module.name}")).values():
            take(value)
    return list(found.values())


def test_every_message_is_reached_by_a_test() -> None:
    """Each code is expected somewhere; what expects it also looks at the text (see `codes`)."""
    tests = Path(__file__).parents[1].glob("*/test_doctor*.py")
    texts = "".join(file.read_text() for file in tests)
    kinds = every_kind()
    assert len(kinds) > 90
    steps = [f"broker_{step}.not_tried" for step in ("connect", "tls", "login", "publish")]
    missing = [
        kind.code for kind in kinds if f'"{kind.code}"' not in texts and kind.code not in steps
    ]
    assert missing == []


def test_every_message_has_a_remedy_where_one_is_due() -> None:
    for kind in every_kind():
        due = kind.state in (State.YELLOW, State.RED)
        assert bool(kind.remedy) is due or kind.state is State.SKIPPED, kind
        assert len(kind.found) < 160, kind


@pytest.mark.parametrize("width", [60, 80, 120])
def test_nothing_is_cut_off(width: int) -> None:
    """Every message on screens of several widths: all words are there, no line is wider."""
    for kind in every_kind():
        name = kind.code.partition(".")[0]
        path = "/var/lib/edge-voice/a-file-with-a-rather-long-name-that-no-line-holds"
        row = Finding(name, kind.state, kind.found + path, kind.remedy, kind.code)
        screen = Console(file=io.StringIO(), width=width, force_terminal=True)
        show_row(screen, row)
        assert isinstance(screen.file, io.StringIO)
        plain = Console(file=io.StringIO(), width=width)
        show_row(plain, row)
        assert isinstance(plain.file, io.StringIO)
        shown = plain.file.getvalue()
        assert max(map(len, shown.splitlines())) <= width
        squeezed = "".join(shown.split())
        for text in (row.found, row.remedy, label(name), kind.state.value):
            assert "".join(text.split()) in squeezed.replace("\N{RIGHTWARDS ARROW}", ""), shown


def test_a_file_gets_whole_lines(capsys: pytest.CaptureFixture[str]) -> None:
    found = "so it is " * 40 + "at the end"
    row = Finding("broker_connect", State.YELLOW, found, "do this", "broker_connect.so")
    show_lines(Console(file=io.StringIO(), width=80), row)
    assert capsys.readouterr().out.splitlines() == [
        f"\N{BLACK UP-POINTING TRIANGLE} yellow broker connect: {found}",
        "  \N{RIGHTWARDS ARROW} do this",
    ]  # fmt: skip


def test_a_terminal_without_symbols() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    screen = Console(file=stream, width=80)
    for state, symbol in zip(State, "x!+-"):
        show_row(screen, Finding("clock", state, "so it is", "do this", "clock.so"))
        stream.flush()
        assert isinstance(stream.buffer, io.BytesIO)
        assert (
            stream.buffer.getvalue().decode().splitlines()[-2].startswith(f"{symbol} {state.value}")
        )
    assert "-> do this" in stream.buffer.getvalue().decode()
