"""The files with secrets in them: readable for the service, and for nobody else."""

from __future__ import annotations

import stat
from collections.abc import Iterator

from edge.credentials import locate
from edge.crypto.command_keys import read_command_keys
from edge.crypto.signing import read_signing_key
from edge.doctor.context import Context
from edge.doctor.finding import Finding, green, parted, red, skipped, yellow
from edge.errors import ConfigError
from edge.mqtt.authentication import read_password

NO_PASSWORD = skipped("password.none", "no password is sent to the broker")
PASSWORD = green("password.private", "the broker's password is private")
PASSWORD_EMPTY = yellow(
    "password.empty",
    "the file of the broker's password is empty: none is sent",
    "write the password into {file}, or take mqtt.password_file out",
)
PASSWORD_UNUSABLE = red("password.unusable", "{found}", "{remedy}")
TLS_KEY_OPEN = red(
    "tls_key.open",
    "others on this machine may use the device's certificate ({file}, mode {mode:03o})",
    "run: chmod 600 {file}",
)
TLS_KEY = green("tls_key.private", "the key of the device's certificate is private")
UNSIGNED = yellow(
    "signing_key.none",
    "decisions are not signed: whoever is on the broker can say 'granted'",
    "before a lock obeys: edge-voice signing new-key FILE, and set signing.key_file",
)
SILENT = skipped("signing_key.not_needed", "nothing is published that could be signed")
SIGNED = green("signing_key.usable", "decisions are signed with key {id}")
SIGNING_UNUSABLE = red("signing_key.unusable", "{found}", "{remedy}")
NO_COMMANDS = skipped("command_keys.none", "no signed command is accepted: none is configured")
COMMANDS = green("command_keys.usable", "keys that may command: {roles}")
COMMANDS_EMPTY = yellow(
    "command_keys.empty",
    "there is a file for keys that may command, and none in it",
    "add what 'edge-voice signing new-key' prints, or take commands.keys_file out",
)
COMMANDS_UNUSABLE = red("command_keys.unusable", "{found}", "{remedy}")


def check(context: Context) -> Iterator[Finding]:
    """Password, keys and certificates that the configuration names."""
    yield _password(context)
    yield from _tls_key(context)
    yield _signing_key(context)
    yield _command_keys(context)


def _password(context: Context) -> Finding:
    file = context.config.mqtt.password_file
    if file is None:
        return NO_PASSWORD()
    try:
        password = read_password(file)
    except ConfigError as error:
        found, remedy = parted(error)
        return PASSWORD_UNUSABLE(found=found, remedy=remedy)
    return PASSWORD_EMPTY(file=locate(file)) if password is None else PASSWORD()


def _tls_key(context: Context) -> Iterator[Finding]:
    file = context.config.mqtt.tls.key_file
    if file is None:
        return
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
    except OSError:
        return  # the broker's row says that it cannot be used
    yield TLS_KEY_OPEN(file=file, mode=mode) if mode & 0o077 else TLS_KEY()


def _signing_key(context: Context) -> Finding:
    signing = context.config.signing
    if signing.key_file is None:
        return UNSIGNED() if context.config.mqtt.enabled else SILENT()
    try:
        key = read_signing_key(signing.key_file, signing.algorithm, "signing.key_file")
    except ConfigError as error:
        found, remedy = parted(error)
        return SIGNING_UNUSABLE(found=found, remedy=remedy)
    return SIGNED(id=key.key_id)


def _command_keys(context: Context) -> Finding:
    file = context.config.commands.keys_file
    if file is None:
        return NO_COMMANDS()
    try:
        keys = read_command_keys(file)
    except ConfigError as error:
        found, remedy = parted(error)
        return COMMANDS_UNUSABLE(found=found, remedy=remedy)
    if not keys:
        return COMMANDS_EMPTY()
    roles = sorted(key.role.value for key in keys.values())
    counted = ", ".join(f"{roles.count(role)} {role}" for role in dict.fromkeys(roles))
    return COMMANDS(roles=counted)
