"""`edge-voice access`: who may open which door, and when."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Any, TypeVar

from edge.cli import options
from edge.cli.auditing import audited
from edge.cli.output import show, show_json
from edge.errors import EXIT_OK, InputError, ProfileError

if TYPE_CHECKING:
    from datetime import datetime

    from edge.access.clock import DoorClock
    from edge.config import Config
    from edge.store import ProfileStore
    from edge.types import AccessRule, Profile, Window

NAME = "access"
HELP = "show or set who may open which door, and when"

_ANY = ("any", "all", "always")
_Value = TypeVar("_Value")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the actions and what each takes."""
    parser.description = (
        "Shows or sets who may open which door, and when. Whoever has no rule may open every door"
        " at all times. A running service goes by a new rule at once."
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, help_text, perform in (
        ("show", "show the rule of one person, or of everybody", _show),
        ("set", "change what is given of a person's rule", _set),
        ("enable", "let a person open again", _enable),
        ("disable", "let a person open nothing; the signature stays", _disable),
        ("clear", "take a person's rule away: every door, always", _clear),
        ("clock", "show what time the device takes it to be, or accept its clock", _clock),
    ):
        action = actions.add_parser(name, help=help_text, description=help_text)
        if name == "show":
            action.add_argument("profile", metavar="NAME", nargs="?", help="whose; else everybody")
        elif name != "clock":
            action.add_argument("profile", metavar="NAME", help="the profile's name or id")
        if name == "set":
            _add_rule(action)
        if name == "clock":
            action.add_argument(
                "--accept",
                action="store_true",
                help="believe the clock although it was later before, since that was wrong",
            )
        options.add_common(action)
        action.set_defaults(perform=perform)


def _add_rule(action: argparse.ArgumentParser) -> None:
    action.add_argument(
        "--hours",
        metavar="HOURS",
        action="append",
        help="when: days, hours or both, such as 'mon-fri 07:00-18:00' or 'sat,sun'; hours that end"
        " before they begin end on the next day; again for more of them; 'always' for no limit",
    )
    action.add_argument(
        "--doors", metavar="ID,ID,...", help="which devices (device.id); 'all' for every one"
    )
    action.add_argument(
        "--from", dest="first", metavar="DATE", help="first day, as 2027-01-31; 'any' for no limit"
    )
    action.add_argument(
        "--until", dest="last", metavar="DATE", help="last day, which ends at midnight; or 'any'"
    )
    action.add_argument(
        "--challenge",
        action=argparse.BooleanOptionalAction,
        help="whether to ask for digits after the passphrase",
    )


def run(args: argparse.Namespace) -> int:
    """Perform the action."""
    code: int = args.perform(args)
    return code


def _show(args: argparse.Namespace) -> int:
    config = options.config_of(args)
    with options.store_of(args) as store:
        profiles = store.list() if args.profile is None else [_person(store, args.profile)]
    now = _time_of(config)
    people = [profile for profile in profiles if profile.duress_of is None]
    if args.json:
        content = [_as_dict(profile, config, now) for profile in people]
        show_json({"access": content} if args.profile is None else content[0])
    elif not people:
        show("Nobody is enrolled yet: run 'edge-voice enroll NAME'.")
    for profile in people if not args.json else ():
        show(f"{profile.name}: {_in_words(profile.rule)}; {_verdict(profile, config, now)}")
    return EXIT_OK


def _set(args: argparse.Namespace) -> int:
    from edge.types import parse_day

    changes: dict[str, Any] = {}
    if args.hours is not None:
        changes["windows"] = _windows(args.hours)
    if args.doors is not None:
        changes["doors"] = _doors(args.doors)
    if args.first is not None:
        changes["first_day"] = _unless_any(args.first, parse_day)
    if args.last is not None:
        changes["last_day"] = _unless_any(args.last, parse_day)
    if args.challenge is not None:
        changes["challenge"] = args.challenge
    if not changes:
        raise InputError("nothing to set: give --hours, --doors, --from, --until or --challenge")
    return _change(args, lambda rule: _replaced(rule, changes))


def _enable(args: argparse.Namespace) -> int:
    return _change(args, lambda rule: replace(rule, enabled=True))


def _disable(args: argparse.Namespace) -> int:
    return _change(args, lambda rule: replace(rule, enabled=False))


def _clear(args: argparse.Namespace) -> int:
    from edge.types import EVERYTHING

    return _change(args, lambda _: EVERYTHING)


def _change(args: argparse.Namespace, change: Callable[[AccessRule], AccessRule]) -> int:
    config = options.config_of(args)
    with options.store_of(args) as store:
        person = _person(store, args.profile)
        profile = store.set_rule(person.id, change(person.rule))
        audited(store, config)("change", person.id, what="access", enabled=profile.rule.enabled)
    now = _time_of(config)
    if args.json:
        show_json(_as_dict(profile, config, now))
    else:
        show(f"{profile.name}: {_in_words(profile.rule)}; {_verdict(profile, config, now)}")
    return EXIT_OK


def _clock(args: argparse.Namespace) -> int:
    from edge.access.clock import accept_clock, latest_of
    from edge.store.device_state import DeviceState

    config = options.config_of(args)
    state = DeviceState(config.state_path)
    try:
        if args.accept:
            accept_clock(state, time.time())
        clock, latest_s = _door_clock(config, state), latest_of(state)
        now = clock.now()
    finally:
        state.close()
    local = clock.local(time.time())
    latest = None if latest_s is None else clock.local(latest_s)
    if args.json:
        show_json(
            {
                "now": local.isoformat(timespec="seconds"),
                "latest": None if latest is None else latest.isoformat(timespec="seconds"),
                "believed": now is not None,
            }
        )
        return EXIT_OK
    show(f"{_clock_words(local)} by the clock of this device")
    if now is None and latest is not None:
        show(
            f"It is not believed, since it has been {_clock_words(latest)}: whoever has hours or"
            " dates is not let in. Set the clock, or add --accept if it was that which was wrong."
        )
    return EXIT_OK


def _person(store: ProfileStore, name: str) -> Profile:
    profile = store.get(name)
    if profile.duress_of is not None:
        owner = store.get(profile.duress_of)
        raise ProfileError(f"{profile.name} goes by the rule of {owner.name}: give that name")
    return profile


def _replaced(rule: AccessRule, changes: dict[str, Any]) -> AccessRule:
    try:
        return replace(rule, **changes)
    except ValueError as error:
        raise InputError(str(error)) from None


def _windows(texts: list[str]) -> tuple[Window, ...]:
    from edge.types import parse_window

    if [text.strip().lower() in _ANY for text in texts] == [True]:
        return ()
    try:
        return tuple(dict.fromkeys(parse_window(text) for text in texts))
    except ValueError as error:
        raise InputError(f"--hours: {error}") from None


def _doors(text: str) -> tuple[str, ...]:
    if text.strip().lower() in _ANY:
        return ()
    doors = tuple(dict.fromkeys(door.strip() for door in text.split(",") if door.strip()))
    if not doors:
        raise InputError("--doors: name at least one device, or 'all'")
    return doors


def _unless_any(text: str, parse: Callable[[str], _Value]) -> _Value | None:
    if text.strip().lower() in _ANY:
        return None
    try:
        return parse(text.strip())
    except ValueError as error:
        raise InputError(str(error)) from None


def _door_clock(config: Config, state: Any) -> DoorClock:
    from edge.access.clock import DoorClock

    return DoorClock(state, config.access.time_zone)


def _time_of(config: Config) -> datetime | None:
    from edge.store.device_state import DeviceState

    state = DeviceState(config.state_path)
    try:
        return _door_clock(config, state).now()
    finally:
        state.close()


def _as_dict(profile: Profile, config: Config, now: datetime | None) -> dict[str, Any]:
    from edge.access.guard import allows

    reason = allows(profile.rule, config.device.id, now)
    return {
        "profile": {"id": profile.id, "name": profile.name},
        "rule": profile.rule.as_dict(),
        "device": config.device.id,
        "allowed_now": reason is None,
        "reason": None if reason is None else reason.value,
    }


def _in_words(rule: AccessRule) -> str:
    from edge.types import format_window

    parts = [
        f"doors {', '.join(rule.doors)}" if rule.doors else "every door",
        " and ".join(format_window(window) for window in rule.windows) or "always",
    ]
    if rule.first_day is not None:
        parts.append(f"from {_day_words(rule.first_day)}")
    if rule.last_day is not None:
        parts.append(f"until the end of {_day_words(rule.last_day)}")
    if rule.challenge:
        parts.append("with digits")
    words = ", ".join(parts)
    return words if rule.enabled else f"disabled ({words})"


def _verdict(profile: Profile, config: Config, now: datetime | None) -> str:
    from edge.access.guard import allows

    reason = allows(profile.rule, config.device.id, now)
    if reason is None:
        return f"{config.device.id} may be opened now"
    clock = " (the clock is not believed)" if profile.rule.timed and now is None else ""
    return f"{config.device.id} may not be opened now: {reason.value}{clock}"


def _day_words(day: date) -> str:
    return day.isoformat()


def _clock_words(local: datetime) -> str:
    return local.strftime("%a %Y-%m-%d %H:%M %Z")
