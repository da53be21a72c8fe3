"""The wheel by itself: built, installed in an empty environment, and run far from the checkout."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from edge import __version__

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(folder), "."],
        cwd=REPOSITORY,
        check=True,
        timeout=300,
    )
    return next(folder.glob("*.whl"))


def test_it_carries_everything_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    shipped = {"models": ".tflite", "config": ".yaml"}
    for folder, suffix in shipped.items():
        for file in (REPOSITORY / folder).iterdir():
            if file.suffix in (suffix, ".json"):
                assert f"edge/data/{folder}/{file.name}" in names
        assert any(name.startswith(f"edge/data/{folder}/") for name in names)
    assert "edge/demo/recordings/manifest.json" in names
    assert {name.rsplit("/", 1)[-1] for name in names} >= {"LICENSE", "NOTICE"}
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"edge"}
    assert not [name for name in names if "__pycache__" in name]


def test_it_lists_what_it_is_locked_to(wheel: Path) -> None:
    (name,) = (name for name in zipfile.ZipFile(wheel).namelist() if "/sboms/" in name)
    found = json.loads(zipfile.ZipFile(wheel).read(name))
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.5")
    assert found["metadata"]["component"]["version"] == __version__
    hashes = {
        (one["name"], one["version"]): {
            file["hashes"][0]["content"] for file in one["externalReferences"]
        }
        for one in found["components"]
    }
    locked = (REPOSITORY / "requirements" / "run.txt").read_text().replace("\\\n", " ")
    wanted = {
        tuple(line.split()[0].split("==")): set(re.findall("sha256:([0-9a-f]+)", line))
        for line in locked.splitlines()
        if not line.startswith("#")
    }
    assert hashes == wanted


def test_demo_runs_from_it(wheel: Path, tmp_path: Path) -> None:
    place = tmp_path / "alone"
    venv.create(place, with_pip=True)
    locked = ["--require-hashes", "-r", str(REPOSITORY / "requirements" / "demo.txt")]
    for what in (locked, [str(wheel)]):
        pip = [str(place / "bin" / "pip"), "install", "--quiet", "--no-deps", *what]
        subprocess.run(pip, check=True, timeout=600)
    # Nothing that it asks for is missing.
    subprocess.run([str(place / "bin" / "pip"), "check"], check=True, timeout=60)
    # No variable of this environment, and no folder of the checkout, in its reach.
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("PYTHON")
    }
    environment["HOME"] = str(tmp_path)
    done = subprocess.run(
        [str(place / "bin" / "edge-voice"), "demo", "--no-color"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 of 6 decisions as expected" in done.stdout
