"""Print what a wheel needs at run time, one requirement a line; for the Debian package.

    python packaging/requirements.py WHEEL

The broker of `edge-voice demo` stays out: it brings 15 packages along that listen on no door.
"""

from __future__ import annotations

import email
import sys
import zipfile

_LEFT_OUT = ("amqtt",)


def requirements(wheel: str) -> list[str]:
    """What the wheel's metadata asks for, extras and what is left out not."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        wanted = email.message_from_bytes(archive.read(name)).get_all("Requires-Dist", [])
    return [line for line in wanted if "extra ==" not in line and not line.startswith(_LEFT_OUT)]


if __name__ == "__main__":
    print("\n".join(requirements(sys.argv[1])))
