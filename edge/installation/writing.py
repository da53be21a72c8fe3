"""Writes configuration and credentials; what is there already is kept, or kept beside it."""

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
from edge.installation.answers import CA, PASSWORD, SIGNING_KEY, STORE_KEY, Answers, settings
from edge.private_files import write_file
from edge.resources import config_directory
from edge.store import FILE_NAME

_MOST_CA_BYTES = 1_000_000


@dataclass(frozen=True)
class Written:
    """What was done.

    Attributes:
        file: the configuration.
        changed: whether its content is another now, or was not there before.
        made: the files that were made or replaced.
        kept: the copies of what was replaced.
        public_key: what verifies the decisions of this device; None where none are signed.
    """

    file: Path
    changed: bool
    made: tuple[Path, ...]
    kept: tuple[Path, ...]
    public_key: str | None


def starting_point(file: Path, preset: str) -> tuple[bytes, Config]:
    """The content that is changed: the file's own, or a preset's where there is none.

    Raises:
        ConfigError: the file cannot be read, or holds mistakes.
    """
    if os.path.lexists(file):
        data = read_config(file)
    else:
        data = (config_directory() / f"{preset}.yaml").read_bytes()
        if file != SYSTEM_FILE:  # the presets' folder for the state is the service's
            data = all_changed(data, file, {"state_directory": ""})
    return data, parse_config(data, file)


def check_authority(file: Path) -> bytes:
    """The content of a file with a certificate authority.

    Raises:
        InputError: it is none.
    """
    try:
        with file.open("rb") as handle:
            data = handle.read(_MOST_CA_BYTES + 1)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=data.decode("ascii"))
    except (OSError, ValueError) as error:  # ssl's own errors are OSErrors
        reason = getattr(error, "strerror", None) or "not in PEM format"
        raise InputError(
            f"{file}: no certificate authority can be read from it ({reason}); name a PEM file"
        ) from None
    return data


def apply(file: Path, data: bytes, answers: Answers) -> Written:
    """Write what follows from the answers.

    The secrets come first, so that no configuration names one that is not there.

    Args:
        file: the configuration.
        data: what `starting_point` gave.
        answers: the answers, each of them usable.

    Raises:
        ConfigError: the configuration has a shape that cannot be changed safely.
        EnvironmentFault: something cannot be written; nothing that was there is lost.
        InputError: the authority's file is none.
    """
    config = parse_config(data, file)
    folder = file.parent
    if answers.tls and answers.ca_file is not None:
        authority = check_authority(answers.ca_file)
        answers = replace(answers, ca_file=folder / CA)
    else:
        authority = None
    values = settings(answers)
    values["mqtt.password_file"] = None
    if answers.username is not None:
        values["mqtt.password_file"] = config.mqtt.password_file or folder / PASSWORD
    values["signing.key_file"] = None
    if answers.signing:
        values["signing.key_file"] = config.signing.key_file or folder / SIGNING_KEY
    if _has_own_key(config, folder):
        values["store.key_file"] = config.store.key_file or folder / STORE_KEY
    wanted = {
        path: written(_beside(value, folder))
        for path, value in values.items()
        if setting_of(config, path) != value
    }
    new = all_changed(data, file, wanted) if wanted else data

    made: list[Path] = []
    kept: list[Path] = []
    _make_folder(folder)
    if answers.username is not None:
        place = Path(str(values["mqtt.password_file"]))
        secret = answers.password
        if secret is not None or not place.exists():
            line = f"{secret}\n" if secret else ""
            _put(place, line.encode("utf-8"), 0o600, made, kept)
    if authority is not None:
        _put(folder / CA, authority, 0o644, made, kept)
    if "store.key_file" in values:
        place = Path(str(values["store.key_file"]))
        # Where there are signatures, theirs is somewhere else: another one would open none of them.
        if not (place.exists() or (config.state_path / FILE_NAME).exists()):
            make_key_file(place)
            made.append(place)
    public = None
    if answers.signing:
        public = _signing_key(Path(str(values["signing.key_file"])), config, made)
    is_new = not os.path.lexists(file)
    if is_new or new != data:
        _put(file, new, 0o644, made, kept)
    return Written(file, is_new or new != data, tuple(made), tuple(kept), public)


def _has_own_key(config: Config, folder: Path) -> bool:
    """Whether signatures are, or are going to be, locked with a key beside the configuration."""
    if config.store.key_file is not None or (folder / STORE_KEY).exists():
        return True
    # Signatures that are there already have their key elsewhere; another would not open them.
    return not config.store.passphrase and not (config.state_path / FILE_NAME).exists()


def _signing_key(place: Path, config: Config, made: list[Path]) -> str | None:
    if not place.exists():
        _, content = new_key(config.signing.algorithm)
        write_key(place, content)
        made.append(place)
    key = key_in(place)
    return key.public.text if isinstance(key, PrivateKey) else None


def _beside(value: bool | int | str | Path | None, folder: Path) -> bool | int | str | Path | None:
    """A file beside the configuration is named by its name, as the service's credentials are."""
    if isinstance(value, Path) and value.parent == folder and value.name != CA:
        return value.name
    return value


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentFault(
            f"{folder}: cannot be made ({error.strerror}); run this as root (sudo), or name a"
            " file of your own with --config"
        ) from None


def _put(file: Path, data: bytes, mode: int, made: list[Path], kept: list[Path]) -> None:
    """Give a file its content in one step; the former stays beside it."""
    if os.path.lexists(file):
        former = file.read_bytes()
        if former == data:
            return
        kept.append(replace_file(file, former, data))
    else:
        _create(file, data, mode)
    made.append(file)


def _create(file: Path, data: bytes, mode: int) -> None:
    try:
        write_file(file, data, mode=mode)
    except OSError as error:
        raise EnvironmentFault(
            f"{file}: cannot be written ({error.strerror}); run this as root (sudo), or name a"
            " file of your own with --config"
        ) from None
