"""The unit: read by systemd itself, and the service running inside its limits."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from edge.monitor.messages import SYSTEM_SOCKET
from tests.integration.broker import require
from tests.integration.waiting import PATIENCE
from tools.confined.unit import ASSISTANTS, SERVER, UNIT, limited
from tools.run_confined import boot, judge, missing

MOST_EXPOSURE = 1.5


def accepted(folder: Path, text: str) -> Path:
    """A copy of a unit whose program exists, which systemd asks for."""
    program = "ExecStart=edge-voice "
    assert program in text
    copy = folder / "edge-voice.service"
    copy.write_text(text.replace(program, "ExecStart=/bin/true "))
    return copy


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    require("systemd-analyze")
    return subprocess.run(
        ["systemd-analyze", "--no-pager", *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def exposure(file: Path) -> float:
    result = analyze("security", "--offline=true", str(file))
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", result.stdout)
    assert found is not None, result.stderr
    return float(found[1])


@pytest.mark.parametrize("which", ["the service", "a command", "the server", "the assistants"])
def test_systemd_accepts_the_unit(tmp_path: Path, which: str) -> None:
    text = {"the server": SERVER, "the assistants": ASSISTANTS}.get(which, UNIT).read_text()
    if which == "a command":
        text = limited(text, "edge-voice devices")
    result = analyze("verify", "--man=no", str(accepted(tmp_path, text)))
    # Other units of the machine may have faults of their own.
    ours = [line for line in result.stderr.splitlines() if "edge-voice" in line]
    assert ours == []


@pytest.mark.parametrize("unit", [UNIT, SERVER, ASSISTANTS], ids=lambda unit: unit.stem)
def test_little_is_exposed(tmp_path: Path, unit: Path) -> None:
    text = unit.read_text()
    assert exposure(accepted(tmp_path, text)) <= MOST_EXPOSURE
    lines = [line for line in text.splitlines() if not line.startswith(("Capab", "SystemCall"))]
    assert exposure(accepted(tmp_path, "\n".join(lines))) > MOST_EXPOSURE


def settings(unit: Path) -> set[str]:
    return {line for line in unit.read_text().splitlines() if line and line[0] not in "#["}


def test_the_server_is_limited_as_the_service_is_and_behind_it() -> None:
    service, server = settings(UNIT), settings(SERVER)
    # What the service may use or must have, and the server need not.
    assert {line.partition("=")[0] for line in service - server} == {
        "Description", "After", "Wants", "StartLimitIntervalSec", "ExecStart", "ExecReload",
        "Restart", "RestartSec", "WatchdogSec", "Nice", "SupplementaryGroups", "LoadCredential",
        "SetCredential", "RuntimeDirectory", "RuntimeDirectoryMode", "DeviceAllow", "TasksMax",
    }  # fmt: skip
    assert {"PrivateDevices=yes", "Nice=10", "CPUWeight=20", "IOWeight=20"} <= server - service


def test_the_server_for_assistants_is_limited_as_the_http_server_is() -> None:
    http, assistants = settings(SERVER), settings(ASSISTANTS)
    assert {line.partition("=")[0] for line in http ^ assistants} == {
        "Description", "ExecStart", "LoadCredential", "SetCredential",
        "RestrictAddressFamilies", "IPAddressAllow",
    }  # fmt: skip


def test_a_limit_of_the_unit_is_one_of_its_commands() -> None:
    text = UNIT.read_text()
    command = limited(text, "/bin/true", "Environment=A=1").splitlines()
    assert command[:3] == ["[Service]", "Type=oneshot", "ExecStart=/bin/true"]
    assert command[-1] == "Environment=A=1"
    for line in ("PrivateUsers=yes", "User=edge-voice", "SystemCallFilter=@system-service"):
        assert line in command
    assert not [
        line for line in command if line.startswith(("Watchdog", "WantedBy", "Restart", "Run"))
    ]


def test_the_folder_of_the_monitor_is_where_it_looks() -> None:
    lines = UNIT.read_text().splitlines()
    assert f"RuntimeDirectory={SYSTEM_SOCKET.parent.relative_to('/run')}" in lines
    assert "RuntimeDirectoryMode=0750" in lines


@pytest.mark.parametrize(("unit", "credentials"), [(UNIT, 5), (SERVER, 3), (ASSISTANTS, 3)])
def test_every_credential_may_be_missing(unit: Path, credentials: int) -> None:
    lines = unit.read_text().splitlines()
    loaded = [line.split("=")[1].split(":")[0] for line in lines if line.startswith("LoadCred")]
    instead = [line.split("=")[1].split(":")[0] for line in lines if line.startswith("SetCred")]
    assert loaded == instead
    assert len(loaded) == credentials


@pytest.mark.slow
@pytest.mark.alone
def test_the_service_works_within_its_limits_and_they_hold(tmp_path: Path) -> None:
    reason = missing()
    if reason is not None:
        pytest.skip(f"the service's own systemd cannot be started: {reason}")
    tmp_path.chmod(0o755)
    rows = judge(boot(tmp_path))
    wrong = [f"{title}: {found}" for title, found, right in rows if not right]
    log = tmp_path / "controller.log"
    assert wrong == [], log.read_text() if log.exists() else ""
    assert len(rows) > 30


@pytest.mark.slow
def test_the_command_says_where_it_cannot_run() -> None:
    if missing() is None:
        pytest.skip("it can be run here")
    done = subprocess.run(
        [sys.executable, "-m", "tools.run_confined"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    assert "cannot be run here" in done.stderr
