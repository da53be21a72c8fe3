"""Tests the service inside the limits of its unit: it must work, and the limits must hold.

    python -m tools.run_confined [--json] [--keep FOLDER]

Starts Debian's systemd in its own namespaces (processes, mounts, network, control groups) over an
in-memory copy of this machine's files, installs `systemd/edge-voice.service` as it is, enrolls a
person within the same limits, starts the service, plays the phrase, receives the decision over
MQTT, asks the HTTP server, tries what the limits forbid, and finally stops the sound, so that the
watchdog has to act. Takes about a minute. Two things differ from a real door: the sound comes from
a pipe (`--input -`), and the network has no other machines.

Needs root, overlayfs, and Debian's packages systemd, mosquitto and iproute2.
Exit code: 0 if all checks pass, 1 if one fails, 3 if they cannot be run here.
"""

from __future__ import annotations

import argparse
import json
import os
import pty
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from tools.confined.boot import REPOSITORY, SYSTEMD
from tools.confined.group import control_group
from tools.confined.probe import MUST_WORK

_LIMIT_S = 240
_FOUND = {
    "user.root", "configuration.fine", "service.installed", "service_start.disabled",
    "service_state.active", "service_restarts.none", "broker_login.accepted",
    "broker_receive.received", "service_says.online", "microphone.held", "state.private",
    "state_files.private", "store.opens", "key.beside", "audit.intact", "password.private",
    "models.genuine",
}  # fmt: skip
"""Findings of `edge-voice doctor` while everything works."""
_FOUND_AFTERWARDS = {"service.installed", "service_restarts.some", "broker_login.accepted"}
"""Findings after the watchdog has acted. That it was the watchdog is in the journal of an ordinary
machine; here systemd's own words go to the console."""
_NAMESPACES = ("mount", "pid", "uts", "ipc", "cgroup", "net")


def missing() -> str | None:
    """The reason why it cannot be run here; None if it can."""
    if os.geteuid() != 0:
        return "it must be run as root"
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    for program in ("unshare", "mosquitto", "mosquitto_passwd", "ip", "pivot_root", "journalctl"):
        if shutil.which(program, path=path) is None:
            return f"{program} is not installed"
    if not Path(SYSTEMD).exists() or "overlay" not in Path("/proc/filesystems").read_text():
        return "there is no systemd, or no overlayfs"
    probe = ["unshare", *(f"--{name}" for name in _NAMESPACES), "--fork", "true"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        return "namespaces cannot be made here"
    try:
        with control_group():
            pass
    except (OSError, StopIteration) as error:
        return f"no control group can be made: {error}"
    return None


def boot(folder: Path) -> dict[str, Any]:
    """Start systemd and wait for it to end.

    Args:
        folder: where results and logs go.

    Returns:
        The result of `tools/confined/inside.py`; empty if it did not finish.
    """
    master, slave = pty.openpty()
    console: list[bytes] = []

    def listen() -> None:
        try:
            while data := os.read(master, 4096):
                console.append(data)
        except OSError:  # the other side is closed
            pass

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    command = [
        "unshare", *(f"--{name}" for name in _NAMESPACES), "--fork", "--kill-child",
        sys.executable, "-m", "tools.confined.boot", str(folder), os.ttyname(slave),
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    environment["PATH"] = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    with control_group() as group:
        joined = ["sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', str(group), *command]
        try:
            subprocess.run(
                joined, env=environment, stdin=subprocess.DEVNULL, stdout=slave, stderr=slave,
                timeout=_LIMIT_S, check=False, cwd=REPOSITORY,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            console.append(b"\n(stopped: took too long)\n")
    os.close(slave)
    listener.join(2)
    (folder / "console.log").write_bytes(b"".join(console))
    file = folder / "result.json"
    result: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    return result


def judge(result: dict[str, Any]) -> list[tuple[str, str, bool]]:
    """A row for each check: what was checked, the result, and whether it passed."""
    if not result:
        return [("the service manager", "did not finish", False)]
    decision = result["decision"] or {}
    said = f"{decision.get('decision')}, {decision.get('name')}"
    status, watched = result["status"], result["watched"]
    rows = [
        ("enrollment within the limits", result["enrollment"], result["enrollment"] == "success"),
        ("the service", f"{result['state']} after {result['start_s']} s",
         result["state"] == "active"),
        ("a decision over MQTT", said, said == "granted, Ada"),
        ("the monitor, as root", watched["root"], watched["root"] == "Ada"),
        ("the monitor, as a group member", watched["group"], watched["group"] == "Ada"),
        ("the monitor, as another user", watched["nobody"], watched["nobody"] == "refused"),
        ("capabilities", status.get("CapPrm", "?"),
         {status.get("CapPrm"), status.get("CapBnd")} == {"0" * 16}),
        ("system call filter", status.get("Seccomp", "?"), status.get("Seccomp") == "2"),
        ("no new privileges", status.get("NoNewPrivs", "?"), status.get("NoNewPrivs") == "1"),
    ]  # fmt: skip
    server = result["server"]
    answered = f"{server['state']}, answers {server['answer']}, ended with {server['end']}"
    rows += [
        ("the HTTP server beside it", answered,
         answered == "active, answers 404, ended with success"),
        ("its capabilities", server.get("CapPrm", "?"),
         {server.get("CapPrm"), server.get("CapBnd")} == {"0" * 16}),
        ("its system call filter", server.get("Seccomp", "?"), server.get("Seccomp") == "2"),
    ]  # fmt: skip
    limited, unlimited = result["probes"]["limited"], result["probes"]["unlimited"]
    for name, refusal in limited.items():
        if name in MUST_WORK:
            rows.append((name, refusal or "works", refusal is None))
        elif unlimited[name] is not None:
            rows.append((name, f"not tested: root cannot either ({unlimited[name]})", False))
        else:
            rows.append((name, refusal or "SUCCEEDED", refusal is not None))
    for when, wanted in (("doctor", _FOUND), ("doctor_afterwards", _FOUND_AFTERWARDS)):
        codes = {finding["code"] for finding in result[when]}
        absent = sorted(wanted - codes)
        title = when.replace("_", ", ")
        rows.append((title, f"no {', '.join(absent)}" if absent else "as expected", not absent))
    acted = f"{result['watchdog']}: ended after {result['watchdog_s']} s without sound"
    rows.append(("watchdog", acted, result["watchdog"] == "watchdog"))
    return rows


def main() -> int:
    """Run the checks and print the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.add_argument(
        "--keep", metavar="FOLDER", type=Path, help="keep results and logs in this folder"
    )
    args = parser.parse_args()
    reason = missing()
    if reason is not None:
        sys.stderr.write(f"run_confined: cannot be run here: {reason}\n")
        return 3
    with tempfile.TemporaryDirectory(prefix="edge-voice-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        result = boot(folder)
        if args.keep is not None:
            args.keep.mkdir(parents=True, exist_ok=True)
            for file in folder.iterdir():
                if file.is_file():
                    shutil.copy(file, args.keep)
    rows = judge(result)
    if args.json:
        print(json.dumps(result))
    else:
        for title, found, right in rows:
            print(f"{'ok  ' if right else 'FAIL'} {title:<38} {found}")
    return 0 if all(right for _, _, right in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
