"""`edge-voice setup` at a real terminal: answers become settings, the password stays unseen."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from edge.config import load_config
from tests.integration.broker import Broker
from tests.integration.waiting import PATIENCE, settled

PASSWORD = "between us two"  # noqa: S105
ANSWERS = (
    ("door or home", "home"),
    ("Name of this device", "Kitchen"),
    ("Microphone", ""),
    ("MQTT broker", "127.0.0.1:9"),
    ("MQTT user name", ""),
    ("MQTT password", PASSWORD),
    ("Encrypt the connection", ""),
    ("Announce the device to Home Assistant", ""),
    ("Sign decisions", "yes"),
    ("Write it all the same", ""),
)


def until(terminal: int, text: str, seen: str) -> str:
    """Read until a text has been shown."""
    while text not in seen:
        assert select.select([terminal], [], [], PATIENCE)[0], seen
        seen += os.read(terminal, 4096).decode()
    return seen


def echoes(terminal: int) -> bool:
    return bool(termios.tcgetattr(terminal)[3] & termios.ECHO)


def test_a_person_answers(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    child, terminal = pty.fork()
    if child == 0:
        os.environ["XDG_STATE_HOME"] = str(tmp_path / "state")
        command = [sys.executable, "-m", "edge.cli", "setup", "--config", str(file)]
        os.execv(sys.executable, command)  # noqa: S606
    shown = ""
    for question, answer in ANSWERS:
        seen = until(terminal, question, "")
        seen = until(terminal, ": ", seen)
        # What asks for a password throws away what was typed before it asked.
        assert settled(lambda secret=answer == PASSWORD: echoes(terminal) != secret)
        os.write(terminal, f"{answer}\n".encode())
        shown += seen
    shown += until(terminal, "Next, enroll someone for Kitchen", "")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    os.close(terminal)
    assert PASSWORD not in shown
    assert "warning: broker connect: 127.0.0.1, port 9: " in shown
    assert "127.0.0.1:9" in shown  # what is no secret is
    assert (tmp_path / "mqtt-password").read_text() == f"{PASSWORD}\n"
    config = load_config(file)
    assert config.device.name == "Kitchen"
    assert (config.mqtt.host, config.mqtt.port) == ("127.0.0.1", 9)
    assert config.signing.key_file == tmp_path / "signing-key"


@pytest.mark.parametrize(
    ("password", "said"),
    [(PASSWORD, []), ("another one", ["broker_login.refused"]), (None, ["broker_login.refused"])],
)
def test_the_broker_is_tried_with_the_password_before_anything_is_written(
    tmp_path: Path, password: str | None, said: list[str]
) -> None:
    file = tmp_path / "config.yaml"
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")}
    with Broker(tmp_path / "broker", login=("door", PASSWORD)) as broker:
        options = ["--broker", f"localhost:{broker.port}", "--user", "door", "--no-tls"]
        if password is not None:
            secret = tmp_path / "password"
            secret.write_text(f"{password}\n")
            options += ["--password-file", str(secret)]
        command = [sys.executable, "-m", "edge.cli", "setup", "--config", str(file), "--json"]
        done = subprocess.run(
            [*command, "--yes", *options],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
    assert done.returncode == 0, done.stderr
    faults = [each["code"] for each in json.loads(done.stdout)["faults"]]
    assert [code for code in faults if code.startswith("broker")] == said
    assert len(done.stderr.splitlines()) == len(faults)
    assert load_config(file).mqtt.username == "door"
