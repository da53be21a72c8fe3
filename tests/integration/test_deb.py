"""The Debian package: built, read by lintian, and its software run from what is in it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from edge import __version__
from edge.resources import demo_directory
from tests.conftest import REPOSITORY

pytestmark = [
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.skipif(shutil.which("apt-get") is None, reason="this is no Debian"),
]


def out(*command: str, **environment: str) -> str:
    """What a command prints, with no variable of this test's Python in its reach."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(
        command, env={**clean, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("deb")
    # Fails where lintian finds an error.
    out(str(REPOSITORY / "tools" / "build_deb"), "--check", "--output", str(folder))
    (file,) = folder.glob("*.deb")
    return file


@pytest.fixture(scope="module")
def unpacked(package: Path) -> Path:
    folder = package.parent / "unpacked"
    out("dpkg-deb", "-R", str(package), str(folder))
    return folder


def test_it_says_what_it_is_and_needs(package: Path) -> None:
    fields = out("dpkg-deb", "-f", str(package), "Package", "Version", "Depends")
    assert "Package: edge-voice\n" in fields
    assert re.search(rf"^Version: {re.escape(__version__)}\+\w+", fields, re.MULTILINE)
    for needed in ("libportaudio2", "libc6", "python3"):
        assert needed in fields
    minor = out("/usr/bin/python3", "-c", "import sys; print('3.%d' % sys.version_info[1])").strip()
    assert f"python{minor}" in fields


def test_it_puts_things_where_they_belong(unpacked: Path) -> None:
    files = [path.relative_to(unpacked) for path in unpacked.rglob("*") if path.is_file()]
    places = {"/".join(path.parts[:2]) for path in files if path.parts[0] != "DEBIAN"}
    assert places <= {"lib/systemd", "usr/bin", "usr/lib", "usr/share"}
    assert (unpacked / "etc/edge-voice").is_dir()
    (unit,) = unpacked.rglob("edge-voice.service")
    assert unit.read_text() == (REPOSITORY / "systemd/edge-voice.service").read_text()
    for name in ("edge-voice-serve.service", "edge-voice-wyoming.service"):
        (server,) = unpacked.rglob(name)
        assert server.read_text() == (REPOSITORY / "systemd" / name).read_text()
    assert not [path for path in files if "amqtt" in path.parts or path.suffix == ".pyc"]
    assert not (unpacked / "DEBIAN/conffiles").exists()  # setup writes what is in /etc


def test_a_bill_of_what_is_in_it_lies_beside_it(package: Path, unpacked: Path) -> None:
    found = json.loads(package.with_suffix(".cdx.json").read_text())
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.5")
    listed = {(one["name"], one["version"]) for one in found["components"]}
    folders = unpacked.glob("usr/lib/edge-voice/*.dist-info")
    inside = [folder.name.removesuffix(".dist-info").rsplit("-", 1) for folder in folders]
    names = {(re.sub(r"[-_.]+", "-", name).lower(), version) for name, version in inside}
    assert listed == names - {("edge-voice", __version__)}
    locked = (REPOSITORY / "requirements" / "run.txt").read_text()
    for one in found["components"]:
        assert f"{one['name']}=={one['version']} " in locked
        for file in one["externalReferences"]:
            (digest,) = file["hashes"]
            assert digest["alg"] == "SHA-256"
            assert f"--hash=sha256:{digest['content']}" in locked


@pytest.mark.parametrize(("name", "library"), [("serve", "starlette"), ("wyoming", "wyoming")])
def test_a_server_is_there_and_does_not_start_by_itself(
    unpacked: Path, name: str, library: str
) -> None:
    assert list(unpacked.glob(f"usr/lib/edge-voice/{library}"))
    installed = (unpacked / "DEBIAN/postinst").read_text()
    default = "was-enabled defaults to true"
    before, _, after = installed.partition(f"unmask 'edge-voice-{name}.service'")
    assert default in before
    assert default not in after
    prerm = (unpacked / "DEBIAN/prerm").read_text()
    assert f"invoke stop 'edge-voice-{name}.service'" in prerm


def test_purging_deletes_and_removing_does_not(unpacked: Path) -> None:
    script = (unpacked / "DEBIAN/postrm").read_text()
    before, deletes, after = script.partition("rm -rf /var/lib/edge-voice /etc/edge-voice")
    assert deletes
    assert '"$1" = purge' in before
    assert "rm -rf" not in before + after


def test_its_software_knows_a_voice(unpacked: Path, tmp_path: Path) -> None:
    folder = unpacked / "usr/lib/edge-voice"
    launcher = (unpacked / "usr/bin/edge-voice").read_text()
    command = tmp_path / "command"
    command.write_text(launcher.replace("/usr/lib/edge-voice", str(folder)))
    command.chmod(0o755)
    home = {
        "HOME": str(tmp_path),
        "XDG_STATE_HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path),
    }
    demo = demo_directory()
    files = [str(demo / f"ada_enroll_{number}.flac") for number in (1, 2, 3)]
    assert out(str(command), "--version", **home).strip() == f"edge-voice {__version__}"
    out(str(command), "enroll", "Ada", *files, **home)
    said = out(str(command), "verify", "Ada", str(demo / "ada_right_phrase.flac"), "--json", **home)
    assert '"reason": "recognized"' in said
