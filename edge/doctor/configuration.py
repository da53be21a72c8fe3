"""Who asks, and whether the settings are right."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from edge import credentials
from edge.doctor.context import Context, credential_files
from edge.doctor.finding import Finding, green, red, yellow

_ROOTS_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

ROOT = green("user.root", "run as root, who can see everything")
OWNER = green("user.owner", "run as {user}, whose state directory this is")
FIRST = green("user.first", "run as {user}; there is no state directory yet")
STRANGER = yellow(
    "user.stranger",
    "run as {user}, but {folder} belongs to {owner}: what is in it cannot be seen",
    "run: sudo {program} doctor",
)
BLIND = yellow(
    "user.no_credentials",
    "run as {user}, who cannot read the service's credentials, such as {file}",
    "run: sudo {program} doctor",
)
DEFAULTS = green("configuration.defaults", "there is no file: every setting has its default")
FINE = green("configuration.fine", "{file} has no mistake")
MISTAKE = red(
    "configuration.mistake",
    "{problem}",
    "correct that, then look again; the service goes on with what it read at its start",
)
OPEN = red(
    "configuration.open",
    "other users may change {file} (mode {mode:03o}), and with it who gets in",
    "run: sudo chmod go-w {file}",
)


def check_user(context: Context) -> Iterator[Finding]:
    """Whether whoever runs this can see what there is to see."""
    user = _name(os.geteuid())
    folder = context.config.state_path
    if os.geteuid() == 0:
        yield ROOT()
        return
    try:
        owner = folder.stat().st_uid
    except OSError:
        yield FIRST(user=user)
        return
    hidden = [file for file in credential_files(context.unit).values() if _hidden(file)]
    if owner != os.geteuid():
        yield STRANGER(user=user, folder=folder, owner=_name(owner), program=program())
    elif hidden and credentials.folder() is None:
        yield BLIND(user=user, file=hidden[0], program=program())
    else:
        yield OWNER(user=user)


def check(context: Context) -> Iterator[Finding]:
    """Every mistake in the file, and who may change it."""
    for problem in context.problems:
        yield MISTAKE(problem=problem)
    if context.file is None:
        yield DEFAULTS()
        return
    mode = _mode(context.file)
    if mode & 0o022:
        yield OPEN(file=context.file, mode=mode)
    elif not context.problems:
        yield FINE(file=context.file)


def program() -> str:
    """How to call this program as root, whose path may not lead to it."""
    if shutil.which("edge-voice", path=_ROOTS_PATH):
        return "edge-voice"
    own = Path(sys.argv[0])
    return str(own.absolute()) if own.name == "edge-voice" else f"{sys.executable} -m edge.cli"


def _mode(file: Path) -> int:
    try:
        return stat.S_IMODE(file.stat().st_mode)
    except OSError:
        return 0  # reading it has said so


def _hidden(file: Path) -> bool:
    return file.exists() and not os.access(file, os.R_OK)


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
