"""Writes configuration and secrets; existing files are kept, or backed up beside the new one."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass, replace
from pathlib import Path

from edge.config import Config, parse_config
from edge.config.editing import all_changed, replace_file, setting_of, written
from edge.config.loading import SYSTEM_FILE, read_config
from edge.crypto.key_files import make_key_file
from edge.crypto.signing import PrivateKey, key_in, new_key, write_key
from edge.errors import EnvironmentFault, InputError
from edge.installation.answers import CA, PASSWORD, SIGNING_KEY, STORE_KEY, SetupAnswers, settings
from edge.private_files import write_file
from edge.resources import config_directory
from edge.store import FILE_NAME

_MOST_CA_BYTES = 1_000_000


@dataclass(frozen=True)
class Written:
    """The configuration, the files that are new or replaced, and the backups of those replaced.

    `changed` is about the configuration; `public_key` is None if decisions are not signed.
    """

    file: Path
    changed: bool
    written: tuple[Path, ...]
    backups: tuple[Path, ...]
    public_key: str | None


def starting_point(file: Path, preset: str) -> tuple[bytes, Config]:
    """The content to change: the file's own, or a preset's for a new file.

    Raises:
        ConfigError: the file cannot be read, or holds mistakes.
    """
    if os.path.lexists(file):
        data = read_config(file)
    else:
        data = (config_directory() / f"{preset}.yaml").read_bytes()
        if file != SYSTEM_FILE:  # the presets' state folder is the service's
            data = all_changed(data, file, {"state_directory": ""})
    return data, parse_config(data, file)


def check_authority(file: Path) -> bytes:
    """The content of a file with a certificate authority.

    Raises:
        InputError: it has none.
    """
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
    new = all_changed(data, file, wanted) if wanted else data

    files: list[Path] = []
    backups: list[Path] = []
    try:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
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
