"""The unit, read by systemd itself."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.integration.broker import require

FOLDER = Path(__file__).resolve().parents[2] / "systemd"


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    require("systemd-analyze")
    text = (FOLDER / "edge-voice.service").read_text()
    program = "/opt/edge-voice/bin/edge-voice"
    assert program in text
    copy = tmp_path / "edge-voice.service"
    copy.write_text(text.replace(program, "/bin/true"))  # it must exist to be accepted
    result = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    # Other units of the machine may have faults of their own.
    ours = [line for line in result.stderr.splitlines() if "edge-voice" in line]
    assert ours == []
