"""Options that every command takes, before or after its name, and what follows from them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge.config import Config
    from edge.store import ProfileStore


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add `--config`, `--json` and `-v`; without a default, so that no level hides another's."""
    group = parser.add_argument_group("options of every command")
    group.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        default=argparse.SUPPRESS,
        help="configuration file; else $EDGE_VOICE_CONFIG, /etc/edge-voice/config.yaml or "
        "~/.config/edge-voice/config.yaml",
    )
    group.add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS, help="print one line of JSON"
    )
    group.add_argument(
        "-v",
        "--verbose",
        action="count",
        default=argparse.SUPPRESS,
        help="say more on standard error; twice for everything",
    )


def add_microphone(parser: argparse.ArgumentParser) -> None:
    """Add `--device` and `--wait`, which matter where the microphone is listened to."""
    parser.add_argument(
        "--device", metavar="DEVICE", help="microphone, by number or part of its name"
    )
    parser.add_argument(
        "--wait",
        metavar="SECONDS",
        type=seconds,
        default=60.0,
        help="give up when nobody speaks for so long (default: 60)",
    )


def seconds(text: str) -> float:
    """An argument that is a number of seconds, more than 0 and up to an hour."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value <= 3600.0:  # nan neither
        raise argparse.ArgumentTypeError(
            f"{text[:40]!r} cannot be used; give seconds, more than 0 and up to 3600"
        )
    return value


def defaults() -> argparse.Namespace:
    """What the common options are when nobody gave them."""
    return argparse.Namespace(config=None, json=False, verbose=0)


def config_of(args: argparse.Namespace) -> Config:
    """The settings that `--config` names, or those of this machine.

    Raises:
        ConfigError: the file cannot be read, or holds a mistake.
    """
    from edge.config import load_config

    return load_config(args.config)


def store_of(args: argparse.Namespace) -> ProfileStore:
    """The signature store that the settings name, to be closed by the caller.

    Raises:
        ConfigError: as `config_of`.
        StoreError: it cannot be opened.
    """
    from edge.store import open_store

    config = config_of(args)
    return open_store(config.state_path, settings=config.store)
