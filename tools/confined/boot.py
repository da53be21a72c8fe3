"""Starts systemd over an in-memory copy of this machine's files.

Runs as the first process of new namespaces. It writes nothing to this machine: its files are the
lower layer of an overlay whose upper layer is in memory.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

from tools.confined.unit import SERVER, UNIT

REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAM = Path("/opt/edge-voice")
SYSTEMD = "/lib/systemd/systemd"
DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "kmsg")

_CONTROLLER = """
[Unit]
DefaultDependencies=no
After=sysinit.target
Requires=sysinit.target
[Service]
Type=oneshot
ExecStart=/opt/edge-voice/bin/python -m tools.confined.inside
ExecStopPost=/bin/systemctl exit --force
StandardOutput=append:/run/confined/controller.log
StandardError=append:/run/confined/controller.log
TimeoutStartSec=300
"""

_INPUT = """
[Service]
ExecStart=
ExecStart=edge-voice run --config /etc/edge-voice/config.yaml --input -
StandardInput=file:/run/confined/sound
"""


def mount(*arguments: object) -> None:
    """Mount a file system; the arguments are those of the command."""
    subprocess.run(["mount", *map(str, arguments)], check=True)


def main() -> None:
    """Become systemd; the arguments are the folder for results and the console."""
    results, console = Path(sys.argv[1]), sys.argv[2]
    root = layered(Path("/"), results, console)
    _install(root)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    # Addresses of neighbors and of the internet; nothing answers, but sending is possible or not.
    for network in ("192.168.77.1/24", "203.0.113.1/24"):
        subprocess.run(["ip", "addr", "add", network, "dev", "lo"], check=True)
    become_systemd(root)


def layered(below: Path, results: Path, console: str) -> Path:
    """An in-memory copy of a file system, with the kernel's file systems mounted in it.

    Args:
        below: the root to copy; nothing is written there.
        results: the folder to mount as /run/confined.
        console: the terminal to mount as /dev/console.

    Returns:
        The root of the copy.
    """
    work = results / "work"
    work.mkdir()
    mount("--make-rprivate", "/")
    mount("-t", "tmpfs", "tmpfs", work)
    root, upper, scratch = work / "root", work / "upper", work / "scratch"
    for folder in (root, upper, scratch):
        folder.mkdir()
    options = f"lowerdir={below},upperdir={upper},workdir={scratch}"
    mount("-t", "overlay", "overlay", "-o", options, root)
    _mount_kernel(root, console)
    (root / "run" / "confined").mkdir()
    mount("--bind", results, root / "run" / "confined")
    return root


def become_systemd(root: Path) -> None:
    """Make a folder the root of the file system, and become systemd in it."""
    os.chdir(root)
    (root / "old").mkdir()
    subprocess.run(["pivot_root", ".", "old"], check=True)
    os.chroot(".")
    os.chdir("/")
    subprocess.run(["umount", "-l", "/old"], check=True)
    # systemd passes credentials through a mount that its services must see.
    mount("--make-rshared", "/")
    environment = {"container": "confined", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    command = [SYSTEMD, "--system", "--unit=confined.target", "--log-target=console"]
    os.execve(SYSTEMD, command, environment)  # noqa: S606 (it is to become this very process)


def _mount_kernel(root: Path, console: str) -> None:
    mount("-t", "proc", "proc", root / "proc")
    mount("-t", "sysfs", "-o", "ro,nosuid,nodev,noexec", "sysfs", root / "sys")
    mount("-t", "cgroup2", "cgroup2", root / "sys" / "fs" / "cgroup")
    dev = root / "dev"
    mount("-t", "tmpfs", "-o", "mode=755,nosuid", "tmpfs", dev)
    for name in (*DEVICES, "console"):
        (dev / name).touch()
        mount("--bind", console if name == "console" else f"/dev/{name}", dev / name)
    for name in ("pts", "shm"):
        (dev / name).mkdir()
    mount("-t", "devpts", "-o", "newinstance,ptmxmode=0666", "devpts", dev / "pts")
    (dev / "ptmx").symlink_to("pts/ptmx")
    mount("-t", "tmpfs", "tmpfs", dev / "shm")
    mount("-t", "tmpfs", "-o", "mode=755,nosuid,nodev", "tmpfs", root / "run")
    mount("-t", "tmpfs", "-o", "mode=1777,nosuid,nodev", "tmpfs", root / "tmp")


def _install(root: Path) -> None:
    """Install the unit, and the software with its interpreter where the unit expects it."""
    program = root / PROGRAM.relative_to("/")
    (program / "bin").mkdir(parents=True)
    places = {"src": REPOSITORY, "site": Path(sysconfig.get_path("purelib"))}
    interpreter = Path(sys.executable).resolve()
    libraries = ""
    if Path(sys.base_prefix) != Path("/usr"):
        places["python"] = Path(sys.base_prefix)
        interpreter = PROGRAM / "python" / interpreter.relative_to(Path(sys.base_prefix).resolve())
        libraries = f"LD_LIBRARY_PATH={PROGRAM}/python/lib "
    for name, source in places.items():
        (program / name).mkdir()
        mount("--bind", "-o", "ro", source, program / name)
    paths = f"PYTHONPATH={PROGRAM}/src:{PROGRAM}/site PYTHONDONTWRITEBYTECODE=1"
    start = f"#!/bin/sh\nexec env {libraries}{paths} {shlex.quote(str(interpreter))}"
    for name, arguments in (("python", ""), ("edge-voice", "-m edge.cli ")):
        file = program / "bin" / name
        file.write_text(f'{start} {arguments}"$@"\n')
        file.chmod(0o755)
    link = root / "usr" / "local" / "bin" / "edge-voice"
    link.unlink(missing_ok=True)
    link.symlink_to(PROGRAM / "bin" / "edge-voice")
    units = quieted(root)
    (units / "edge-voice.service").write_text(UNIT.read_text())
    (units / SERVER.name).write_text(SERVER.read_text())
    (units / "edge-voice.service.d").mkdir()
    (units / "edge-voice.service.d" / "input.conf").write_text(_INPUT)
    (units / "confined.target").write_text("[Unit]\nWants=controller.service\n")
    (units / "controller.service").write_text(_CONTROLLER)
    users = root / "etc" / "sysusers.d"
    users.mkdir(exist_ok=True)
    (users / "edge-voice.conf").write_text((UNIT.parent / "edge-voice.sysusers").read_text())


def quieted(root: Path) -> Path:
    """Keep a system's own services from starting; return the folder for units."""
    (root / "etc" / "fstab").write_text("")
    units = root / "etc" / "systemd" / "system"
    # Services that set up the machine must not run: sysctl and modprobe would reach the kernel.
    for target in ("sysinit.target.wants", "local-fs.target.wants"):
        for folder in ("lib", "etc"):
            for wanted in (root / folder / "systemd" / "system" / target).glob("*"):
                if "journald" not in wanted.name and not (units / wanted.name).is_symlink():
                    (units / wanted.name).unlink(missing_ok=True)
                    (units / wanted.name).symlink_to("/dev/null")
    return units


if __name__ == "__main__":
    main()
