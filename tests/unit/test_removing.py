"""What takes the software away spares what another way of installing it has put there."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

FOLDERS = ("/etc/edge-voice", "/var/lib/edge-voice", "/opt/edge-voice")


class Machine:
    """The places of an installation below a folder; every script is a copy that knows no others."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._programs = folder / "programs"
        self._programs.mkdir()
        for name in FOLDERS[:2]:
            self.place(name).mkdir(parents=True)
        self.place("/var/lib/edge-voice/signatures").write_text("who may open")
        self.program("id", "echo 0")
        self.program("getent", "exit 2")
        self.program("systemctl", f'echo "$@" >>{folder}/systemd')
        self.program("dpkg-query", "exit 1")

    def place(self, name: str) -> Path:
        return self.folder / name.lstrip("/")

    def program(self, name: str, does: str) -> None:
        file = self._programs / name
        file.write_text(f"#!/bin/sh\n{does}\n")
        file.chmod(0o755)

    def run(self, script: Path, *arguments: str) -> int:
        text = script.read_text()
        for name in ("/etc/", "/var/lib/", "/opt/", "/usr/local/bin/"):
            text = text.replace(name, f"{self.folder}{name}")
        copy = self.folder / "tools" / "copy"
        copy.parent.mkdir(exist_ok=True)
        shutil.copy(REPOSITORY / "tools" / "lib.sh", copy.parent)
        copy.write_text(text)
        path = f"{self._programs}:{os.environ['PATH']}"
        return subprocess.run(
            ["sh", str(copy), *arguments], env={"PATH": path}, check=False, capture_output=True
        ).returncode

    @property
    def knows_people(self) -> bool:
        return self.place("/var/lib/edge-voice/signatures").exists()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


POSTRM = REPOSITORY / "packaging/debian/edge-voice.postrm"
INSTALL = REPOSITORY / "tools/install"


def test_purging_the_package_forgets_everybody(machine: Machine) -> None:
    assert machine.run(POSTRM, "purge") == 0
    assert not any(machine.place(name).exists() for name in FOLDERS)


def test_but_not_those_of_the_installation_that_came_after_it(machine: Machine) -> None:
    """Removed, not purged, installed by tools/install, and purged a year later."""
    machine.place("/opt/edge-voice/current").mkdir(parents=True)
    assert machine.run(POSTRM, "purge") == 0
    assert machine.knows_people
    assert machine.place("/etc/edge-voice").is_dir()
    # debhelper's own lines may have taken its start at boot away.
    assert machine.place("systemd").read_text() == "--quiet enable edge-voice.service\n"


def test_removing_leaves_the_package_alone(machine: Machine) -> None:
    wanted = machine.place("/etc/systemd/system/multi-user.target.wants/edge-voice.service")
    wanted.parent.mkdir(parents=True)
    wanted.symlink_to("/dev/null")
    machine.program("dpkg-query", "printf installed")
    assert machine.run(INSTALL, "--remove", "--purge") == 3
    assert machine.knows_people
    assert wanted.is_symlink()


def test_removing_and_purging_what_it_installed(machine: Machine) -> None:
    assert machine.run(INSTALL, "--remove") == 0
    assert machine.knows_people
    assert machine.run(INSTALL, "--remove", "--purge") == 0
    assert not machine.knows_people
