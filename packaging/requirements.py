"""Print what a wheel needs at run time, one requirement a line; for the packages and installers.

    python packaging/requirements.py WHEEL [--machine NAME] [--without NAME]...

`--machine armv7l` answers for that processor whatever the kernel says of itself: a 32-bit system
often has a 64-bit kernel, which a requirement's `platform_machine` cannot see through.
"""

from __future__ import annotations

import argparse
import email
import sys
import zipfile

from pip._vendor.packaging.requirements import Requirement


def requirements(wheel: str, machine: str, without: list[str]) -> list[str]:
    """What the wheel's metadata asks for on a processor, its extras not."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        wanted = email.message_from_bytes(archive.read(name)).get_all("Requires-Dist", [])
    environment = {"extra": "", **({"platform_machine": machine} if machine else {})}
    found = []
    for line in wanted:
        requirement = Requirement(line)
        marker = requirement.marker
        if requirement.name not in without and (marker is None or marker.evaluate(environment)):
            found.append(f"{requirement.name}{requirement.specifier}")
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("wheel")
    parser.add_argument("--machine", default="")
    parser.add_argument("--without", action="append", default=[])
    args = parser.parse_args()
    for wanted in requirements(args.wheel, args.machine, args.without):
        sys.stdout.write(f"{wanted}\n")
