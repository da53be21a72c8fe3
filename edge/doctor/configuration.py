"""The configuration, the files with secrets that it names, and the user who runs the check."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from edge.config.texts import fault
from edge.crypto.command_keys import read_command_keys
from edge.crypto.signing import read_signing_key
from edge.doctor.context import Context, credential_files
from edge.doctor.finding import Finding, from_error, green, red, skipped, yellow
from edge.errors import ConfigError
from edge.mqtt.connection import read_password
from edge.private_files import credentials_folder, locate

_ROOTS_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

ROOT = green("user.root", "running as root, who can read everything")
OWNER = green("user.owner", "running as {user}, the owner of the state directory")
FIRST = green("user.first", "running as {user}; there is no state directory yet")
STRANGER = yellow(
    "user.stranger",
    "running as {user}, but {folder} belongs to {owner}: its contents cannot be read",
    "run: sudo {program} doctor",
)
NO_CREDENTIALS = yellow(
    "user.no_credentials",
    "running as {user}, who cannot read the service's credentials, such as {file}",
    "run: sudo {program} doctor",
)
DEFAULTS = green("configuration.defaults", "no configuration file: all settings are defaults")
VALID = green("configuration.fine", "{file} is valid")
MISTAKE = red(
    "configuration.mistake",
    "{problem}",
    "correct that and check again; until then the service keeps the settings it started with",
)
WRITABLE = red(
    "configuration.open",
    "other users can change {file} (mode {mode:03o}), and with it who is let in",
    "run: sudo chmod go-w {file}",
)

NO_PASSWORD = skipped("password.none", "no password is sent to the broker")
PASSWORD = green("password.private", "the broker's password is private")
PASSWORD_ODD = yellow(
    "password.odd",
    "the broker's password stands in quotes, or has a space at an end or one that cannot be seen",
    "if that is no part of the password, remove it from {file}",
)
PASSWORD_EMPTY = yellow(
    "password.empty",
    "the file with the broker's password is empty: none is sent",
    "write the password into {file}, or remove mqtt.password_file",
)
PASSWORD_UNUSABLE = red("password.unusable")
TLS_KEY_OPEN = red(
    "tls_key.open",
    "other users can read the key of the device's certificate ({file}, mode {mode:03o})",
    "run: chmod 600 {file}",
)
TLS_KEY = green("tls_key.private", "the key of the device's certificate is private")
UNSIGNED = yellow(
    "signing_key.none",
    "decisions are not signed: anyone on the broker can publish 'granted'",
    "before a lock relies on them: edge-voice signing new-key FILE, and set signing.key_file",
)
NOT_NEEDED = skipped("signing_key.not_needed", "nothing is published that could be signed")
SIGNED = green("signing_key.usable", "decisions are signed with key {id}")
SIGNING_UNUSABLE = red("signing_key.unusable")
NO_COMMANDS = skipped("command_keys.none", "no command keys: signed commands are refused")
COMMANDS = green("command_keys.usable", "command keys: {roles}")
COMMANDS_EMPTY = yellow(
    "command_keys.empty",
    "the file of command keys is empty",
    "add what 'edge-voice signing new-key' prints, or remove commands.keys_file",
)
COMMANDS_UNUSABLE = red("command_keys.unusable")


def check_user(context: Context) -> Iterator[Finding]:
    """Whether this user can read everything there is to check."""
    user = user_name(os.geteuid())
    folder = context.config.state_path
    if os.geteuid() == 0:
        yield ROOT()
        return
    try:
        owner = folder.stat().st_uid
    except OSError:
        yield FIRST(user=user)
        return
    hidden = [
        file
        for file in credential_files(context.unit).values()
        if file.exists() and not os.access(file, os.R_OK)
    ]
    if owner != os.geteuid():
        yield STRANGER(user=user, folder=folder, owner=user_name(owner), program=program())
    elif hidden and credentials_folder() is None:
        yield NO_CREDENTIALS(user=user, file=hidden[0], program=program())
    else:
        yield OWNER(user=user)


def check(context: Context) -> Iterator[Finding]:
    """Every mistake in the configuration file, and who may change it."""
    for problem in context.problems:
        yield MISTAKE(problem=problem)
    if context.file is None:
        yield DEFAULTS()
        return
    mode = _mode(context.file) or 0  # reading it has failed already
    if mode & 0o022:
        yield WRITABLE(file=context.file, mode=mode)
    elif not context.problems:
        yield VALID(file=context.file)


def check_secrets(context: Context) -> Iterator[Finding]:
    """The password, keys and certificates that the configuration names."""
    yield _password(context)
    yield from _tls_key(context)
    yield _signing_key(context)
    yield _command_keys(context)


def program() -> str:
    """How root calls this program, whose path may not include it."""
    if shutil.which("edge-voice", path=_ROOTS_PATH):
        return "edge-voice"
    own = Path(sys.argv[0])
    return str(own.absolute()) if own.name == "edge-voice" else f"{sys.executable} -m edge.cli"


def user_name(uid: int) -> str:
    """A user's name, or `user UID` where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _password(context: Context) -> Finding:
    file = context.config.mqtt.password_file
    if file is None:
        return NO_PASSWORD()
    try:
        password = read_password(file)
    except ConfigError as error:
        return from_error(PASSWORD_UNUSABLE, error)
    if password is None:
        return PASSWORD_EMPTY(file=locate(file))
    # What would be right is not said: it is the password.
    return PASSWORD() if fault("word", password) is None else PASSWORD_ODD(file=locate(file))


def _tls_key(context: Context) -> Iterator[Finding]:
    file = context.config.mqtt.tls.key_file
    mode = None if file is None else _mode(file)
    if mode is not None:  # otherwise a row of the broker says that it cannot be used
        yield TLS_KEY_OPEN(file=file, mode=mode) if mode & 0o077 else TLS_KEY()


def _signing_key(context: Context) -> Finding:
    signing = context.config.signing
    if signing.key_file is None:
        return UNSIGNED() if context.config.mqtt.enabled else NOT_NEEDED()
    try:
        key = read_signing_key(signing.key_file, signing.algorithm, "signing.key_file")
    except ConfigError as error:
        return from_error(SIGNING_UNUSABLE, error)
    return SIGNED(id=key.key_id)


def _command_keys(context: Context) -> Finding:
    file = context.config.commands.keys_file
    if file is None:
        return NO_COMMANDS()
    try:
        keys = read_command_keys(file)
    except ConfigError as error:
        return from_error(COMMANDS_UNUSABLE, error)
    if not keys:
        return COMMANDS_EMPTY()
    roles = sorted(key.role.value for key in keys.values())
    counted = ", ".join(f"{roles.count(role)} {role}" for role in dict.fromkeys(roles))
    return COMMANDS(roles=counted)


def _mode(file: Path) -> int | None:
    try:
        return stat.S_IMODE(file.stat().st_mode)
    except OSError:
        return None
