"""Fixtures of the integration tests."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.virtual_microphone import VirtualMicrophone, skip_or_fail_without_parts


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
        subprocess.run(["umount", str(folder)], check=True)
