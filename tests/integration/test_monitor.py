"""`edge-voice monitor`: beside a running service, by itself, on a terminal and in a pipe."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.monitor.client import connect
from tests.integration.broker import Broker
from tests.integration.house import DEMO, House, feed, speak, stop
from tests.integration.waiting import PATIENCE, settled
from tools.pictures.terminal import Terminal


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path, Broker(tmp_path / "broker"), dict(os.environ), mqtt={"enabled": False})


class Lines:
    """What a monitor prints, a message at a time."""

    def __init__(self, house: House, *arguments: str) -> None:
        self.process = subprocess.Popen(
            house.command("monitor", "--json", *arguments),
            env=house.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def until(self, kind: str) -> list[dict[str, Any]]:
        """What comes up to a message of a kind, that one included."""
        assert self.process.stdout is not None
        found: list[dict[str, Any]] = []
        late = threading.Timer(PATIENCE, self.process.kill)  # which ends what is read
        late.start()
        try:
            while not found or found[-1]["type"] != kind:
                line = self.process.stdout.readline()
                assert line, found
                found.append(json.loads(line))
        finally:
            late.cancel()
        return found


def started(house: House, socket: Path) -> subprocess.Popen[bytes]:
    service = house.start("--input", "-")
    feed(service, np.zeros(16_000))
    assert settled(socket.exists), house.log.read_text()
    return service


def test_watches_a_service_over_its_restart(house: House, tmp_path: Path) -> None:
    house.enroll_ada()
    socket = tmp_path / "state" / "monitor.sock"
    service = started(house, socket)
    lines = Lines(house)
    try:
        deaf = connect([socket])  # somebody who never reads, and whom nobody waits for
        assert lines.until("hello")[0]["device"] == "test-door"
        state = lines.until("state")[-1]
        assert (state["state"], state["enrolled"]) == ("listening", 1)
        speak(service, "ada_right_phrase")
        told = lines.until("decision")
        assert [m["type"] for m in told if m["type"] != "level"] == ["utterance", "decision"]
        told += lines.until("level")  # how loud it was may be told after what came of it
        assert any(m["type"] == "level" and m["level_dbfs"] > -40.0 for m in told)
        utterance, decision = (next(m for m in told if m["type"] == t) for t in
                               ("utterance", "decision"))  # fmt: skip
        assert utterance["id"] == decision["id"]
        assert utterance["snr_db"] > 20.0
        assert (decision["decision"], decision["name"]) == ("granted", "Ada")
        assert min(decision[f"{part}_margin"] for part in ("joint", "voice", "phrase")) > 0.0
        assert "what Ada says" not in json.dumps(told)

        with Terminal(house.command("monitor"), 80, 24, house.environment) as terminal:
            terminal.run_until("granted Ada")  # what was heard before it looked
            speak(service, "stranger_other_phrase")
            terminal.run_until("denied no_match")
            terminal.run_until("1 granted")
            terminal.type("q")
            terminal.run_to_end(PATIENCE)
            assert "test-door: 1 granted, 1 denied" in terminal.text

        stop(service)
        assert not socket.exists()
        lines.until("gone")
        service = started(house, socket)
        assert lines.until("hello")[-1]["granted"] == 0
        deaf.close()
        lines.process.send_signal(signal.SIGINT)
        assert lines.process.wait(PATIENCE) == 0
    finally:
        lines.process.kill()
        lines.process.wait()
        stop(service)


def test_listens_by_itself_and_leaves_nothing_behind(house: House, tmp_path: Path) -> None:
    house.enroll_ada()
    before = {file: file.read_bytes() for file in (tmp_path / "state").iterdir()}
    recording = str(DEMO / "ada_wrong_phrase.flac")
    done = house.spawn("monitor", "--listen", "--input", recording)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first == "test-door: listening"
    assert "  denied wrong_phrase (Ada), high confidence; 2." in second
    lines = Lines(house, "--listen", "--input", recording)
    assert lines.until("decision")[-1]["reason"] == "wrong_phrase"
    assert lines.process.communicate(timeout=PATIENCE)[1] == ""
    assert lines.process.returncode == 0
    after = {file: file.read_bytes() for file in (tmp_path / "state").iterdir()}
    assert after == before


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 3, "or listen right here with 'edge-voice monitor --listen'"),
        (["--input", "x.wav"], 2, "--input requires --listen"),
        (["--device", "2"], 2, "--device requires --listen"),
        (["--listen", "--input", "x.wav"], 2, "x.wav"),
        (["--listen", "--json", "--input", "x.wav"], 2, "x.wav"),
    ],
)
def test_says_in_one_line_what_is_wrong(
    house: House, arguments: list[str], code: int, words: str
) -> None:
    done = house.run("monitor", *arguments)
    assert done.returncode == code
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
