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
    from edge.audio.devices import lasting_name, list_devices

    devices = list_devices()
    if not devices:
        raise MicrophoneError("no microphone found; connect one and check with: arecord -l")
    lines, values = [], []
    for device in devices:
        lasting = lasting_name(device, devices)
        values.append({**dataclasses.asdict(device), "lasting_name": lasting})
        mark = "*" if device.is_default else " "
        size = f"({device.channels} channels, {device.default_rate:.0f} Hz)"
        lines.append(f"{mark} {device.index:>3}  {device.name}  {size}")
        if lasting not in device.name:  # another one is alike
            lines.append(f"       {lasting}")
    return show_result(
        args,
        {"devices": values},
        *lines,
        "* is the default; set audio.device to a number or part of a name for another.",
    )
