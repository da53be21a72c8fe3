"""`edge-voice demo`: the main job with nothing attached."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from edge.errors import EXIT_OK, EXIT_REJECTED

NAME = "demo"
HELP = "show the whole way of a voice, with made-up people or with you"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's own options."""
    parser.description = (
        "Enrols two made-up people, starts the daemon and an MQTT broker, plays recordings and"
        " shows what is decided. Nothing is kept. Exit code 0 when every decision was as expected."
    )
    parser.add_argument(
        "--microphone", action="store_true", help="enrol and recognise you, at the microphone"
    )


def run(args: argparse.Namespace) -> int:
    """Run it; 0 when every decision was as expected, 1 when one was not."""
    from rich.console import Console  # noqa: PLC0415 - what the other commands do not load

    from edge.demo.show import Show  # noqa: PLC0415
    from edge.demo.story import run_recorded  # noqa: PLC0415

    show = Show(None if args.json else Console(no_color=args.no_color or None))
    with tempfile.TemporaryDirectory(prefix="edge-voice-demo-") as folder:
        outcome = run_recorded(Path(folder), show)
    if args.json:
        print(json.dumps(outcome.as_dict(), ensure_ascii=False))  # noqa: T201
    show.say("")
    show.say(str(outcome))
    return EXIT_OK if outcome.as_expected else EXIT_REJECTED
