"""A decision that is on the wire when the wire is cut does not come out of it later."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.broker import require
from tests.integration.waiting import PATIENCE

REPOSITORY = Path(__file__).resolve().parents[2]
OWN_NETWORK = ["unshare", "--user", "--map-root-user", "--net"]


def test_nothing_comes_out_of_a_mended_wire() -> None:
    require("unshare", "ip", "mosquitto")
    if subprocess.run([*OWN_NETWORK, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine does not allow a network namespace of one's own")
    result = subprocess.run(
        [*OWN_NETWORK, sys.executable, "-m", "tests.integration.wire"],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    outcome = json.loads(result.stdout.splitlines()[-1])
    made, arrived = outcome["made"], outcome["arrived"]
    assert made["first"] in arrived
    assert made["patient"] in arrived
    assert made["doomed"] not in arrived
    assert made["orphan"], "the process that is killed must have sent its decision"
    assert made["orphan"] not in arrived
