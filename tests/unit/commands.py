"""Running commands in this process."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edge.cli.main import main

Capture = pytest.CaptureFixture[str]


def run_json(capture: Capture, *arguments: str) -> tuple[int, dict[str, Any]]:
    code = main([*arguments, "--json"])
    lines = capture.readouterr().out.splitlines()
    assert len(lines) == 1
    value: dict[str, Any] = json.loads(lines[0])
    return code, value
