"""`edge-voice lockout`: whether nobody is let in after too many rejections, and its end."""

from __future__ import annotations

import argparse
import contextlib
import getpass
import time
from typing import TYPE_CHECKING, Any

from edge.cli import options
from edge.cli.output import show, show_json
from edge.errors import EXIT_OK, StoreError

if TYPE_CHECKING:
    from edge.access.lockout import LockOutRecord
    from edge.config import Config
    from edge.store.device_state import DeviceState

NAME = "lockout"
HELP = "show or lift the lock-out that follows too many rejections"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the actions."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, help_text, perform in (
        ("show", "show whether nobody is let in, and for how long", _show),
        ("lift", "let people in again, and forget the rejections", _lift),
    ):
        action = actions.add_parser(name, help=help_text, description=help_text)
        options.add_common(action)
        action.set_defaults(perform=perform)


def run(args: argparse.Namespace) -> int:
    """Perform the action."""
    code: int = args.perform(args)
    return code


def _show(args: argparse.Namespace) -> int:
    config, state = _opened(args)
    try:
        record = _record(state)
    finally:
        state.close()
    content = _as_dict(record, config)
    if args.json:
        show_json(content)
    elif not config.lockout.enabled:
        show("Nobody is ever locked out: lockout.enabled is off.")
    elif content["locked_out"]:
        show(f"Nobody is let in for {record.left_s:.0f} s more (round {record.round}).")
    else:
        limit = f"{config.lockout.rejections} within {config.lockout.within_s:.0f} s"
        show(f"People are let in; {content['rejections']} rejections so far, of {limit}.")
    return EXIT_OK


def _lift(args: argparse.Namespace) -> int:
    from edge.access.lockout import LIFT_KEY, STATE_KEY

    config, state = _opened(args)
    try:
        locked = True  # what cannot be read would begin with one
        with contextlib.suppress(StoreError):
            locked = bool(_as_dict(_record(state), config)["locked_out"])
        state.put(STATE_KEY, None)
        state.put(LIFT_KEY, f"command line ({_user()})"[:64])
    finally:
        state.close()
    if args.json:
        show_json({"lifted": locked})
    elif locked:
        show("People are let in again; a running service follows within a second.")
    else:
        show("Nobody was locked out; the rejections so far are forgotten.")
    return EXIT_OK


def _opened(args: argparse.Namespace) -> tuple[Config, DeviceState]:
    from edge.store.device_state import DeviceState

    config = options.config_of(args)
    return config, DeviceState(config.state_path)


def _record(state: DeviceState) -> LockOutRecord:
    from edge.access.lockout import STATE_KEY, boot_id, read_record

    try:
        return read_record(state.get(STATE_KEY), time.monotonic(), boot_id())
    except ValueError as error:
        raise StoreError(
            f"{state.path}: the lock-out in it cannot be read ({error}): run 'edge-voice lockout"
            " lift' to begin anew"
        ) from None


def _as_dict(record: LockOutRecord, config: Config) -> dict[str, Any]:
    settings = config.lockout
    recent = [age for age in record.ages_s if age < settings.within_s]
    locked = settings.enabled and record.left_s > 0.0
    return {
        "locked_out": locked,
        "left_s": round(record.left_s, 1) if locked else 0.0,
        "round": record.round if record.quiet_s < settings.forget_s else 0,
        "rejections": len(recent),
    }


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name
        return "unknown"
