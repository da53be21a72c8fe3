"""Fixtures of the integration tests."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.crypto.signing import signed
from tests.contract import complaint
from tests.integration.virtual_microphone import VirtualMicrophone, skip_or_fail_without_parts


@pytest.fixture(autouse=True)
def commands_keep_to_their_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hold every genuine command that a test makes against the schema."""

    def held_against_schema(*arguments: Any) -> dict[str, Any]:
        message = signed(*arguments)
        wrong = complaint("command", message)
        assert wrong is None, wrong
        return message

    monkeypatch.setattr("edge.mqtt.commands.signed", held_against_schema)


@pytest.fixture
def microphone() -> Iterator[VirtualMicrophone]:
    """A sound server of the test's own to play into and to record from."""
    skip_or_fail_without_parts()
    with VirtualMicrophone() as room:
        yield room


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip("a small disk needs root, and leave to mount one")
    try:
        yield folder
    finally:
        # Lazily: a test beside this one may have a copy of this machine's mounts.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
