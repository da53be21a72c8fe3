"""`edge-voice wyoming`: the server between voice assistants and their speech-to-text."""

from __future__ import annotations

import argparse
import logging
from typing import TYPE_CHECKING

from edge.cli import options
from edge.cli.output import flush, show_json, show_result
from edge.cli.stopping import UntilStopped
from edge.errors import EXIT_OK, EnvironmentFault

if TYPE_CHECKING:
    from edge.config import Config

HELP = "tell voice assistants who speaks, in front of their speech-to-text, until stopped"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's own options."""
    parser.description = (
        "Serves the assistants of wyoming.assistants in the configuration: each connects to its"
        " port as to a speech-to-text program, and is passed on to the one behind. Who spoke is"
        " published over MQTT before the text arrives."
    )


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT."""
    from edge.cli.run import give_back_memory

    config = options.config_of(args)
    _require_packages()
    from edge.assistants.server import WyomingServer

    give_back_memory()
    until_stopped = UntilStopped()
    if not args.verbose:
        logging.getLogger().setLevel(config.log_level.upper())
    server = WyomingServer(config)
    _tell(args, config, dict(server.ports))
    until_stopped.run(server)
    return EXIT_OK


def _tell(args: argparse.Namespace, config: Config, ports: dict[str, int]) -> None:
    if args.json:
        show_json({"serving": {"address": config.wyoming.address, "assistants": ports}})
    else:
        for name, port in ports.items():
            behind = config.wyoming.assistants[name].speech_to_text
            show_result(args, {}, f"{name}: port {port}, in front of {behind}")
    flush()


def _require_packages() -> None:
    try:
        import wyoming  # noqa: F401
        import zeroconf  # noqa: F401
    except ImportError:
        raise EnvironmentFault(
            "the server for assistants needs more packages; run, in the environment of this"
            " software: pip install 'edge-voice[wyoming]'"
        ) from None
