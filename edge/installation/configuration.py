"""The answers that set a device up, and the files written from them."""

from __future__ import annotations

import contextlib
import os
import re
import ssl
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from edge.config import Config, all_settings, parse_config
from edge.config.editing import changed, replace_file, setting_of, written
from edge.config.loading import SYSTEM_FILE, read_config
from edge.config.values import ValueProblem, convert
from edge.crypto.keys import make_key_file
from edge.crypto.signing import PrivateKey, key_in, new_key, write_key
from edge.errors import EnvironmentFault, InputError
from edge.private_files import make_folder, write_file
from edge.resources import config_directory
from edge.store import FILE_NAME

PRESETS = {"door": "balanced, for a front door", "home": "forgiving, opens nothing"}
PASSWORD, STORE_KEY, SIGNING_KEY, CA = "mqtt-password", "store-key", "signing-key", "ca.pem"
"""Files beside the configuration; the unit passes the first three to the service."""

_MOST_ID = 64
_MOST_CA_BYTES = 1_000_000


@dataclass(frozen=True)
class SetupAnswers:
    """What setup asks for; None is the default (device, port, system CAs), or no user.

    For the password, None keeps the current one.
    """

    name: str
    device_id: str
    microphone: int | str | None
    host: str
    port: int | None
    username: str | None
    password: str | None = field(repr=False)
    tls: bool
    ca_file: Path | None
    discovery: bool
    signing: bool

    @property
    def broker(self) -> str:
        """Host, and port if it is not the default."""
        return self.host if self.port is None else f"{self.host}:{self.port}"


def present(config: Config, preset: str) -> SetupAnswers:
    """The answers in a configuration; `preset` is empty for one that existed before."""
    mqtt = config.mqtt
    ca_file = mqtt.tls.ca_file
    return SetupAnswers(
        name=config.device.name,
        device_id=config.device.id,
        microphone=config.audio.device,
        host=mqtt.host,
        port=mqtt.port,
        username=mqtt.username,
        password=None,
        tls=mqtt.tls.enabled,
        ca_file=ca_file if ca_file is None or ca_file.is_file() or not preset else None,
        discovery=config.homeassistant.discovery,
        # A lock should verify decisions; an existing configuration keeps its own choice.
        signing=config.signing.key_file is not None or preset == "door",
    )


def checked(path: str, value: bool | int | str | Path | None) -> Any:
    """An answer converted to the setting at a path such as `mqtt.host`. Raises `InputError`."""
    row = next(row for row in all_settings() if row.path == path)
    try:
        return convert(yaml.compose(written(value)) or yaml.ScalarNode("", ""), row)
    except (ValueProblem, yaml.YAMLError) as error:
        raise InputError(f"{path}: {error}") from None


def broker(text: str) -> tuple[str, int | None]:
    """Host and port in `HOST`, `HOST:PORT` or `[IPv6]:PORT`. Raises `InputError`."""
    match = re.fullmatch(r"\[([^\]]+)\](?::(\d{1,5}))?|([^:]+)(?::(\d{1,5}))?", text.strip())
    if match is None:
        host, port = text.strip(), ""  # an IPv6 address, or invalid
    else:
        host, port = match[1] or match[3], match[2] or match[4] or ""
    number = checked("mqtt.port", int(port)) if port else None
    return checked("mqtt.host", host), number


def id_of(name: str) -> str:
    """An id for MQTT topics made from a display name: `Haustür` becomes `haustur`."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode("ascii")
    words = re.findall(r"[A-Za-z0-9_]+", plain)
    return "-".join(words).lower()[:_MOST_ID].strip("-") or "device"


def settings(answers: SetupAnswers) -> dict[str, bool | int | str | Path | None]:
    """The settings that follow from the answers, by path, without the secrets."""
    return {
        "device.name": answers.name,
        "device.id": answers.device_id,
        "audio.device": answers.microphone,
        "mqtt.host": answers.host,
        "mqtt.port": answers.port,
        "mqtt.username": answers.username,
        "mqtt.tls.enabled": answers.tls,
        "mqtt.tls.ca_file": answers.ca_file if answers.tls else None,
        "homeassistant.discovery": answers.discovery,
    }


@dataclass(frozen=True)
class Written:
    """The files that are new or replaced, and the backups of those replaced.

    `changed` is about the configuration; `public_key` is None if decisions are not signed.
    """

    file: Path
    changed: bool
    written: tuple[Path, ...]
    backups: tuple[Path, ...]
    public_key: str | None


def starting_point(file: Path, preset: str) -> tuple[bytes, Config]:
    """The file's own content, or a preset's for a new file. Raises `ConfigError`."""
    if os.path.lexists(file):
        data = read_config(file)
    else:
        data = (config_directory() / f"{preset}.yaml").read_bytes()
        if file != SYSTEM_FILE:  # the presets' state folder is the service's
            data = changed(data, file, {"state_directory": ""})
    return data, parse_config(data, file)


def check_authority(file: Path) -> bytes:
    """The content of a file with a certificate authority. Raises `InputError`."""
    try:
        with file.open("rb") as handle:
            data = handle.read(_MOST_CA_BYTES + 1)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=data.decode("ascii"))
    except (OSError, ValueError) as error:  # ssl's own errors are OSErrors
        reason = getattr(error, "strerror", None) or "not in PEM format"
        raise InputError(
            f"{file}: not a readable CA certificate ({reason}); name a PEM file"
        ) from None
    return data


@contextlib.contextmanager
def as_answered(file: Path, data: bytes, answers: SetupAnswers) -> Iterator[Config]:
    """In this block the configuration as `apply` would write it, with nothing written.

    Raises:
        ConfigError: the configuration cannot be changed safely.
    """
    config = parse_config(data, file)
    password_file = None
    if answers.username is not None:
        password_file = config.mqtt.password_file or file.parent / PASSWORD
    wanted = {
        path: written(value)
        for path, value in settings(answers).items()
        if setting_of(config, path) != value
    }
    new = parse_config(changed(data, file, wanted), file)
    with contextlib.ExitStack() as stack:
        if answers.password is not None:
            # In memory, and on no disk.
            memory = os.memfd_create(PASSWORD)
            stack.callback(os.close, memory)
            os.fchmod(memory, 0o600)
            os.write(memory, answers.password.encode("utf-8"))
            password_file = Path(f"/proc/{os.getpid()}/fd/{memory}")
        elif password_file is not None and not password_file.exists():
            password_file = None
        yield replace(new, mqtt=replace(new.mqtt, password_file=password_file))


def apply(file: Path, data: bytes, answers: SetupAnswers) -> Written:
    """Write the answers into the configuration whose content `starting_point` gave.

    The secrets come first, so that no configuration names a missing one.

    Raises:
        ConfigError: the configuration cannot be changed safely.
        EnvironmentFault: something cannot be written; nothing is lost.
        InputError: the CA file has no certificate.
    """
    config = parse_config(data, file)
    folder = file.parent
    if answers.tls and answers.ca_file is not None:
        authority = check_authority(answers.ca_file)
        answers = replace(answers, ca_file=folder / CA)
    else:
        authority = None
    password_file = signing_file = store_file = None
    if answers.username is not None:
        password_file = config.mqtt.password_file or folder / PASSWORD
    if answers.signing:
        signing_file = config.signing.key_file or folder / SIGNING_KEY
    values = settings(answers)
    values |= {"mqtt.password_file": password_file, "signing.key_file": signing_file}
    if _has_own_key(config, folder):
        store_file = config.store.key_file or folder / STORE_KEY
        values["store.key_file"] = store_file
    wanted = {
        path: written(_beside(value, folder))
        for path, value in values.items()
        if setting_of(config, path) != value
    }
    new = changed(data, file, wanted) if wanted else data

    files: list[Path] = []
    backups: list[Path] = []
    try:
        make_folder(folder, 0o755)
    except OSError as error:
        raise _not_written(folder, error) from None
    secret = answers.password
    if password_file is not None and (secret is not None or not password_file.exists()):
        line = f"{secret}\n" if secret else ""
        _put(password_file, line.encode("utf-8"), 0o600, files, backups)
    if authority is not None:
        _put(folder / CA, authority, 0o644, files, backups)
    # Existing signatures have their key elsewhere: a new one would not open them.
    if store_file is not None and not store_file.exists() and not _has_signatures(config):
        make_key_file(store_file)
        files.append(store_file)
    public = None
    if signing_file is not None:
        if not signing_file.exists():
            write_key(signing_file, new_key(config.signing.algorithm)[1])
            files.append(signing_file)
        key = key_in(signing_file)
        public = key.public.text if isinstance(key, PrivateKey) else None
    has_changed = not os.path.lexists(file) or new != data
    if has_changed:
        _put(file, new, 0o644, files, backups)
    return Written(file, has_changed, tuple(files), tuple(backups), public)


def _has_signatures(config: Config) -> bool:
    return (config.state_path / FILE_NAME).exists()


def _has_own_key(config: Config, folder: Path) -> bool:
    """Whether signatures are, or will be, locked with a key beside the configuration."""
    if config.store.key_file is not None or (folder / STORE_KEY).exists():
        return True
    return not config.store.passphrase and not _has_signatures(config)


def _beside(value: bool | int | str | Path | None, folder: Path) -> bool | int | str | Path | None:
    """A file beside the configuration by its bare name, as the service's credentials are named."""
    if isinstance(value, Path) and value.parent == folder and value.name != CA:
        return value.name
    return value


def _put(file: Path, data: bytes, mode: int, files: list[Path], backups: list[Path]) -> None:
    """Replace a file in one step, with a backup, or create it."""
    if os.path.lexists(file):
        former = file.read_bytes()
        if former == data:
            return
        backups.append(replace_file(file, former, data))
    else:
        _create(file, data, mode)
    files.append(file)


def _create(file: Path, data: bytes, mode: int) -> None:
    try:
        write_file(file, data, mode=mode)
    except OSError as error:
        raise _not_written(file, error) from None


def _not_written(path: Path, error: OSError) -> EnvironmentFault:
    return EnvironmentFault(
        f"{path}: cannot be written ({error.strerror}); use sudo, or name your own file with"
        " --config"
    )
