"""`edge-voice command`: send a signed command to a device over MQTT."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.cli import options
from edge.cli.output import complain, flush, show, show_json
from edge.errors import EXIT_OK, EXIT_REJECTED, InputError

if TYPE_CHECKING:
    from edge.mqtt.session import CommandSession

HELP = "send a signed command to a device and wait for its answer"

_ENROLL_START = "enroll_start"
_QUIET_S = 660.0
"""The longest an enrollment may wait for speech, and a little more."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's own options."""
    from edge.mqtt.commands import COMMANDS

    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    lines = [
        f"  {name + _wanted(spec.arguments):<25} {spec.role.value:<9} {spec.help}"
        for name, spec in COMMANDS.items()
    ]
    parser.epilog = "\n".join(
        (
            "commands, each with the least role that the key must have:",
            *lines,
            "",
            "'enroll_start' shows the progress of the enrollment; Ctrl-C does not end it.",
            "Whoever it enrolled opens nothing before 'enroll_confirm'.",
        )
    )
    parser.add_argument("name", metavar="NAME", help="the command, one of those below")
    parser.add_argument("--person", metavar="WHO", help="the person, by name or profile id")
    parser.add_argument(
        "--phrase",
        metavar="TEXT",
        help="with enroll_start: the phrase in writing, for display only; anyone on the broker can"
        " read it",
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
        help="the device's public or shared key; answers without its signature are ignored",
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
    from edge.mqtt.commands import COMMANDS, command_message
    from edge.mqtt.session import CommandSession

    config = options.config_of(args)
    if args.to is not None:
        config = replace(config, device=replace(config.device, id=args.to))
    if args.name not in COMMANDS:
        raise InputError(f"there is no command {args.name!r}; give one of {', '.join(COMMANDS)}")
    arguments = {
        name: value
        for name, value in (("person", args.person), ("phrase", args.phrase))
        if value is not None
    }
    spec = COMMANDS[args.name]
    if not spec.fits(arguments):
        wanted = _wanted(spec.arguments).strip() or "neither --person nor --phrase"
        raise InputError(f"wrong arguments; {args.name} takes {wanted}")
    key = key_in(args.key, args.key_id)
    device_key = None if args.device_key is None else read_verifying_key(args.device_key)
    try:
        message = command_message(args.name, arguments, config.device.id, key)
    except MessageProblem as problem:
        raise InputError(f"the arguments cannot be sent ({problem.reason})") from None
    events: list[dict[str, Any]] = []
    with CommandSession(config, device_key) as session:
        answer = session.send(message, args.timeout)
        done = answer.get("ok") is True
        if not args.json:
            _show(config.device.id, args.name, answer)
        enrollment = _detail(answer).get("session")
        # Others' answers have no session; a forged one would keep this waiting.
        if done and args.name == _ENROLL_START and isinstance(enrollment, str):
            events = _follow(session, enrollment, as_json=args.json)
            done = bool(events) and events[-1].get("state") in ("complete", "unconfirmed")
    if args.json:
        show_json({"answer": answer, **({"events": events} if events else {})})
    return EXIT_OK if done else EXIT_REJECTED


def _follow(session: CommandSession, enrollment: str, *, as_json: bool) -> list[dict[str, Any]]:
    """Show the progress of an enrollment; returns its messages."""
    events = []
    try:
        for event in session.progress(enrollment, _QUIET_S):
            events.append(event)
            if not as_json:
                show(f"  {_plain(event.get('message'))}")
                flush()
    except KeyboardInterrupt:
        complain("the enrollment goes on; 'edge-voice command enroll_cancel' ends it")
        raise
    return events


def _show(device_id: str, name: str, answer: dict[str, Any]) -> None:
    detail = _detail(answer)
    if answer.get("ok") is not True:
        said = f": {_plain(detail['message'])}" if "message" in detail else ""
        complain(f"{device_id} refused: {_plain(answer.get('reason'))}{said}", kind="error")
        return
    show(f"{device_id}: done")
    people = detail.pop("people", None)
    if name == _ENROLL_START:  # its messages follow
        return
    for field, value in detail.items():
        if people is None or value:  # not `more: 0`
            show(f"  {_plain(field)}: {_shown(value)}")
    for person in people if isinstance(people, list) else ():
        show(f"  {_person(person)}")


def _person(person: Any) -> str:
    if not isinstance(person, dict):
        return _plain(person)
    unit = "s of speech" if person.get("kind") == "voice" else "more"
    how_far = "enrolled" if person.get("complete") else f"{person.get('remaining')} {unit} needed"
    if person.get("unconfirmed") is True:
        how_far = "enrolled, to be confirmed"
    disabled = "" if person.get("enabled") else ", disabled"
    return _plain(f"{person.get('name')}: {how_far}{disabled}")


def _shown(value: Any) -> str:
    """A value in words."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return _plain(", ".join(map(str, value)) if isinstance(value, list) else value)


def _plain(value: Any) -> str:
    """Text from the network, without control characters."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(value)[:400])


def _wanted(arguments: Any) -> str:
    return "".join(f" --{name} WHO" for name in arguments)


def _detail(answer: dict[str, Any]) -> dict[str, Any]:
    detail = answer.get("detail")
    return dict(detail) if isinstance(detail, dict) else {}
