"""Attempts what the service may and may not do, and reports which attempts succeed.

Each attempt works for root outside the limits, which is checked as well; otherwise a failure would
prove nothing.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

STATE = Path("/var/lib/edge-voice")
OUTSIDE = ("203.0.113.7", 9)
"""An address that stands for the internet in the test's network."""
AT_HOME = ("192.168.77.7", 9)
SHARED = Path("/run/confined/audio-group")
"""A file that only root and the group audio can read, like a sound card."""

_CLONE_NEWUSER = 0x10000000
_PTRACE_ATTACH, _PTRACE_DETACH = 16, 17
_PERSONALITY_32 = 0x0008

MUST_WORK = (
    "write the state directory",
    "read a credential",
    "use what the group audio may",
    "send to the home network",
    "call back from C",
    "read /proc/cpuinfo",
)

_libc = ctypes.CDLL(None, use_errno=True)


def _called(result: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _write(path: str | Path) -> None:
    Path(path).write_text("probe")
    Path(path).unlink()


def _run_from(folder: Path) -> None:
    program = folder / "program"
    shutil.copy("/bin/true", program)
    try:
        program.chmod(0o700)
        subprocess.run([str(program)], check=True)
    finally:
        program.unlink()


def _set_user_id_bit() -> None:
    file = STATE / "suid"
    file.touch()
    try:
        file.chmod(0o4755)
    finally:
        file.unlink()


def _read_credential() -> None:
    folder = Path(os.environ["CREDENTIALS_DIRECTORY"])
    assert (folder / "mqtt-password").read_text().strip()  # noqa: S101


def _open_socket(*kind: int) -> None:
    socket.socket(*kind).close()


def _send(address: tuple[str, int]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.sendto(b"probe", address)


def _trace() -> None:
    child = subprocess.Popen(["/bin/sleep", "5"])
    try:
        _called(_libc.ptrace(_PTRACE_ATTACH, child.pid, None, None))
        os.waitpid(child.pid, os.WUNTRACED)
        _libc.ptrace(_PTRACE_DETACH, child.pid, None, None)
    finally:
        child.kill()
        child.wait()


def _in_child(action: Callable[[], None]) -> None:
    """Run in a child, for attempts that would change this process."""
    child = os.fork()
    if child == 0:
        try:
            action()
        except OSError as error:
            os._exit(error.errno or 1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        raise OSError(code, os.strerror(code))


def _see_others() -> None:
    if not Path("/proc/1/status").exists():
        raise PermissionError("process 1 cannot be seen")


def _call_back() -> None:
    import cffi  # type: ignore[import-untyped]  # noqa: PLC0415 (the other attempts need it not)

    ffi = cffi.FFI()
    keep = ffi.callback("int(int)", lambda number: number + 1)
    assert keep(1) == 2  # noqa: S101


def _make_cgroup() -> None:
    Path("/sys/fs/cgroup/probe").mkdir()
    Path("/sys/fs/cgroup/probe").rmdir()


ATTEMPTS: dict[str, Callable[[], object]] = {
    "write the state directory": lambda: _write(STATE / "probe"),
    "read a credential": _read_credential,
    "use what the group audio may": SHARED.read_text,
    "send to the home network": lambda: _send(AT_HOME),
    "call back from C": _call_back,
    "read /proc/cpuinfo": lambda: Path("/proc/cpuinfo").read_text(),
    "write /etc": lambda: _write("/etc/edge-voice/probe"),
    "write /usr": lambda: _write("/usr/probe"),
    "write the program": lambda: _write("/opt/edge-voice/probe"),
    "write /var/tmp of others": lambda: _write("/var/tmp/../probe"),  # noqa: S108
    "read /root": lambda: list(Path("/root").iterdir()),
    "read /var/log": lambda: list(Path("/var/log").iterdir()),
    "read /etc/shadow": lambda: Path("/etc/shadow").read_text(),
    "read a secret's own file": lambda: Path("/etc/edge-voice/mqtt-password").read_text(),
    "run a program of the state directory": lambda: _run_from(STATE),
    "run a program of /tmp": lambda: _run_from(Path("/tmp")),  # noqa: S108
    "set a user id bit": _set_user_id_bit,
    "see other users' processes": _see_others,
    "open a packet socket": lambda: _open_socket(socket.AF_PACKET, socket.SOCK_RAW),
    "open a raw socket": lambda: _open_socket(socket.AF_INET, socket.SOCK_RAW, 1),
    "open a netlink socket": lambda: _open_socket(socket.AF_NETLINK, socket.SOCK_RAW),
    "send to the internet": lambda: _send(OUTSIDE),
    "open another device": lambda: os.close(os.open("/dev/kmsg", os.O_RDONLY)),
    "trace a process": _trace,
    "make a user namespace": lambda: _in_child(lambda: _called(_libc.unshare(_CLONE_NEWUSER))),
    "mount": lambda: _in_child(
        lambda: _called(_libc.mount(b"none", b"/mnt", b"tmpfs", 0, None))
    ),
    "change the root": lambda: _in_child(lambda: os.chroot("/usr")),
    "become root": lambda: _in_child(lambda: os.setresuid(0, 0, 0)),
    "change the personality": lambda: _in_child(
        lambda: _called(_libc.personality(_PERSONALITY_32))
    ),
    "set the clock": lambda: time.clock_settime(time.CLOCK_REALTIME, time.time()),
    "set the host's name": lambda: socket.sethostname(socket.gethostname()),
    "schedule in real time": lambda: _in_child(
        lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    ),
    "change the kernel's settings": lambda: os.close(
        os.open("/proc/sys/kernel/domainname", os.O_WRONLY)
    ),
    "make a control group": _make_cgroup,
}  # fmt: skip


def main() -> None:
    """Print the result of each attempt as JSON: null if it succeeded, otherwise the error."""
    found: dict[str, object] = {}
    for name, attempt in ATTEMPTS.items():
        try:
            attempt()
        except Exception as error:  # noqa: BLE001, PERF203 (whatever it is, it failed)
            found[name] = f"{type(error).__name__}: {error}"
        else:
            found[name] = None
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
