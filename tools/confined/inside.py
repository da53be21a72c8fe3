"""Checks the service from outside, as root in the same system: broker, microphone, commands."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from edge.audio.files import read_audio
from edge.resources import demo_directory
from tools.confined import probe
from tools.confined.unit import SERVER, UNIT, limited

HERE = Path("/run/confined")
SERVICE = "edge-voice.service"
UNITS = Path("/run/systemd/system")
PASSWORD = "a password, for this test alone"  # noqa: S105
RATE = 16000
_BLOCK = RATE // 10

CONFIG = """
device: {id: confined-door}
mqtt: {host: 127.0.0.1, port: 1883, username: door, password_file: mqtt-password}
"""

BROKER = """
listener 1883 127.0.0.1
persistence false
allow_anonymous false
password_file /run/broker/passwords
user root
"""


class Feeder:
    """Feeds the service: silence in real time, and recordings."""

    def __init__(self, fifo: Path) -> None:
        os.mkfifo(fifo, 0o600)
        # Opened for reading and writing, so that neither side waits for the other.
        self._pipe = os.open(fifo, os.O_RDWR)
        self._said = np.zeros(0, dtype="<i2")
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def say(self, recording: Path) -> None:
        """Play a recording."""
        samples = read_audio(recording).samples
        with self._lock:
            self._said = np.round(samples * 32767).astype("<i2")

    def hang(self) -> None:
        """Stop sending sound."""
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        noise = np.random.default_rng(1)
        due = time.monotonic()
        while not self._stop.is_set():
            with self._lock:
                part, self._said = self._said[:_BLOCK], self._said[_BLOCK:]
            block = noise.integers(-3, 4, _BLOCK).astype("<i2")
            block[: part.size] += part
            os.write(self._pipe, block.tobytes())
            due += 0.1
            time.sleep(max(0.0, due - time.monotonic()))


def systemctl(*arguments: str) -> str:
    """The output of a systemctl command."""
    done = subprocess.run(
        ["systemctl", *arguments], capture_output=True, text=True, check=False, timeout=120
    )
    if done.returncode:
        print("systemctl", *arguments, done.stdout, done.stderr, flush=True)
    return done.stdout.strip()


def run_unit(name: str, text: str) -> str:
    """Run a unit to its end; return systemd's result."""
    UNITS.mkdir(exist_ok=True)
    (UNITS / f"{name}.service").write_text(text)
    systemctl("daemon-reload")
    systemctl("start", f"{name}.service")
    return systemctl("show", "-P", "Result", f"{name}.service")


def prepare() -> None:
    """Set up as in systemd/README.md, except the broker and the file in place of a sound card."""
    subprocess.run(["systemd-sysusers", "/etc/sysusers.d/edge-voice.conf"], check=True)
    folder = Path("/etc/edge-voice")
    folder.mkdir(mode=0o755)
    (folder / "config.yaml").write_text(CONFIG)
    secret = folder / "mqtt-password"
    secret.touch(mode=0o600)
    secret.write_text(PASSWORD + "\n")
    probe.SHARED.write_text("shared")
    shutil.chown(probe.SHARED, "root", "audio")
    probe.SHARED.chmod(0o640)
    broker = Path("/run/broker")
    broker.mkdir(mode=0o700)
    (broker / "mosquitto.conf").write_text(BROKER)
    (broker / "passwords").touch(mode=0o600)
    for user in ("door", "home"):
        subprocess.run(
            ["mosquitto_passwd", "-b", str(broker / "passwords"), user, PASSWORD], check=True
        )
    with (HERE / "broker.log").open("wb") as log:
        subprocess.Popen(
            ["mosquitto", "-c", str(broker / "mosquitto.conf")], stdout=log, stderr=log
        )
    time.sleep(1)


def probes(unit: str, python: str) -> dict[str, Any]:
    """The attempts within the limits, and as root without them."""
    command = f"{python} -m tools.confined.probe"
    found = {}
    free = (
        f"[Service]\nType=oneshot\nExecStart={command}\n"
        "LoadCredential=mqtt-password:/etc/edge-voice/mqtt-password\n"
    )
    for name, text in (("limited", limited(unit, command)), ("unlimited", free)):
        text += f"StandardOutput=file:{HERE}/{name}.json\n"  # noqa: PLW2901
        run_unit(name, text)
        found[name] = json.loads((HERE / f"{name}.json").read_text())
    return found


def main() -> None:
    """Write result.json and the journal."""
    try:
        result = look()
        (HERE / "result.json").write_text(json.dumps(result, indent=1))
    finally:
        (HERE / "journal.log").write_text(journal())


def journal(*of: str) -> str:
    """The journal, of the system or as selected by options."""
    command = ["journalctl", "--no-pager", "-o", "cat", *of]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def look() -> dict[str, Any]:
    """Run all checks, one after the other."""
    result: dict[str, Any] = {}
    prepare()
    unit = UNIT.read_text()
    demo = demo_directory()
    files = " ".join(str(demo / f"ada_enroll_{number}.flac") for number in (1, 2, 3))
    program = "/opt/edge-voice/bin/edge-voice"
    enroll = f"{program} enroll Ada {files} --config /etc/edge-voice/config.yaml"
    result["enrollment"] = run_unit("enroll", limited(unit, enroll))

    messages: list[dict[str, Any]] = []
    arrived = threading.Event()

    def on_message(_client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        if message.topic.endswith("/decision"):
            messages.append(json.loads(message.payload))
            arrived.set()

    home = paho.Client(CallbackAPIVersion.VERSION2)
    home.username_pw_set("home", PASSWORD)
    home.on_message = on_message
    home.connect("127.0.0.1", 1883)
    home.subscribe("#", 1)
    home.loop_start()

    feeder = Feeder(HERE / "sound")
    begun = time.monotonic()
    systemctl("start", SERVICE)
    result["start_s"] = round(time.monotonic() - begun, 2)
    result["state"] = systemctl("show", "-P", "ActiveState", SERVICE)
    result["pid"] = systemctl("show", "-P", "MainPID", SERVICE)
    systemctl("start", SERVER.name)
    result["decision"] = _decision(feeder, arrived, messages, demo / "ada_right_phrase.flac")
    result["status"] = _status(result["pid"])
    result["server"] = _server()
    result["watched"] = {who: _watched(who) for who in ("root", "group", "nobody")}
    result["probes"] = probes(unit, "/opt/edge-voice/bin/python")
    result["doctor"] = doctor(program)

    feeder.hang()
    begun = time.monotonic()
    ended = "success"
    while time.monotonic() - begun < 70 and ended == "success":
        time.sleep(0.3)
        ended = systemctl("show", "-P", "Result", SERVICE)
    result["watchdog_s"] = round(time.monotonic() - begun, 1)
    result["watchdog"] = ended
    while time.monotonic() - begun < 80 and systemctl("show", "-P", "NRestarts", SERVICE) == "0":
        time.sleep(0.3)
    result["doctor_afterwards"] = doctor(program, "--quick")
    systemctl("stop", SERVICE)
    return result


def doctor(program: str, *arguments: str) -> list[dict[str, str]]:
    """The findings of `edge-voice doctor`, run as root."""
    command = [program, "doctor", "--json", *arguments]
    environment = {"PATH": os.environ.get("PATH", ""), "HOME": "/root"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    print(*command, done.stderr, flush=True)
    found: list[dict[str, str]] = json.loads(done.stdout or "{}").get("findings", [])
    return found


def _decision(
    feeder: Feeder, arrived: threading.Event, messages: list[dict[str, Any]], recording: Path
) -> dict[str, Any] | None:
    time.sleep(1)
    feeder.say(recording)
    arrived.wait(20)
    return messages[0] if messages else None


_WATCH = """
import os, grp, sys
from edge.monitor.client import NoService, Stream, connect
from edge.monitor.messages import SYSTEM_SOCKET
who = sys.argv[1]
if who != "root":
    os.setgroups([grp.getgrnam("edge-voice").gr_gid] if who == "group" else [])
    os.setgid(65534)
    os.setuid(65534)
try:
    received = Stream(connect([SYSTEM_SOCKET])).wait(5.0)
    print(",".join(each.get("name") or "-" for each in received if each["type"] == "decision"))
except NoService:
    print("refused")
"""


def _watched(who: str) -> str:
    """What root, a member of the service's group, and anyone else get from the monitor's socket."""
    done = subprocess.run(
        ["/opt/edge-voice/bin/python", "-c", _WATCH, who],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.stdout.strip() or done.stderr.strip()[-200:]


def _server() -> dict[str, Any]:
    """What the HTTP server answers and may do; it is stopped afterwards."""
    found: dict[str, Any] = {"state": systemctl("show", "-P", "ActiveState", SERVER.name)}
    found.update(_status(systemctl("show", "-P", "MainPID", SERVER.name)))
    line = http.client.HTTPConnection("127.0.0.1", 8443, timeout=20)
    try:
        line.request("GET", "/nothing")
        found["answer"] = line.getresponse().status
    except OSError as error:
        found["answer"] = str(error)
    line.close()
    systemctl("stop", SERVER.name)
    found["end"] = systemctl("show", "-P", "Result", SERVER.name)
    return found


def _status(pid: str) -> dict[str, str]:
    """The running service's privileges, from the kernel."""
    wanted = ("CapPrm", "CapBnd", "NoNewPrivs", "Seccomp", "Uid", "Groups")
    found = {}
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name in wanted:
            found[name] = " ".join(value.split())
    return found


if __name__ == "__main__":
    main()
