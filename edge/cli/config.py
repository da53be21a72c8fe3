"""`edge-voice config`: check the configuration before a door depends on it."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from edge.cli import options
from edge.cli.output import complain, show_json, show_result
from edge.errors import EXIT_INPUT, ConfigError
from edge.private_files import locate

HELP = "check the configuration file"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the actions and what each takes."""
    actions = options.add_actions(parser, ("check", "show every mistake in the file", _check))
    actions["check"].add_argument(
        "file", metavar="FILE", nargs="?", type=Path, help="the file (default: the one in use)"
    )


run = options.perform


def _check(args: argparse.Namespace) -> int:
    from edge.config import find_config, load_config
    from edge.crypto.command_keys import read_command_keys

    file = find_config(args.file or args.config)
    try:
        keys = load_config(file).commands.keys_file
        # One that is not there, or not for this user, may be a credential of the service.
        if keys is not None and os.access(locate(keys), os.R_OK):
            read_command_keys(keys)
    except ConfigError as error:
        if args.json:
            show_json({"file": str(file), "valid": False, "problems": list(error.problems)})
        for problem in error.problems:
            complain(problem, kind="error")
        return EXIT_INPUT
    return show_result(
        args,
        {"file": str(file) if file else None, "valid": True, "problems": []},
        f"{file}: valid" if file else "No configuration file: every setting has its default.",
    )
