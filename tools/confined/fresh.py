"""Tests an installation inside a fresh system: install, set up, use, upgrade, remove, purge.

    python3 -m tools.confined.fresh deb|checkout

Runs as root under that system's own systemd, with its Python. It writes /run/confined/report.json,
with a row for each check: what was checked, the result, and whether it is right.
"""

from __future__ import annotations

import json
import os
import pwd
import socket
import subprocess
import sys
import time
from pathlib import Path

HERE = Path("/run/confined")
SOURCE = HERE / "source"
CONFIG, STATE = Path("/etc/edge-voice"), Path("/var/lib/edge-voice")
DROP_IN = Path("/run/systemd/system/edge-voice.service.d/input.conf")
PASSWORD = "a password, for this test alone"  # noqa: S105


def _free_port() -> int:
    """A free port: the system shares the machine's network, to fetch packages."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


PORT = _free_port()
SETUP = (
    "--yes", "--name", "Back door", "--broker", f"127.0.0.1:{PORT}", "--user", "door", "--no-tls",
    "--password-file", str(HERE / "password"), "--signing",
)  # fmt: skip
_BROKER = f"""
listener {PORT} 127.0.0.1
persistence false
allow_anonymous false
password_file {HERE}/broker-passwords
user root
"""

rows: list[tuple[str, str, bool]] = []


def note(title: str, found: object, right: bool) -> None:
    """Write a row of the report at once: the next step may fail."""
    rows.append((title, str(found), right))
    (HERE / "report.json").write_text(json.dumps(rows))


def do(*command: str, fails: bool = False) -> subprocess.CompletedProcess[str]:
    """Run a command, and report if it fails."""
    print("+", *command, flush=True)
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=1200,
        stdin=subprocess.DEVNULL, cwd=SOURCE,
        env={**{k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
             "DEBIAN_FRONTEND": "noninteractive"},
    )  # fmt: skip
    print(done.stdout[-3000:], done.stderr[-3000:], flush=True)
    if done.returncode and not fails:
        note(" ".join(command)[:60], f"exit {done.returncode}: {done.stderr.strip()[-200:]}", False)
    return done


def shown(what: str) -> str:
    """A property of the service."""
    return do("systemctl", "show", "-P", what, "edge-voice.service").stdout.strip()


def mode(path: Path) -> str:
    """Owner and mode of a file."""
    try:
        status = path.stat()
        return f"{pwd.getpwuid(status.st_uid).pw_name} {status.st_mode & 0o7777:03o}"
    except (OSError, KeyError) as error:
        return f"missing ({error})"


def left_over() -> list[str]:
    """Every file of this system with the product's name, except installation logs."""
    found = do("find", "/", "-xdev", "-iname", "*edge[-_]voice*", "-not", "-path", "/run/confined*")
    keep = ("/var/log/", "/proc/", "/sys/", "/var/cache/apt/", "/run/systemd/")
    return [line for line in found.stdout.split() if not line.startswith(keep)]


class Home:
    """A broker, and a microphone to play to."""

    def __init__(self, python: list[str]) -> None:
        (HERE / "broker.conf").write_text(_BROKER)
        (HERE / "password").write_text(PASSWORD + "\n")
        passwords = HERE / "broker-passwords"
        passwords.touch(mode=0o600)
        for user in ("door", "home"):
            do("mosquitto_passwd", "-b", str(passwords), user, PASSWORD)
        self.broker = subprocess.Popen(
            ["mosquitto", "-c", str(HERE / "broker.conf")], stderr=subprocess.DEVNULL
        )
        self.feeder = subprocess.Popen(
            [*python, "-m", "tools.confined.feed"], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, cwd=SOURCE,
        )  # fmt: skip
        assert self.feeder.stdout is not None  # noqa: S101
        assert self.feeder.stdin is not None  # noqa: S101
        self.said = self.feeder.stdin
        self.feeder.stdout.readline()
        DROP_IN.parent.mkdir(parents=True, exist_ok=True)
        DROP_IN.write_text((HERE / "input.conf").read_text())
        do("systemctl", "daemon-reload")

    def decision(self, recording: str) -> str:
        """Play a recording; the decision and the person."""
        listener = subprocess.Popen(
            ["mosquitto_sub", "-h", "127.0.0.1", "-p", str(PORT), "-u", "home", "-P", PASSWORD,
             "-t", "edge-voice/+/decision", "-C", "1", "-W", "30"],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        time.sleep(3)
        self.said.write(f"{SOURCE}/edge/demo/recordings/{recording}.flac\n")
        self.said.flush()
        text = listener.communicate(timeout=60)[0]
        found = json.loads(text) if text else {}
        return ", ".join(str(found.get(key)) for key in ("decision", "name", "reason"))


class Deb:
    """Installation with the Debian packages in /run/confined."""

    python = ("env", f"PYTHONPATH=/usr/lib/edge-voice:{SOURCE}", "/usr/bin/python3", "-B")

    def install(self) -> None:
        """Install the first package, then run setup as its message says."""
        done = do("apt-get", "install", "-y", "--no-install-recommends", str(HERE / "1.deb"))
        note(
            "the installation names the next step",
            "sudo edge-voice setup",
            "sudo edge-voice setup" in done.stdout,
        )
        note(
            "not set up, the service does not start",
            shown("ActiveState"),
            shown("ActiveState") == "inactive",
        )

    def upgrade(self) -> None:
        """Install the second package, of a higher version."""
        do("apt-get", "install", "-y", str(HERE / "2.deb"))

    def remove(self) -> None:
        """Remove it; the configuration stays."""
        do("apt-get", "remove", "-y", "edge-voice")

    def purge(self) -> None:
        """Purge it with its configuration."""
        do("apt-get", "purge", "-y", "edge-voice")


class Checkout:
    """Installation with tools/install."""

    python = ("env", f"PYTHONPATH={SOURCE}", "/opt/edge-voice/current/bin/python", "-B")

    def install(self) -> None:
        """Install; setup is part of it, and is run again afterwards."""
        do("tools/install", "--yes", "--preset", "home", "--no-start")

    def upgrade(self) -> None:
        """Install the same version again, in another folder."""
        do("tools/install", "--upgrade")

    def remove(self) -> None:
        """Remove it; the configuration stays."""
        do("tools/install", "--remove")

    def purge(self) -> None:
        """Purge it with its configuration."""
        do("tools/install", "--remove", "--purge")


def look(way: Deb | Checkout) -> None:
    """Run all checks, one after the other."""
    before = left_over()
    way.install()
    installed()
    home = Home(list(way.python))
    try:
        used(home)
        upgraded(way, home)
        removed(way, before)
    finally:
        home.broker.terminate()
        home.feeder.terminate()


def installed() -> None:
    """Check the user, the folder, the unit and the command."""
    entry: pwd.struct_passwd | None = None
    if "edge-voice" in {entry.pw_name for entry in pwd.getpwall()}:
        entry = pwd.getpwnam("edge-voice")
    shell = entry.pw_shell if entry is not None else "no such user"
    note("a user without a shell", shell, "nologin" in shell)
    groups = do("id", "-nG", "edge-voice").stdout.strip()
    note("in the group audio", groups, "audio" in groups.split())
    note("the state folder", mode(STATE), mode(STATE) == "edge-voice 700")
    verified = do("systemd-analyze", "verify", "--man=no", "edge-voice.service").stderr
    ours = [line for line in verified.splitlines() if "edge-voice" in line]
    note("systemd accepts the unit", ours or "yes", not ours)
    enabled = do("systemctl", "is-enabled", "edge-voice").stdout.strip()
    note("starts with the machine", enabled, enabled == "enabled")
    version = do("edge-voice", "--version").stdout.strip()
    note("the command", version, version.startswith("edge-voice "))


def used(home: Home) -> None:
    """Set up, enroll a person, and let them in."""
    preset = () if (CONFIG / "config.yaml").exists() else ("--preset", "home")
    done = do("edge-voice", "setup", *preset, *SETUP)
    state = shown("ActiveState")
    note(
        "setup starts the service", state, state == "active" and "service is running" in done.stdout
    )
    rights = {"config.yaml": "root 644"}
    rights.update(dict.fromkeys(("mqtt-password", "store-key", "signing-key"), "root 600"))
    for name, right in rights.items():
        note(f"mode of {name}", mode(CONFIG / name), mode(CONFIG / name) == right)
    recordings = SOURCE / "edge" / "demo" / "recordings"
    files = [str(recordings / f"ada_enroll_{number}.flac") for number in (1, 2, 3)]
    do("edge-voice", "enroll", "Ada", *files)
    owners = {mode(path).split()[0] for path in STATE.rglob("*") if path.is_file()}
    note("files that root enrolls belong to the service", owners, owners == {"edge-voice"})
    found = home.decision("ada_right_phrase")
    note("a decision over MQTT", found, found.startswith("granted, Ada"))


def upgraded(way: Deb | Checkout, home: Home) -> None:
    """Upgrade: the service runs the new version with the same configuration and people."""
    former, process = (CONFIG / "config.yaml").read_bytes(), shown("MainPID")
    way.upgrade()
    now = shown("MainPID")
    right = shown("ActiveState") == "active" and now != process
    note("upgraded, the service restarted", f"process {process}, then {now}", right)
    reloaded = do("systemctl", "reload", "edge-voice").returncode == 0
    note("the service reloads", reloaded, reloaded and shown("MainPID") == now)
    same = (CONFIG / "config.yaml").read_bytes() == former
    note("the configuration is unchanged", same, same)
    people = do("edge-voice", "profiles", "list", "--json").stdout
    note("the enrolled people are unchanged", "Ada" in people, "Ada" in people)
    # It remembers the recording, so playing it again does not open.
    found = home.decision("ada_right_phrase")
    note("earlier utterances are remembered", found, found.endswith("replay_suspected"))


def removed(way: Deb | Checkout, before: list[str]) -> None:
    """Remove the software, then everything."""
    way.remove()
    note("removed, the service stopped", shown("ActiveState"), shown("ActiveState") == "inactive")
    kept = (CONFIG / "config.yaml").exists() and (STATE / "signatures.sqlite").exists()
    note("configuration and signatures stay", kept, kept)
    commands = [Path(f"/usr/{place}/edge-voice") for place in ("bin", "local/bin")]
    there = [str(path) for path in commands if os.path.lexists(path)]
    note("the command is gone", there or "yes", not there)
    way.purge()
    DROP_IN.unlink(missing_ok=True)
    do("systemctl", "daemon-reload")
    rest = [line for line in left_over() if line not in before]
    note("purged, no file is left", rest or "none", not rest)
    users = [entry.pw_name for entry in pwd.getpwall() if entry.pw_name == "edge-voice"]
    note("purged, no user is left", users or "none", not users)
    loaded = shown("LoadState")
    note("purged, no unit is left", loaded, loaded == "not-found")


if __name__ == "__main__":
    try:
        look(Deb() if sys.argv[1] == "deb" else Checkout())
        note("all steps were run", "yes", True)
    finally:
        with (HERE / "journal.log").open("wb") as log:
            subprocess.run(
                ["journalctl", "--no-pager", "-u", "edge-voice"], stdout=log, check=False
            )
