"""`edge-voice lockout`: the lock-out after too many rejections, and its end."""

from __future__ import annotations

import argparse
import contextlib
import getpass

from edge.cli import options
from edge.cli.output import show_result
from edge.errors import StoreError

HELP = "show or lift the lock-out after too many rejections"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the actions."""
    options.add_actions(
        parser,
        ("show", "show whether the device is locked out, and for how long", _show),
        ("lift", "end it and forget the rejections, at the door and over HTTP", _lift),
    )


run = options.perform


def _show(args: argparse.Namespace) -> int:
    from edge.access.lockout import as_shown, stored_record

    config = options.config_of(args)
    with options.device_state(config) as state:
        record = stored_record(state)
    content = as_shown(record, config.lockout)
    settings = config.lockout
    if not settings.enabled:
        words = "Lock-outs are disabled (lockout.enabled is off)."
    elif content["locked_out"]:
        words = f"Locked out for {record.left_s:.0f} s more (round {record.round})."
    else:
        limit = f"{settings.rejections} rejections in the last {settings.within_s:.0f} s"
        budget = f"{content['budget_used']} of the budget of {settings.budget} used"
        words = f"Not locked out; {content['rejections']} of {limit}; {budget}."
    return show_result(args, content, words)


def _lift(args: argparse.Namespace) -> int:
    from edge.access.lockout import as_shown, request_lift, stored_record
    from edge.web import attempts, callers

    config = options.config_of(args)
    with options.device_state(config) as state:
        locked = True  # a record that cannot be read would start with a lock-out
        with contextlib.suppress(StoreError):
            record = stored_record(state)
            locked = bool(as_shown(record, config.lockout)["locked_out"])
        by = f"command line ({_user()})"
        request_lift(state, by)
        for part in (attempts, callers):
            state.put(part.STATE_KEY, None)
            state.put(part.LIFT_KEY, by[:64])
    words = "Not locked out; earlier rejections are forgotten."
    if locked:
        words = "Lock-out lifted; a running service follows within a second."
    return show_result(args, {"lifted": locked}, words)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name
        return "unknown"
