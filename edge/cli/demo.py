"""`edge-voice demo`: recognition from end to end, with nothing attached."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from edge.cli import options
from edge.cli.output import show_json
from edge.errors import EXIT_OK, EXIT_REJECTED

HELP = "show it all at work, with made-up people or with you"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's own options."""
    parser.description = (
        "Enrolls two made-up people, starts an MQTT broker and the service, plays recordings to it"
        " and shows the decisions. Nothing is kept. Exit code 0 if every decision was as expected."
    )
    parser.add_argument(
        "--microphone",
        action="store_true",
        help="enroll and recognize you instead, at the microphone set in --config",
    )
    parser.add_argument("--no-color", action="store_true", help="no colors")


def run(args: argparse.Namespace) -> int:
    """Run it; 0 if every decision was as expected, 1 if not."""
    from rich.console import Console

    from edge.demo.show import Show
    from edge.demo.story import EnrollmentEnded, run_recorded, run_with_microphone

    show = Show(None if args.json else Console(no_color=args.no_color or None))
    with tempfile.TemporaryDirectory(prefix="edge-voice-demo-") as name:
        folder = Path(name)
        if args.microphone:
            try:
                outcome = run_with_microphone(folder, show, options.config_of(args).audio)
            except EnrollmentEnded as error:
                return error.exit_code  # it has said why
        else:
            outcome = run_recorded(folder, show)
    if args.json:
        show_json(outcome.as_dict())
    show.say("")
    show.say(str(outcome))
    return EXIT_OK if outcome.as_expected else EXIT_REJECTED
