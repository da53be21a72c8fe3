"""Starts a fresh system's systemd over an in-memory copy, with tools.confined.fresh in it.

Runs as the first process of new namespaces. The arguments are the root, the folder for results, the
console and what to install from ("deb" or "checkout").
"""

from __future__ import annotations

import sys
from pathlib import Path

from tools.confined.boot import become_systemd, layered, quieted

_CONTROLLER = """
[Unit]
DefaultDependencies=no
After=sysinit.target
Requires=sysinit.target
[Service]
Type=oneshot
Environment=PYTHONPATH=/run/confined/source PIP_CERT=/etc/ssl/certs/ca-certificates.crt
Environment=LANG=C.UTF-8 HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin
ExecStart=/usr/bin/python3 -B -m tools.confined.fresh {kind}
ExecStopPost=/bin/systemctl exit --force
StandardOutput=append:/run/confined/controller.log
StandardError=append:/run/confined/controller.log
TimeoutStartSec=1800
"""

_INPUT = """
[Service]
ExecStart=
ExecStart=edge-voice run --config /etc/edge-voice/config.yaml --input -
StandardInput=file:/run/confined/sound
"""


def main() -> None:
    """Become systemd."""
    system, results, console, kind = Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:5]
    root = layered(system, results, console)
    units = quieted(root)
    # In /run, since it is not part of an installation.
    drop_in = results / "input.conf"
    drop_in.write_text(_INPUT)
    (units / "confined.target").write_text("[Unit]\nWants=controller.service\n")
    (units / "controller.service").write_text(_CONTROLLER.format(kind=kind))
    become_systemd(root)


if __name__ == "__main__":
    main()
