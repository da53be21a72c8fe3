"""`edge-voice command`: tell a device something, over MQTT and signed."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from edge.cli import options
from edge.cli.output import complain, show, show_json
from edge.errors import EXIT_OK, EXIT_REJECTED, InputError

NAME = "command"
HELP = "send a signed command to a device and wait for its answer"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what it takes."""
    parser.add_argument("name", metavar="NAME", help="the command, such as lift_lockout or ping")
    parser.add_argument(
        "--argument",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="an argument, such as on=true or person=Ada; may be given several times",
    )
    parser.add_argument(
        "--key",
        metavar="FILE",
        type=Path,
        required=True,
        help="the key to sign with, made by 'edge-voice signing new-key'",
    )
    parser.add_argument("--key-id", metavar="ID", help="its id in the device's commands.keys_file")
    parser.add_argument("--to", metavar="DEVICE", help="the device (default: device.id)")
    parser.add_argument(
        "--device-key",
        metavar="FILE",
        type=Path,
        help="the key that the device signs with (its public key, or the shared one); an answer "
        "without its signature is not believed",
    )
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=options.seconds,
        default=10.0,
        help="how long to wait for the answer (default: 10)",
    )


def run(args: argparse.Namespace) -> int:
    """Send it; 0 when it was done, 1 when it was refused or failed."""
    from edge.crypto.canonical import MessageProblem
    from edge.crypto.signing import key_in, read_verifying_key
    from edge.mqtt.commands import COMMANDS
    from edge.mqtt.sending import command_message, send_command

    config = options.config_of(args)
    if args.to is not None:
        config = replace(config, device=replace(config.device, id=args.to))
    if args.name not in COMMANDS:
        raise InputError(f"there is no command {args.name!r}; give one of {', '.join(COMMANDS)}")
    arguments = dict(_argument(text) for text in args.argument)
    spec = COMMANDS[args.name]
    if set(arguments) != set(spec.arguments) or not all(
        fits(arguments[name]) for name, fits in spec.arguments.items()
    ):
        wanted = " ".join(f"--argument {name}=..." for name in spec.arguments) or "no arguments"
        raise InputError(f"the arguments do not fit; {args.name} takes {wanted}")
    key = key_in(args.key, args.key_id)
    device_key = None if args.device_key is None else read_verifying_key(args.device_key)
    try:
        message = command_message(args.name, arguments, config.device.id, key)
    except MessageProblem as problem:
        raise InputError(f"the arguments cannot be sent ({problem.reason})") from None
    answer = send_command(config, message, device_key=device_key, timeout_s=args.timeout)
    done = answer.get("ok") is True
    if args.json:
        show_json({"answer": answer})
    elif done:
        show(f"{config.device.id}: done")
        for name, value in _detail(answer).items():
            show(f"  {name}: {value}")
    else:
        complain(f"{config.device.id} did not do it: {answer.get('reason')}", kind="error")
    return EXIT_OK if done else EXIT_REJECTED


def _argument(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise InputError(f"{text[:40]!r} is no argument; write NAME=VALUE")
    truths: dict[str, bool] = {"true": True, "on": True, "false": False, "off": False}
    # A person may be called On; the one command that takes a truth calls it `on`.
    return name, truths.get(value.lower(), value) if name == "on" else value


def _detail(answer: dict[str, Any]) -> dict[str, Any]:
    detail = answer.get("detail")
    return detail if isinstance(detail, dict) else {}
