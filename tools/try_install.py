"""Tests installing, upgrading and removing in a fresh system under its own systemd.

    python -m tools.try_install [deb] [checkout] [--suite NAME] [--package FILE] [--keep FOLDER]

Makes a small Debian with debootstrap once, in .roots; every test runs in an in-memory copy of it.
"deb" installs the Debian package, FILE or one built there first; "checkout" uses tools/install. For
each, a person is enrolled, the phrase is played, and the decision arrives at a broker; then come
the upgrade, the removal and the purge, which must leave nothing behind. Takes some minutes, most of
them to fetch packages.

Needs root, overlayfs, and Debian's packages debootstrap and systemd.
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

from tools.confined.boot import REPOSITORY
from tools.confined.group import control_group
from tools.run_confined import missing

ROOTS = REPOSITORY / ".roots"
PACKAGES = "ca-certificates,mosquitto,mosquitto-clients,python3,systemd,systemd-sysv"
_NAMESPACES = ("mount", "pid", "uts", "ipc", "cgroup")
_LIMIT_S = 1800


def mirror() -> str:
    """The mirror from which this machine gets Debian's packages."""
    asked = ["apt-get", "indextargets", "--format", "$(SITE) $(ORIGIN) $(LABEL)"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    for line in done.stdout.splitlines():
        if line.endswith(" Debian Debian"):
            return line.split()[0]
    sys.stderr.write("try_install: apt knows no mirror of Debian; run apt-get update\n")
    raise SystemExit(3)


def system(suite: str, site: str | None) -> Path:
    """The root of a fresh system, made if it does not exist."""
    root = ROOTS / suite
    made = ROOTS / f"{suite}.made"
    if not made.exists():
        shutil.rmtree(root, ignore_errors=True)
        ROOTS.mkdir(exist_ok=True)
        command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", suite, str(root)]
        print(f"making a fresh {suite}", flush=True)
        subprocess.run([*command, site or mirror()], check=True, stdout=subprocess.DEVNULL)
        made.touch()
    # The same certificate authorities and name servers as here.
    for name in ("etc/ssl/certs/ca-certificates.crt", "etc/resolv.conf"):
        shutil.copy(Path("/") / name, root / name)
    return root


def source(folder: Path) -> None:
    """A copy of the checkout, without generated files."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=REPOSITORY, capture_output=True, check=True).stdout
    for name in filter(None, names.decode().split("\0")):
        if (REPOSITORY / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, folder / name)


_BUILD = """
mount --make-rprivate /
mkdir "$results/build"
mount -t tmpfs tmpfs "$results/build"
cd "$results/build"
mkdir upper scratch root
mount -t overlay overlay -o "lowerdir=$system,upperdir=upper,workdir=scratch" root
mount -t proc proc root/proc
mount --rbind /dev root/dev
cp -a "$results/source" root/source
chroot root env -i HOME=/root LANG=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin \\
    PIP_CERT=/etc/ssl/certs/ca-certificates.crt sh -ec '
    apt-get -qq update
    cd /source
    tools/build_deb --output /1' >&2
cp root/1/*.deb "$results/1.deb"
"""
_HIGHER = """
dpkg-deb -R "$results/1.deb" "$results/higher"
sed -i 's/^Version: .*/&.1/' "$results/higher/DEBIAN/control"
dpkg-deb -Znone -b "$results/higher" "$results/2.deb" >/dev/null
rm -r "$results/higher"
"""


def packages(root: Path, results: Path, given: Path | None) -> None:
    """The package, built in a copy of the system unless given, and one of a higher version."""
    environment = {**os.environ, "system": str(root), "results": str(results)}
    if given is None:
        subprocess.run(["unshare", "--mount", "sh", "-ec", _BUILD], env=environment, check=True)
    else:
        shutil.copy(given, results / "1.deb")
    subprocess.run(["sh", "-ec", _HIGHER], env=environment, check=True)


def boot(root: Path, results: Path, kind: str) -> list[Any]:
    """Start the system, wait for its end, and return its report."""
    master, slave = pty.openpty()

    def listen() -> None:
        with (results / "console.log").open("wb") as log:
            try:
                while data := os.read(master, 4096):
                    log.write(data)
            except OSError:  # the other side is closed
                pass

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    command = [
        "unshare", *(f"--{name}" for name in _NAMESPACES), "--fork", "--kill-child",
        sys.executable, "-m", "tools.confined.fresh_boot", str(root), str(results),
        os.ttyname(slave), kind,
    ]  # fmt: skip
    with control_group() as group:
        joined = ["sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', str(group), *command]
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        environment["PATH"] = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
        subprocess.run(
            joined, env=environment, stdin=subprocess.DEVNULL, stdout=slave, stderr=slave,
            timeout=_LIMIT_S, check=False, cwd=REPOSITORY,
        )  # fmt: skip
    os.close(slave)
    listener.join(2)
    report = results / "report.json"
    found: list[Any] = json.loads(report.read_text()) if report.exists() else []
    return found


def tried(root: Path, kind: str, package: Path | None, keep: Path | None) -> bool:
    """Test one way to install and print the results; True if all checks pass."""
    with tempfile.TemporaryDirectory(prefix="edge-voice-") as name:
        results = Path(name)
        results.chmod(0o755)
        (results / "source").mkdir()
        source(results / "source")
        if kind == "deb":
            packages(root, results, package)
        rows = boot(root, results, kind)
        if keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
            for file in results.glob("*.log"):
                shutil.copy(file, keep / f"{kind}-{file.name}")
    for title, found, right in rows:
        print(f"{'ok  ' if right else 'FAIL'} {title:<36} {found}", flush=True)
    ended = bool(rows) and rows[-1][0] == "all steps were run"
    if not ended:
        print("FAIL did not finish; --keep FOLDER keeps its logs")
    return ended and all(right for _, _, right in rows)


def main() -> int:
    """Run the tests and print the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("kind", nargs="*", choices=[[], "deb", "checkout"], help="else both")
    parser.add_argument("--suite", default="bookworm", help="Debian release (default: bookworm)")
    parser.add_argument("--mirror", help="mirror of its packages, if not this machine's")
    parser.add_argument(
        "--package", metavar="FILE", type=Path, help="a package for it, built before"
    )
    parser.add_argument("--keep", metavar="FOLDER", type=Path, help="keep the logs in this folder")
    args = parser.parse_args()
    reason = missing()
    if reason is None and shutil.which("debootstrap", path="/usr/sbin:/usr/bin") is None:
        reason = "debootstrap is not installed"
    if reason is not None:
        sys.stderr.write(f"try_install: cannot be run here: {reason}\n")
        return 3
    root = system(args.suite, args.mirror)
    good = True
    for kind in args.kind or ("deb", "checkout"):
        print(f"{args.suite}, {kind}:", flush=True)
        good = tried(root, kind, args.package, args.keep) and good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
