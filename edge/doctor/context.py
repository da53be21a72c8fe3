"""What the checks look at: this machine as the service sees it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge import credentials
from edge.config import Config
from edge.doctor.service import Unit

_DECRYPT_S = 10.0


@dataclass
class Context:
    """What one examination knows so far.

    Attributes:
        config: the settings; the defaults where they cannot be read.
        file: where they were read from; None where there is no file.
        problems: what is wrong with them, a line for each mistake.
        unit: what systemd says of the service.
        status: what the running service says of itself over MQTT, empty where the broker keeps
            nothing; None where the broker was not asked.
        announced: the topics on which the broker keeps an entity of this device for Home Assistant.
    """

    config: Config = field(default_factory=Config)
    file: Path | None = None
    problems: tuple[str, ...] = ()
    unit: Unit = field(default_factory=Unit)
    status: Mapping[str, Any] | None = None
    announced: frozenset[str] = frozenset()

    @property
    def microphone_of_the_service(self) -> str | None:
        """What a running service says of the microphone; None where none says anything."""
        status = self.status or {}
        return str(status.get("microphone")) if status.get("state") == "online" else None


@contextlib.contextmanager
def as_the_service(unit: Unit) -> Iterator[None]:
    """Have state directory and credentials found where the service finds them.

    Commands are not given what systemd gives to the service. Who may read the files that its
    credentials are made of, as root may, gets them under the same names, by links in a folder of
    this process's own. No secret is copied to a file: one that is encrypted is decrypted, as
    systemd does it, into memory that ends with this process.
    """
    before = dict(os.environ)
    with contextlib.ExitStack() as leaving:
        folder = unit.state_directory
        if folder is not None and folder.is_dir():
            os.environ.setdefault("STATE_DIRECTORY", str(folder))
        given = credential_files(unit)
        sealed = credential_files(unit, "LoadCredentialEncrypted")
        if (given or sealed) and credentials.folder() is None:
            made = Path(leaving.enter_context(tempfile.TemporaryDirectory(prefix="edge-voice-")))
            for name, source in sealed.items():
                if os.geteuid() == 0 and source.is_file():
                    _decrypt(name, source, made, leaving)
            optional = {each.split(":")[0] for each in unit.settings.get("SetCredential", ())}
            for name, source in given.items():
                if os.path.lexists(source):
                    (made / name).symlink_to(source)
                elif name in optional:
                    (made / name).touch(mode=0o600)  # what the service gets: an empty one
            os.environ[credentials.VARIABLE] = str(made)
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


def credential_files(unit: Unit, key: str = "LoadCredential") -> dict[str, Path]:
    """The files that the service's credentials are made of, by the names of the credentials."""
    files = {}
    for line in unit.settings.get(key, ()):
        name, _, source = line.partition(":")
        if source.startswith("/") and name and "/" not in name:
            files[name] = Path(source)
    return files


def _decrypt(name: str, source: Path, folder: Path, leaving: contextlib.ExitStack) -> None:
    """Put a decrypted credential into the folder; where it cannot be, there is none."""
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
    leaving.callback(os.close, memory)
    os.fchmod(memory, 0o600)
    os.write(memory, done.stdout)
    (folder / name).symlink_to(f"/proc/{os.getpid()}/fd/{memory}")
