"""`edge-voice devices`: the microphones."""

from __future__ import annotations

import argparse
import dataclasses

from edge.cli.output import show, show_json
from edge.errors import EXIT_OK, MicrophoneError

NAME = "devices"
HELP = "list the microphones"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """It takes none of its own."""


def run(args: argparse.Namespace) -> int:
    """List them; the default one is marked."""
    from edge.audio.devices import list_devices

    devices = list_devices()
    if not devices:
        raise MicrophoneError("no microphone found; connect one and check with: arecord -l")
    if args.json:
        show_json({"devices": [dataclasses.asdict(device) for device in devices]})
    else:
        for device in devices:
            mark = "*" if device.is_default else " "
            what = f"{device.channels} channels, {device.default_rate:.0f} Hz"
            show(f"{mark} {device.index:>3}  {device.name}  ({what})")
        show("* is the default; set audio.device to a number or part of a name for another.")
    return EXIT_OK
