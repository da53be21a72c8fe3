"""A service whose standard output cannot be written watches the door all the same."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.integration.broker import Broker, Subscriber
from tests.integration.house import DEMO, House
from tests.integration.waiting import PATIENCE


@pytest.mark.parametrize("output", [">/dev/full", ">&-"])
def test_decisions_that_cannot_be_printed_are_still_published(tmp_path: Path, output: str) -> None:
    twice = tmp_path / "twice.flac"
    once, rate = soundfile.read(DEMO / "ada_right_phrase.flac")
    soundfile.write(twice, np.concatenate((once, np.zeros(2 * rate), once, np.zeros(rate))), rate)
    with Broker(tmp_path / "broker") as broker, Subscriber(broker) as home:
        house = House(tmp_path, broker, dict(os.environ))
        house.enroll_ada()
        command = house.command("run", "--json", "--input", str(twice))
        done = subprocess.run(
            ["sh", "-c", f'exec "$@" {output}', "sh", *command],
            env=house.environment,
            stderr=subprocess.PIPE,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        home.wait_for("/status", lambda status: status["state"] == "offline")
        assert len(home.on("/decision")) == 2
    assert done.returncode == 3
    assert done.stderr.count("decisions are still made and published") == 1
    assert "Traceback" not in done.stderr
