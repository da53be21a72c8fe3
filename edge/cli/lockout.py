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
        ("show", "show what is locked out, the door or HTTP, and for how long", _show),
        ("lift", "end it and forget the rejections, at the door and over HTTP", _lift),
    )


run = options.perform


def _show(args: argparse.Namespace) -> int:
    from edge.access.lockout import as_shown, lockout_key, stored_record
    from edge.web.attempts import STATE_KEY as HTTP_KEY

    config = options.config_of(args)
    with options.device_state(config) as state:
        record, over_http = stored_record(state), stored_record(state, HTTP_KEY)
        further = {door: stored_record(state, lockout_key(door)) for door in config.microphones}
    content = as_shown(record, config.lockout)
    http = as_shown(over_http, config.lockout)
    content["http"] = {name: http[name] for name in ("locked_out", "left_s")}
    doors = {door: as_shown(each, config.lockout) for door, each in further.items()}
    if doors:
        content["doors"] = doors
    settings = config.lockout
    if not settings.enabled:
        words = "Lock-outs are disabled (lockout.enabled is off)."
    elif content["locked_out"]:
        words = f"Locked out for {record.left_s:.0f} s more (round {record.round})."
    else:
        limit = f"{settings.rejections} rejections in the last {settings.within_s:.0f} s"
        budget = f"{content['budget_used']} of the budget of {settings.budget} used"
        words = f"Not locked out; {content['rejections']} of {limit}; {budget}."
    if doors and settings.enabled:
        words = f"{config.device.id}: {words}"
    for door, shown in doors.items():
        if shown["locked_out"]:
            words += f"\n{door}: locked out for {shown['left_s']:.0f} s more."
        elif settings.enabled:
            words += f"\n{door}: not locked out; {shown['rejections']} recent rejections."
    if http["locked_out"]:
        words += f"\nOver HTTP: locked out for {over_http.left_s:.0f} s more."
    return show_result(args, content, words)


def _lift(args: argparse.Namespace) -> int:
    from edge.access.lockout import as_shown, lockout_keys, request_lift, stored_record
    from edge.web import attempts, callers

    config = options.config_of(args)
    doors = lockout_keys(config)
    with options.device_state(config) as state:
        locked = True  # a record that cannot be read would start with a lock-out
        with contextlib.suppress(StoreError):
            records = [stored_record(state, key) for key in (*doors, attempts.STATE_KEY)]
            locked = any(as_shown(each, config.lockout)["locked_out"] for each in records)
        by = f"command line ({_user()})"
        for key in doors:
            request_lift(state, by, key)
        for part in (attempts, callers):
            state.put(part.STATE_KEY, None)
            state.put(part.LIFT_KEY, by[:64])
    what = "Lock-out lifted" if locked else "Earlier rejections and wrong keys are forgotten"
    words = f"{what}; what is running follows within a second."
    return show_result(args, {"lifted": locked}, words)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name
        return "unknown"
