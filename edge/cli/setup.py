"""`edge-voice setup`: a few questions, and the device is configured and started."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.cli.output import complain, show, show_json
from edge.cli.prompts import ask, ask_secret, ask_whether, say
from edge.errors import EXIT_OK, EdgeVoiceError, InputError

if TYPE_CHECKING:
    from edge.audio.devices import InputDevice
    from edge.installation.answers import Answers
    from edge.installation.writing import Written

NAME = "setup"
HELP = "ask a few questions, write the configuration and start the service"

_NONE = "none"
_DEFAULT = "default"
_MOST_PASSWORD = 4096


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what it takes."""
    parser.description = (
        "Asks what a device has to know, and writes the configuration and the service's secrets."
        " Run again, it offers what is set; what it replaces stays beside it with .bak after its"
        " name. What an option answers is not asked."
    )
    parser.add_argument(
        "--preset", choices=("door", "home"), help="what a new configuration starts from"
    )
    parser.add_argument("--name", metavar="NAME", help="name of the device for people")
    parser.add_argument("--id", metavar="ID", help="its name in MQTT topics (default: from --name)")
    parser.add_argument(
        "--microphone", metavar="NAME", help=f"a part of its name, its number, or {_DEFAULT}"
    )
    parser.add_argument("--broker", metavar="HOST[:PORT]", help="the MQTT broker")
    parser.add_argument("--user", metavar="USER", help=f"user at the broker, or {_NONE}")
    parser.add_argument(
        "--password-file",
        metavar="FILE",
        type=Path,
        help="file whose only line is the password at the broker; it is copied",
    )
    yes_or_no = argparse.BooleanOptionalAction
    parser.add_argument(
        "--tls", action=yes_or_no, default=None, help="encrypt the connection to the broker"
    )
    parser.add_argument(
        "--ca-file",
        metavar="FILE",
        help="PEM file of the authority that signed the broker's certificate; it is copied",
    )
    parser.add_argument(
        "--discovery", action=yes_or_no, default=None, help="show the device to Home Assistant"
    )
    parser.add_argument(
        "--signing", action=yes_or_no, default=None, help="sign decisions, for a lock to verify"
    )
    parser.add_argument(
        "--yes", action="store_true", help="ask nothing; take what is set, or the default"
    )
    parser.add_argument("--no-start", action="store_true", help="do not start the service")


def run(args: argparse.Namespace) -> int:
    """Ask, write and start."""
    from edge.config.loading import SYSTEM_FILE
    from edge.installation import service, writing
    from edge.installation.answers import PRESETS, present

    file = _file(args.config)
    asks = not args.yes
    if asks and not sys.stdin.isatty():
        raise InputError(
            "nobody is there to answer: add --yes to take what is set or the defaults, and give"
            " what shall differ by --preset, --name, --microphone, --broker, --user,"
            " --password-file, --tls, --ca-file, --discovery or --signing"
        )
    is_new = not os.path.lexists(file)
    preset = args.preset or "door"
    if not is_new:
        if args.preset:
            raise InputError(
                f"{file}: is there already, and --preset would lose what is in it; move it away,"
                " or leave --preset out"
            )
    elif asks and not args.preset:
        say("What is it for? " + "; ".join(f"{name}: {what}" for name, what in PRESETS.items()))
        preset = ask("door or home", preset, _preset)
    data, config = writing.starting_point(file, preset)
    answers = _asked(args, present(config, preset if is_new else ""), asks=asks)
    if answers.tls and answers.ca_file is not None:
        writing.check_authority(answers.ca_file)
    done = writing.apply(file, data, answers)

    state = "left alone"
    failure: EdgeVoiceError | None = None
    if not args.no_start and file == SYSTEM_FILE and service.can_start():
        try:
            service.start()
            state = "started"
        except EdgeVoiceError as error:
            state, failure = "failed", error
    if args.json:
        show_json(_as_json(done, answers, state))
    else:
        _show(done, answers, state, sudo="sudo " if file == SYSTEM_FILE else "")
    if failure is not None:
        complain(str(failure), kind="error")
        return failure.exit_code
    return EXIT_OK


def _file(named: Path | None) -> Path:
    from edge.config import find_config
    from edge.config.loading import SYSTEM_FILE

    file = find_config(named)
    if file is None:
        if os.geteuid() != 0:
            raise InputError(
                f"{SYSTEM_FILE} is for root to write; run this with sudo, or name a file of your"
                " own with --config"
            )
        file = SYSTEM_FILE
    # What is written beside it is named from there.
    return file.absolute()


def _asked(args: argparse.Namespace, before: Answers, *, asks: bool) -> Answers:
    from edge.installation.answers import broker, checked, id_of

    def answer(option: Any, question: str, default: str, path: str) -> Any:
        """From the option, else the person, else what it is."""
        if option is None and asks:
            return ask(question, default, lambda text: checked(path, text))
        return checked(path, default if option is None else option)

    name = answer(args.name, "Name of this device", before.name, "device.name")
    new_id = args.id or (before.device_id if name == before.name else id_of(name))
    before = replace(before, name=name, device_id=checked("device.id", new_id))
    before = replace(before, microphone=_microphone(args.microphone, before.microphone, asks=asks))

    if args.broker is not None or not asks:
        host, port = broker(args.broker or before.broker)
    else:
        host, port = ask("MQTT broker, HOST or HOST:PORT", before.broker, broker)
    user = before.username or _NONE
    user = answer(args.user, f"User at the broker, or {_NONE}", user, "mqtt.username")
    username = None if user == _NONE else user
    password = None
    if args.password_file is not None:
        if username is None:
            raise InputError("a password without a user; give --user too")
        password = _password_in(args.password_file)
    elif asks and username is not None:
        password = ask_secret("Password at the broker (not shown; Enter leaves it as it is)")

    tls = _whether(args.tls, "Encrypt the connection (TLS)", before.tls, asks=asks)
    return replace(
        before,
        host=host,
        port=port,
        username=username,
        password=password,
        tls=tls,
        ca_file=_authority(args, before.ca_file, tls=tls, asks=asks),
        discovery=_whether(
            args.discovery, "Show the device to Home Assistant", before.discovery, asks=asks
        ),
        signing=_whether(
            args.signing, "Sign decisions, for a lock to verify", before.signing, asks=asks
        ),
    )


def _preset(text: str) -> str:
    if text not in ("door", "home"):
        raise InputError("answer door or home")
    return text


def _whether(option: bool | None, question: str, default: bool, *, asks: bool) -> bool:
    if option is not None:
        return option
    return ask_whether(question, default=default) if asks else default


def _authority(
    args: argparse.Namespace, before: Path | None, *, tls: bool, asks: bool
) -> Path | None:
    from edge.installation.writing import check_authority

    if not tls:
        if args.ca_file is not None:
            raise InputError("--ca-file has no effect without TLS; add --tls")
        return None

    def read(text: str) -> Path | None:
        if text == _NONE:
            return None
        file = Path(text).expanduser().absolute()
        check_authority(file)
        return file

    default = _NONE if before is None else str(before)
    if args.ca_file is not None or not asks:
        return read(args.ca_file or default)
    question = f"File of the authority behind its certificate, or {_NONE} for the system's"
    return ask(question, default, read)


def _microphone(option: str | None, before: int | str | None, *, asks: bool) -> int | str | None:
    """By a part of its name, which stays when something else is plugged in."""
    from edge.installation.answers import checked

    default = _DEFAULT if before is None else str(before)
    devices = _devices() if asks and option is None else []

    def read(text: str) -> int | str | None:
        if text == _DEFAULT:
            return None
        for device in devices:
            if text == str(device.index):
                return _lasting_name(device, devices)
        if devices and text.isdecimal():
            raise InputError("there is no microphone of that number")
        value: int | str = checked("audio.device", int(text) if text.isdecimal() else text)
        return value

    if option is None and asks:
        for device in devices:
            mark = " (the default)" if device.is_default else ""
            say(f"  {device.index:>3}  {device.name}{mark}")
        return ask(f"Microphone, by number, or {_DEFAULT}", default, read)
    return before if option is None else read(option)


def _devices() -> list[InputDevice]:
    from edge.audio.devices import list_devices

    try:
        devices = list_devices()
    except EdgeVoiceError as error:
        say(f"  The microphones cannot be listed: {error}")
        return []
    if not devices:
        say("  There is no microphone yet; the service waits for one.")
    return devices


def _lasting_name(device: InputDevice, devices: list[InputDevice]) -> str:
    """The name without the card's number, where that is enough to tell it from the others."""
    short = device.name.partition(" (hw:")[0].partition(":")[0].strip()
    same = [other for other in devices if short.casefold() in other.name.casefold()]
    return short if short and not short.isdecimal() and len(same) == 1 else device.name


def _password_in(file: Path) -> str:
    try:
        with file.open("rb") as handle:
            data = handle.read(_MOST_PASSWORD + 1)
        text = data.decode("utf-8").rstrip("\r\n")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise InputError(f"{file}: the password cannot be read ({reason})") from None
    if not text or len(data) > _MOST_PASSWORD or "\n" in text or "\0" in text:
        raise InputError(f"{file}: must hold the password in one line only")
    return text


def _as_json(done: Written, answers: Answers, state: str) -> dict[str, Any]:
    return {
        "file": str(done.file),
        "changed": done.changed,
        "made": [str(path) for path in done.made],
        "kept": [str(path) for path in done.kept],
        "device": {"id": answers.device_id, "name": answers.name},
        "microphone": answers.microphone,
        "broker": answers.broker,
        "user": answers.username,
        "tls": answers.tls,
        "discovery": answers.discovery,
        "public_key": done.public_key,
        "service": state,
    }


def _show(done: Written, answers: Answers, state: str, *, sudo: str) -> None:
    show(f"{done.file}: {'written' if done.changed else 'is as it was'}")
    for path in done.made:
        if path != done.file:
            show(f"{path}: written")
    for path in done.kept:
        show(f"{path}: what was there before")
    if done.public_key is not None:
        show(f"Decisions are signed; a lock verifies them with {done.public_key}")
    if state == "started":
        show("The service runs, now and after every start of the machine.")
    elif state == "left alone":
        show("The service was not started; to listen from this terminal: edge-voice run")
    if sudo:
        show("If something is amiss: sudo edge-voice doctor")
    show(f"Next, somebody who may open {answers.name}: {sudo}edge-voice enroll NAME")
