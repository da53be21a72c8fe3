"""What the checks know: this machine as the service sees it."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge.config import Config
from edge.private_files import CREDENTIALS_VARIABLE, credentials_folder

UNIT = "edge-voice.service"
SERVER_UNIT = "edge-voice-serve.service"
_ANSWER_S = 5.0
_ASKED = ("LoadState", "UnitFileState", "ActiveState", "SubState", "NRestarts", "Result")
_DECRYPT_S = 10.0


@dataclass(frozen=True)
class Unit:
    """A systemd unit: its states by systemd's names, its lines and drop-ins by key, in order.

    If nothing is known both are empty, and `why` says why.
    """

    properties: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    why: str = ""

    @property
    def running(self) -> bool:
        """Whether the service is running."""
        return self.properties.get("ActiveState") == "active"

    @property
    def state_directory(self) -> Path | None:
        """The service's state directory; None where the unit sets none."""
        names = self.settings.get("StateDirectory", ())
        return Path("/var/lib") / names[-1].split()[0] if names and names[-1].split() else None


def ask_systemd(unit: str = UNIT) -> Unit:
    """A unit, that of the door's service unless another is named, within seconds."""
    if shutil.which("systemctl") is None:
        return Unit(why="there is no systemctl")
    shown = output_of("systemctl", "show", "--property=" + ",".join(_ASKED), unit)
    if shown is None:
        return Unit(why="systemctl does not answer")
    properties = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    if "LoadState" not in properties:
        return Unit(why="systemctl does not answer")
    text = output_of("systemctl", "cat", unit) if properties["LoadState"] == "loaded" else None
    return Unit(properties, _settings(text or ""))


@dataclass
class Context:
    """What is known so far; `quick` leaves out what takes seconds.

    `config` is the defaults if the file cannot be read, and `problems` its mistakes. `status` is
    the service's retained status, empty if there is none, None if the broker was not asked;
    `announced` has the topics on which the broker keeps entities of this device;
    `microphones` is the kind of what is listened to at each door, where that is known.
    """

    config: Config = field(default_factory=Config)
    file: Path | None = None
    problems: tuple[str, ...] = ()
    unit: Unit = field(default_factory=Unit)
    status: Mapping[str, Any] | None = None
    announced: frozenset[str] = frozenset()
    quick: bool = False
    microphones: dict[str, str] = field(default_factory=dict)

    @property
    def reported_microphone(self) -> str | None:
        """The microphone's state as reported by the running service; None where it is offline."""
        status = self.status or {}
        return str(status.get("microphone")) if status.get("state") == "online" else None


@contextlib.contextmanager
def as_the_service(unit: Unit) -> Iterator[None]:
    """Use the service's state directory and credentials, which only the service gets from systemd.

    Their files, where readable, are linked in a temporary folder. No secret is copied to a file:
    encrypted ones are decrypted by systemd-creds into memory of this process.
    """
    before = dict(os.environ)
    with contextlib.ExitStack() as stack:
        folder = unit.state_directory
        if folder is not None and folder.is_dir():
            os.environ.setdefault("STATE_DIRECTORY", str(folder))
        given = credential_files(unit)
        sealed = credential_files(unit, "LoadCredentialEncrypted")
        if (given or sealed) and credentials_folder() is None:
            made = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edge-voice-")))
            for name, source in sealed.items():
                if os.geteuid() == 0 and source.is_file():
                    _decrypt(name, source, made, stack)
            optional = {each.split(":")[0] for each in unit.settings.get("SetCredential", ())}
            for name, source in given.items():
                if os.path.lexists(source):
                    (made / name).symlink_to(source)
                elif name in optional:
                    (made / name).touch(mode=0o600)  # as systemd does
            os.environ[CREDENTIALS_VARIABLE] = str(made)
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


def credential_files(unit: Unit, key: str = "LoadCredential") -> dict[str, Path]:
    """The files that the service's credentials come from, by name."""
    files = {}
    for line in unit.settings.get(key, ()):
        name, _, source = line.partition(":")
        if source.startswith("/") and name and "/" not in name:
            files[name] = Path(source)
    return files


def _decrypt(name: str, source: Path, folder: Path, stack: contextlib.ExitStack) -> None:
    """Decrypt a credential into the folder; nothing where that fails."""
    try:
        done = subprocess.run(  # noqa: S603 (a file that the unit names)
            ["systemd-creds", "decrypt", f"--name={name}", str(source), "-"],  # noqa: S607
            capture_output=True,
            timeout=_DECRYPT_S,
            check=True,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError):
        return
    memory = os.memfd_create(name)
    stack.callback(os.close, memory)
    os.fchmod(memory, 0o600)
    os.write(memory, done.stdout)
    (folder / name).symlink_to(f"/proc/{os.getpid()}/fd/{memory}")


def output_of(*command: str) -> str | None:
    """What a program of systemd prints; None where it fails or takes more than some seconds."""
    try:
        done = subprocess.run(  # noqa: S603 (fixed words)
            [command[0], "--no-pager", *command[1:]],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_ANSWER_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _settings(text: str) -> dict[str, tuple[str, ...]]:
    """The settings of unit files; an empty value resets a key, as in systemd."""
    settings: dict[str, tuple[str, ...]] = {}
    for line in text.splitlines():
        key, equals, value = line.strip().partition("=")
        if not equals or key.startswith(("#", ";", "[")):
            continue
        settings[key] = (*settings.get(key, ()), value) if value else ()
    return settings
