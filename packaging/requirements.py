"""Print those of the locked requirements that hold here; for the packages and installers.

    python packaging/requirements.py FILE [--machine NAME] [--without NAME]...

`--machine armv7l` answers for that processor whatever the kernel says of itself: a 32-bit system
often has a 64-bit kernel, which a requirement's `platform_machine` cannot see through.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pip._vendor.packaging.requirements import Requirement


def requirements(text: str, machine: str, without: list[str]) -> list[str]:
    """What a file of requirements asks for on a processor, with the hashes."""
    environment = {"platform_machine": machine} if machine else {}
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        wanted, *hashes = line.partition("#")[0].split(" --hash=")
        if not wanted.strip():
            continue
        requirement = Requirement(wanted)
        marker = requirement.marker
        if requirement.name not in without and (marker is None or marker.evaluate(environment)):
            pinned = [f"{requirement.name}{requirement.specifier}", *map(str.strip, hashes)]
            found.append(" --hash=".join(pinned))
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("--machine", default="")
    parser.add_argument("--without", action="append", default=[])
    args = parser.parse_args()
    for wanted in requirements(args.file.read_text("utf-8"), args.machine, args.without):
        sys.stdout.write(f"{wanted}\n")
