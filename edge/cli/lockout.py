"""`edge-voice lockout`: the lock-out after too many rejections, and its end."""

from __future__ import annotations

import argparse
import contextlib
import getpass
import math
import time
from typing import TYPE_CHECKING, Any

from edge.cli import options
from edge.cli.output import show_result
from edge.errors import StoreError

if TYPE_CHECKING:
    from edge.access.lockout import LockOutRecord
    from edge.config import Config
    from edge.store.device_state import DeviceState

_ROUNDING = 1e-6

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
    config = options.config_of(args)
    with options.device_state(config) as state:
        record = _record(state)
    content = _as_dict(record, config)
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
    from edge.access.lockout import LIFT_KEY, STATE_KEY
    from edge.web import attempts, callers

    config = options.config_of(args)
    with options.device_state(config) as state:
        locked = True  # a record that cannot be read would start with a lock-out
        with contextlib.suppress(StoreError):
            locked = bool(_as_dict(_record(state), config)["locked_out"])
        for key in (STATE_KEY, attempts.STATE_KEY, callers.STATE_KEY):
            state.put(key, None)
        for key in (LIFT_KEY, attempts.LIFT_KEY, callers.LIFT_KEY):
            state.put(key, f"command line ({_user()})"[:64])
    words = "Not locked out; earlier rejections are forgotten."
    if locked:
        words = "Lock-out lifted; a running service follows within a second."
    return show_result(args, {"lifted": locked}, words)


def _record(state: DeviceState) -> LockOutRecord:
    from edge.access.lockout import STATE_KEY, read_record
    from edge.uptime import boot_id

    try:
        return read_record(state.get(STATE_KEY), time.monotonic(), boot_id())
    except ValueError as error:
        raise StoreError(
            f"{state.path}: the lock-out record is damaged ({error}): reset it with 'edge-voice"
            " lockout lift'"
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
        "budget_used": math.ceil(record.debt_s * settings.budget / settings.budget_s - _ROUNDING),
    }


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name
        return "unknown"
