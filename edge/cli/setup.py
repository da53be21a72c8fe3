"""`edge-voice setup`: ask a few questions, write the configuration, start the service."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from edge.cli.doctor import label
from edge.cli.output import complain, show, show_json
from edge.cli.prompts import ask, ask_secret, ask_whether, say, secret_line
from edge.errors import EXIT_OK, EdgeVoiceError, EnvironmentFault, InputError, MicrophoneError

if TYPE_CHECKING:
    from edge.audio.devices import InputDevice
    from edge.doctor import Finding
    from edge.installation.configuration import SetupAnswers, Written

HELP = "ask a few questions, write the configuration and start the service"

_NONE = "none"
_DEFAULT = "default"
_T = TypeVar("_T")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what it takes."""
    parser.description = (
        "Asks a few questions, and writes the configuration and the service's secrets. Run again,"
        " it offers the current values; replaced files are kept with .bak added to their names."
        " Questions that an option answers are skipped."
    )
    parser.add_argument(
        "--preset", choices=("door", "home"), help="starting point of a new configuration"
    )
    parser.add_argument("--name", metavar="NAME", help="display name of the device")
    parser.add_argument(
        "--id", metavar="ID", help="id of the device in MQTT topics (default: made from --name)"
    )
    parser.add_argument(
        "--microphone", metavar="NAME", help=f"part of its name, its number, or {_DEFAULT}"
    )
    parser.add_argument("--broker", metavar="HOST[:PORT]", help="the MQTT broker")
    parser.add_argument("--user", metavar="USER", help=f"MQTT user name, or {_NONE}")
    parser.add_argument(
        "--password-file",
        metavar="FILE",
        type=Path,
        help="file whose only line is the MQTT password; it is copied",
    )
    yes_or_no = argparse.BooleanOptionalAction
    parser.add_argument(
        "--tls", action=yes_or_no, default=None, help="encrypt the connection to the broker"
    )
    parser.add_argument(
        "--ca-file",
        metavar="FILE",
        help="PEM file of the CA that signed the broker's certificate; it is copied",
    )
    parser.add_argument(
        "--discovery", action=yes_or_no, default=None, help="announce the device to Home Assistant"
    )
    parser.add_argument(
        "--signing", action=yes_or_no, default=None, help="sign decisions, for a lock to verify"
    )
    parser.add_argument(
        "--yes", action="store_true", help="ask nothing; use current values, or the defaults"
    )
    parser.add_argument(
        "--check",
        choices=("warn", "require", "skip"),
        default="warn",
        help="the broker and the microphone are tried first; what fails is warned of, and without"
        " --yes you are asked whether to go on (the default), or nothing is written (require)",
    )
    parser.add_argument(
        "--service",
        action=yes_or_no,
        default=None,
        help="without root: a systemd service of your own for this configuration",
    )
    parser.add_argument("--no-start", action="store_true", help="do not start the service")


def run(args: argparse.Namespace) -> int:
    """Ask, write and start."""
    from edge.config import find_config
    from edge.config.loading import SYSTEM_FILE
    from edge.installation import configuration, service, user_service
    from edge.installation.configuration import present

    file = _file(args.config)
    asks = not args.yes
    if asks and not sys.stdin.isatty():
        raise InputError(
            "not a terminal; use --yes for current values or the defaults, and --preset, --name,"
            " --microphone, --broker, --user, --password-file, --tls, --ca-file, --discovery or"
            " --signing for others"
        )
    preset, is_new = _preset_for(args, file, asks=asks)
    data, config = configuration.starting_point(file, preset)
    before = present(config, preset if is_new else "")
    answers = _asked(args, before, config.audio.source, asks=asks)
    if answers.tls and answers.ca_file is not None:
        configuration.check_authority(answers.ca_file)
    own_service = _wants_own_service(args, file, asks=asks)
    faults = [] if args.check == "skip" else _faults(file, data, answers, asks=asks)
    _go_on(args, faults, asks=asks)
    done = configuration.apply(file, data, answers)

    start: Callable[[], None] | None = None
    if own_service:
        done = replace(done, written=(*done.written, user_service.write_unit(file)))
        start = user_service.start
    elif file == SYSTEM_FILE and service.can_start():
        start = service.start
    state, failure = "not started", None
    if start is not None and not args.no_start:
        state, failure = _started(start)
    if args.json:
        show_json({**_as_json(done, answers, state), "faults": [asdict(fault) for fault in faults]})
    else:
        named = "" if find_config() == file else f" --config {shlex.quote(str(file))}"
        _show(done, answers, state, sudo="sudo " if file == SYSTEM_FILE else "", named=named)
    if failure is not None:
        complain(str(failure), kind="error")
        return failure.exit_code
    return EXIT_OK


def _preset_for(args: argparse.Namespace, file: Path, *, asks: bool) -> tuple[str, bool]:
    """The preset for a new configuration, and whether it is a new one."""
    from edge.installation.configuration import PRESETS

    preset = args.preset or "door"
    if os.path.lexists(file):
        if args.preset:
            raise InputError(
                f"{file}: already exists, and --preset would overwrite it; move it away, or leave"
                " --preset out"
            )
        return preset, False
    if asks and not args.preset:
        say("Presets: " + "; ".join(f"{name}: {what}" for name, what in PRESETS.items()))
        preset = ask("door or home", preset, _preset)
    return preset, True


def _go_on(args: argparse.Namespace, faults: list[Finding], *, asks: bool) -> None:
    """Say what does not work. Raises `EnvironmentFault` where nothing is to be written then."""
    if faults and args.check == "require":
        raise EnvironmentFault(f"nothing was written, because {_line(faults[0])}")
    for fault in faults:
        complain(_line(fault))
    if faults and asks and not ask_whether("Write it anyway", default=True):
        raise EnvironmentFault("nothing was written; mend that, or give other answers")


def _started(start: Callable[[], None]) -> tuple[str, EdgeVoiceError | None]:
    """What became of the service, and the failure if there was one."""
    try:
        start()
    except EdgeVoiceError as error:
        return "failed", error
    return "started", None


def _file(named: Path | None) -> Path:
    from edge.config import find_config
    from edge.config.loading import SYSTEM_FILE, user_file

    file = find_config(named)
    is_roots = file == SYSTEM_FILE and os.geteuid() != 0 and not os.access(SYSTEM_FILE, os.W_OK)
    if file is None or (is_roots and named is None):
        # In a virtual environment of one's own, sudo does not even find this program.
        file = SYSTEM_FILE if os.geteuid() == 0 else user_file()
    if file is None:
        raise InputError("this user has no home directory; name a file with --config, or use sudo")
    # The files beside it are named from there.
    return file.absolute()


def _wants_own_service(args: argparse.Namespace, file: Path, *, asks: bool) -> bool:
    """Whether a service of this user is wanted. Raises where there can be none."""
    from edge.config.loading import SYSTEM_FILE
    from edge.installation import user_service

    possible = file != SYSTEM_FILE and user_service.is_possible()
    if args.service and not possible:
        raise EnvironmentFault(
            "--service needs a systemd of your own, as a login gives to all but root; leave it out,"
            " and use edge-voice run"
        )
    if args.service is None and asks and possible:
        there = user_service.unit_file().exists()
        return ask_whether("Start it with systemd, as your own service", default=there)
    return bool(args.service)


def _faults(file: Path, data: bytes, answers: SetupAnswers, *, asks: bool) -> list[Finding]:
    """What of the broker and the microphone does not work."""
    from edge.doctor.examination import faults
    from edge.installation.configuration import as_answered

    if asks:
        say("Trying the broker and the microphone...")
    with as_answered(file, data, answers) as config:
        return list(faults(config))


def _line(fault: Finding) -> str:
    return f"{label(fault.name)}: {fault.found}; {fault.remedy}"


def _asked(
    args: argparse.Namespace, before: SetupAnswers, source: str | None, *, asks: bool
) -> SetupAnswers:
    """The answers; `source` is what is listened to in place of a microphone."""
    from edge.audio.wyoming import SCHEME
    from edge.installation.configuration import broker, checked, id_of

    def answer(option: str | None, question: str, default: str, read: Callable[[str], _T]) -> _T:
        """From the option, else asked, else the default."""
        if option is None and asks:
            return ask(question, default, read)
        return read(default if option is None else option)

    def whether(option: bool | None, question: str, default: bool) -> bool:
        if option is None and asks:
            return ask_whether(question, default=default)
        return default if option is None else option

    name = answer(args.name, "Name of this device", before.name, partial(checked, "device.name"))
    new_id = args.id or (before.device_id if name == before.name else id_of(name))
    before = replace(before, name=name, device_id=checked("device.id", new_id))
    if source is None:
        microphone = _microphone(args.microphone, before.microphone, asks=asks)
        before = replace(before, microphone=microphone)
    elif args.microphone is not None:
        raise InputError("--microphone has no effect with audio.source; remove that setting first")
    elif asks:
        what = "Wyoming satellite" if source.startswith(SCHEME) else "program"
        say(f"  A {what} is listened to, not a microphone of this machine (audio.source).")

    host, port = answer(args.broker, "MQTT broker, HOST or HOST:PORT", before.broker, broker)
    user = before.username or _NONE
    check_user = partial(checked, "mqtt.username")
    user = answer(args.user, f"MQTT user name, or {_NONE}", user, check_user)
    username = None if user == _NONE else user
    password = None
    if args.password_file is not None:
        if username is None:
            raise InputError("--password-file needs --user")
        password = secret_line(args.password_file, "password", alone=True)
    elif asks and username is not None:
        password = ask_secret("MQTT password (not shown; Enter keeps the current one)")

    tls = whether(args.tls, "Encrypt the connection (TLS)", before.tls)
    if args.ca_file is not None and not tls:
        raise InputError("--ca-file has no effect without TLS; add --tls")
    ca_file = None
    if tls:
        default = _NONE if before.ca_file is None else str(before.ca_file)
        question = f"CA file for the broker's certificate, or {_NONE} for the system's"
        ca_file = answer(args.ca_file, question, default, _authority)
    return replace(
        before,
        host=host,
        port=port,
        username=username,
        password=password,
        tls=tls,
        ca_file=ca_file,
        discovery=whether(
            args.discovery, "Announce the device to Home Assistant", before.discovery
        ),
        signing=whether(args.signing, "Sign decisions, for a lock to verify", before.signing),
    )


def _preset(text: str) -> str:
    if text not in ("door", "home"):
        raise InputError("answer door or home")
    return text


def _authority(text: str) -> Path | None:
    from edge.config.values import ValueProblem, expand
    from edge.installation.configuration import check_authority

    if text == _NONE:
        return None
    try:
        file = expand(text).absolute()
    except ValueProblem as error:
        raise InputError(str(error)) from None
    check_authority(file)
    return file


def _microphone(option: str | None, before: int | str | None, *, asks: bool) -> int | str | None:
    """By part of its name, which stays the same when other devices are plugged in."""
    from edge.audio.devices import choose, lasting_name, list_devices
    from edge.installation.configuration import checked

    default = _DEFAULT if before is None else str(before)
    if option is None:
        devices = _devices() if asks else []
    elif option == _DEFAULT:
        return None
    else:
        checked("audio.device", option)
        devices = list_devices()
        choose(devices, option)  # one that is not there is a mistake

    def read(text: str) -> int | str | None:
        if text == _DEFAULT:
            return None
        for device in devices:
            if text == str(device.index):
                return lasting_name(device, devices)
        if devices and text.isdecimal():
            raise InputError("no microphone has that number")
        value: int | str = checked("audio.device", int(text) if text.isdecimal() else text)
        if devices and text != default:
            try:
                choose(devices, value)
            except MicrophoneError as error:
                raise InputError(str(error)) from None
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
        say("  No microphone yet; the service waits for one.")
    return devices


def _as_json(done: Written, answers: SetupAnswers, state: str) -> dict[str, Any]:
    return {
        "file": str(done.file),
        "changed": done.changed,
        "written": [str(path) for path in done.written],
        "backups": [str(path) for path in done.backups],
        "device": {"id": answers.device_id, "name": answers.name},
        "microphone": answers.microphone,
        "broker": answers.broker,
        "user": answers.username,
        "tls": answers.tls,
        "discovery": answers.discovery,
        "public_key": done.public_key,
        "service": state,
    }


def _show(done: Written, answers: SetupAnswers, state: str, *, sudo: str, named: str) -> None:
    """Show what was done and what comes next; `named` is the option that names the file."""
    show(f"{done.file}: {'written' if done.changed else 'unchanged'}")
    for path in done.written:
        if path != done.file:
            show(f"{path}: written")
    for path in done.backups:
        show(f"{path}: backup of the old file")
    if done.public_key is not None:
        show(f"Decisions are signed; the public key for a lock is {done.public_key}")
    if state == "started":
        when = "with the machine" if sudo else "when you log in (always: loginctl enable-linger)"
        show(f"The service is running, and starts {when}.")
    elif state == "not started":
        show(f"The service was not started; to listen from this terminal: edge-voice run{named}")
    show(f"If something is wrong: {sudo}edge-voice doctor{named}")
    show(f"Next, enroll someone for {answers.name}: {sudo}edge-voice enroll NAME{named}")
