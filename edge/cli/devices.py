"""`edge-voice devices`: the microphones."""

from __future__ import annotations

import argparse
import dataclasses

from edge.cli.output import show_result
from edge.errors import MicrophoneError

HELP = "list the microphones"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """It takes none of its own."""


def run(args: argparse.Namespace) -> int:
    """List them; the default one is marked."""
    from edge.audio.devices import list_devices

    devices = list_devices()
    if not devices:
        raise MicrophoneError("no microphone found; connect one and check with: arecord -l")
    lines = [
        f"{'*' if device.is_default else ' '} {device.index:>3}  {device.name} "
        f" ({device.channels} channels, {device.default_rate:.0f} Hz)"
        for device in devices
    ]
    return show_result(
        args,
        {"devices": [dataclasses.asdict(device) for device in devices]},
        *lines,
        "* is the default; set audio.device to a number or part of a name for another.",
    )
