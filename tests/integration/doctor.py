"""A doctor to call, and what is asked of the findings."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from edge.doctor import Finding
from tests.integration.house import REPOSITORY
from tests.integration.waiting import PATIENCE

NOBODY = 65534


def codes(findings: Iterable[Finding]) -> list[str]:
    """The codes, after a look at the texts: whole, one line, and a remedy where one is due."""
    findings = list(findings)
    for finding in findings:
        assert finding.found, finding
        assert "{" not in finding.found + finding.remedy.replace("{file}", ""), finding
        assert "\n" not in finding.found + finding.remedy, finding
        if finding.state.value in ("yellow", "red"):
            assert finding.remedy, finding
        if finding.state.value == "green":
            assert not finding.remedy, finding
    return [finding.code for finding in findings]


def the(code: str, findings: Iterable[Finding]) -> Finding:
    """The one finding of that code."""
    findings = list(findings)
    assert codes(findings).count(code) == 1, findings
    return next(finding for finding in findings if finding.code == code)


def examined(
    config: Path, environment: dict[str, str], *arguments: str
) -> tuple[int, list[Finding], dict[str, Any]]:
    """Run the command: its exit code, its rows, and all that it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "edge.cli", "doctor", "--json", "--config", str(config), *arguments],
        env={**environment, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    printed: dict[str, Any] = json.loads(done.stdout)
    from edge.doctor import State

    rows = [Finding(**{**row, "state": State(row["state"])}) for row in printed["findings"]]
    return done.returncode, rows, printed


def program(folder: Path, name: str, script: str) -> Path:
    """A program that stands in for one of the system's; returns its folder, for the path."""
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return folder


def no_programs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no system program found at all."""
    (folder / "nothing").mkdir(exist_ok=True)
    monkeypatch.setenv("PATH", str(folder / "nothing"))


def as_nobody(look: Callable[[], Iterable[Finding]]) -> list[Finding]:
    """What a user finds who owns nothing; needs root, else it is this user."""
    if os.geteuid() != 0:
        return list(look())
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            os.write(writable, pickle.dumps(list(look())))
        finally:
            os._exit(0)
    os.close(writable)
    with os.fdopen(readable, "rb") as answer:
        content = answer.read()
    os.waitpid(child, 0)
    found: list[Finding] = pickle.loads(content)  # noqa: S301 (written above)
    return found
