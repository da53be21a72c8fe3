"""A bill of materials (SBOM, CycloneDX 1.5): the locked packages, and the hashes of their files.

The wheel gets one of everything that it may be installed with, by a hook of its build. The Debian
package gets one of what is in it:

    python packaging/sbom.py FOLDER      what is installed in FOLDER
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Iterable
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

try:
    import tomllib
except ImportError:  # Python 3.10, where hatchling brings this along
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
NAME = "edge-voice"


def normalized(name: str) -> str:
    """The form of a package's name that uv.lock has."""
    return re.sub(r"[-_.]+", "-", name).lower()


def locked() -> set[tuple[str, str]]:
    """Name and version of every package that the software runs with, on any system."""
    text = (ROOT / "requirements" / "run.txt").read_text("utf-8")
    return set(re.findall(r"^([\w.-]+)==(\S+)", text, re.MULTILINE))


def installed(folder: str) -> set[tuple[str, str]]:
    """Name and version of every package in a folder, the software itself not."""
    found = {(normalized(one.name), one.version) for one in distributions(path=[folder])}
    return {(name, version) for name, version in found if name != NAME}


def bill(version: str, packages: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """The bill of a version of the software with these packages.

    Raises:
        KeyError: a package is not in uv.lock.
    """
    lock = tomllib.loads((ROOT / "uv.lock").read_text("utf-8"))["package"]
    known = {(one["name"], one.get("version")): one for one in lock}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {"type": "application", "name": NAME, "version": version},
        },
        "components": [_component(known[package]) for package in sorted(packages)],
    }


def _component(package: dict[str, Any]) -> dict[str, Any]:
    files = [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]
    name, version = package["name"], package["version"]
    return {
        "type": "library",
        "bom-ref": f"{name}@{version}",
        "name": name,
        "version": version,
        "purl": f"pkg:pypi/{name}@{version}",
        "externalReferences": [
            {
                "type": "distribution",
                "url": file["url"],
                "hashes": [{"alg": "SHA-256", "content": file["hash"].removeprefix("sha256:")}],
            }
            for file in files
        ],
    }


class SbomHook(BuildHookInterface):
    """Called by hatchling whenever it builds the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the bill and name it to the builder; an editable installation needs none."""
        if version == "editable":
            return
        self._folder = tempfile.TemporaryDirectory()
        file = Path(self._folder.name) / f"{NAME}.cdx.json"
        made = bill(self.metadata.version, locked())
        file.write_text(json.dumps(made, indent=1) + "\n", "utf-8")
        build_data["sbom_files"].append(str(file))

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the file; it is in the wheel."""
        if version != "editable":
            self._folder.cleanup()


if __name__ == "__main__":
    (own,) = (one for one in distributions(path=[sys.argv[1]]) if normalized(one.name) == NAME)
    json.dump(bill(own.version, installed(sys.argv[1])), sys.stdout, indent=1)
    sys.stdout.write("\n")
