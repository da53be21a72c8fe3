"""axe-core, which looks for what hinders people on a page; downloaded for the tests alone."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.integration.waiting import PATIENCE

_VERSION = "4.14.1"
_SHA256 = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"


def axe_source(folder: Path) -> str:
    """Its script, as npm has it; skips the test where there is no npm, or no network."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("no npm (Debian: apt install npm)")
    done = subprocess.run(
        [
            npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-save",
            f"axe-core@{_VERSION}",
        ],
        cwd=folder,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )  # fmt: skip
    file = folder / "node_modules" / "axe-core" / "axe.min.js"
    if done.returncode != 0 or not file.is_file():
        pytest.skip(f"axe-core cannot be downloaded: {done.stderr.decode(errors='replace')[-200:]}")
    content = file.read_bytes()
    assert hashlib.sha256(content).hexdigest() == _SHA256
    return content.decode()


def findings(page: Any, source: str) -> list[str]:
    """What it finds on a page that is open in a browser, a line each."""
    page.evaluate(source)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    assert found["passes"], "it looked at nothing"
    return [
        f"{page.url}: {each['impact']}: {each['id']}: {each['nodes'][0]['html'][:200]}"
        for each in found["violations"]
    ]
