"""Options of every command, and what follows from them: settings, store and audit trail."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from edge.cli.output import complain
from edge.errors import StoreError

if TYPE_CHECKING:
    from edge.config import Config
    from edge.store import ProfileStore
    from edge.store.audit import AuditTrail
    from edge.store.device_state import DeviceState
    from edge.types import Detail


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add `--config`, `--json` and `-v`; without a default, so that no level hides another's."""
    group = parser.add_argument_group("common options")
    group.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        default=argparse.SUPPRESS,
        help="configuration file (default: $EDGE_VOICE_CONFIG, /etc/edge-voice/config.yaml or "
        "~/.config/edge-voice/config.yaml)",
    )
    group.add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS, help="print one line of JSON"
    )
    group.add_argument(
        "-v",
        "--verbose",
        action="count",
        default=argparse.SUPPRESS,
        help="log more to standard error; twice for everything",
    )


def add_utterance(parser: argparse.ArgumentParser) -> None:
    """Add `FILE`, `--device` and `--wait`, for commands that judge one utterance."""
    parser.add_argument(
        "file",
        metavar="FILE",
        nargs="?",
        type=Path,
        help="a WAV or FLAC recording, or - for standard input; without it, the microphone",
    )
    add_microphone(parser)


def add_microphone(parser: argparse.ArgumentParser) -> None:
    """Add `--device` and `--wait`, for commands that use the microphone."""
    parser.add_argument(
        "--device", metavar="DEVICE", help="microphone, by number or part of its name"
    )
    parser.add_argument(
        "--wait",
        metavar="SECONDS",
        type=seconds,
        default=60.0,
        help="give up if nobody speaks for this long (default: 60)",
    )


def add_actions(
    parser: argparse.ArgumentParser, *rows: tuple[str, str, Callable[[argparse.Namespace], int]]
) -> dict[str, argparse.ArgumentParser]:
    """Add actions, each a name, a line of help, and what performs it; returns their parsers."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    parsers = {}
    for name, text, perform in rows:
        parsers[name] = actions.add_parser(name, help=text, description=text)
        parsers[name].set_defaults(perform=perform)
        add_common(parsers[name])
    return parsers


def perform(args: argparse.Namespace) -> int:
    """Perform the action that was asked for."""
    code: int = args.perform(args)
    return code


def seconds(text: str) -> float:
    """An argument that is a number of seconds, more than 0 and up to an hour."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value <= 3600.0:  # nan neither
        raise argparse.ArgumentTypeError(
            f"invalid seconds {text[:40]!r}; use more than 0 and at most 3600"
        )
    return value


def count(text: str) -> int:
    """An argument that is a whole number from 1 up to a billion."""
    if not (text.isascii() and text.isdigit() and 0 < int(text[:9]) == int(text[:10])):
        raise argparse.ArgumentTypeError(f"invalid number {text[:40]!r}; use a whole number")
    return int(text)


def defaults() -> argparse.Namespace:
    """What the common options are if nobody gave them."""
    return argparse.Namespace(config=None, json=False, verbose=0)


def config_of(args: argparse.Namespace) -> Config:
    """The settings that `--config` names, or those of this machine. Raises `ConfigError`."""
    from edge.config import load_config

    return load_config(args.config)


def store_of(args: argparse.Namespace) -> ProfileStore:
    """The signature store, to be closed by the caller. Raises `ConfigError` or `StoreError`."""
    from edge.store import open_store

    config = config_of(args)
    return open_store(config.state_path, settings=config.store)


@contextlib.contextmanager
def device_state(config: Config) -> Iterator[DeviceState]:
    """The device's state, closed at the end. Raises `StoreError`."""
    from edge.store.device_state import DeviceState

    with contextlib.closing(DeviceState(config.state_path)) as state:
        yield state


@contextlib.contextmanager
def trail_of(store: ProfileStore, config: Config) -> Iterator[AuditTrail]:
    """The device's audit trail, to be read or written. Raises `StoreError`."""
    from edge.store.audit import AUDIT_KEY, AuditTrail

    key = store.derive_key(AUDIT_KEY)
    with (
        device_state(config) as state,
        AuditTrail(config.state_path, key, state, config.audit) as trail,
    ):
        yield trail


def audit(
    store: ProfileStore, config: Config, kind: str, profile_id: str | None = None, **detail: Detail
) -> None:
    """Record in the audit trail, on disk, that a command has done something, and for whom.

    `kind` is an `EventKind` value; the detail must hold no name, phrase or secret. A failure only
    warns: a full disk must not keep anyone from being deleted.
    """
    from edge.types import Event, EventKind

    asked: dict[str, Detail] = {"by": "command line", "uid": _user()}
    try:
        with trail_of(store, config) as trail:
            trail.record(Event(EventKind(kind), {**asked, **detail}, profile_id))
            trail.flush()
    except StoreError as error:
        complain(f"done, but not in the audit trail: {error}")


def _user() -> int:
    """Who asked; behind sudo, the person who typed it, as far as sudo says."""
    given = os.environ.get("SUDO_UID", "") if os.getuid() == 0 else ""
    return int(given[:10]) if given.isascii() and given.isdigit() else os.getuid()
