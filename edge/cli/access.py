"""`edge-voice access`: who may open which door, and when."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edge.cli import options
from edge.cli.output import NOBODY_ENROLLED, show_result
from edge.errors import InputError, ProfileError
from edge.types import EVERYTHING, AccessRule, Profile, ProfileKind, ProfileStatus, Window
from edge.types.access import MOST_AUDITED, parse_day, parse_window
from edge.types.decision import utc

if TYPE_CHECKING:
    from datetime import date, datetime

    from edge.config import Config
    from edge.store import ProfileStore

HELP = "show or set who may open which door, and when"

_ANY = ("any", "all", "always")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the actions and what each takes."""
    parser.description = (
        "Shows or sets who may open which door, and when. Anyone without a rule may open every"
        " door at any time; whoever is enrolled by voice alone opens none. A running service"
        " applies a new rule at once."
    )
    actions = options.add_actions(
        parser,
        ("show", "show one person's rule, or everyone's", _show),
        ("set", "change parts of a person's rule", _set),
        (
            "enable",
            "allow a person to open again",
            lambda args: _change(args, lambda rule: replace(rule, enabled=True)),
        ),
        (
            "disable",
            "forbid a person to open anything; the signature stays",
            lambda args: _change(args, lambda rule: replace(rule, enabled=False)),
        ),
        (
            "clear",
            "remove a person's rule: every door, always",
            lambda args: _change(args, lambda _: EVERYTHING),
        ),
        ("clock", "show the time the device goes by, or accept its clock", _clock),
    )
    for name, action in actions.items():
        if name == "show":
            action.add_argument(
                "profile", metavar="NAME", nargs="?", help="one person (default: everyone)"
            )
        elif name != "clock":
            action.add_argument("profile", metavar="NAME", help="the profile's name or id")
    actions["clock"].add_argument(
        "--accept",
        action="store_true",
        help="say that the clock is right: it is trusted until the machine starts again",
    )
    action = actions["set"]
    action.add_argument(
        "--hours",
        metavar="HOURS",
        action="append",
        help="days, hours or both, such as 'mon-fri 07:00-18:00' or 'sat,sun'; 22:00-06:00 ends on"
        " the next day; repeatable; 'always' for no limit",
    )
    action.add_argument(
        "--doors",
        metavar="ID,ID,...",
        help="devices (device.id, or a name of microphones); 'all' for every one",
    )
    action.add_argument(
        "--from", dest="first", metavar="DATE", help="first day, as 2027-01-31; 'any' for no limit"
    )
    action.add_argument(
        "--until", dest="last", metavar="DATE", help="last day, inclusive; 'any' for no limit"
    )
    action.add_argument(
        "--challenge",
        action=argparse.BooleanOptionalAction,
        help="whether to ask for digits after the passphrase",
    )


run = options.perform


def _show(args: argparse.Namespace) -> int:
    config = options.config_of(args)
    with options.store_of(args) as store:
        profiles = store.list() if args.profile is None else [_person(store, args.profile)]
    now = _time_of(config)
    people = [profile for profile in profiles if profile.duress_of is None]
    shown = [_described(profile, config, now) for profile in people]
    content = [value for value, _ in shown]
    lines = [line for _, line in shown] or [NOBODY_ENROLLED]
    return show_result(args, {"access": content} if args.profile is None else content[0], *lines)


def _set(args: argparse.Namespace) -> int:
    given = {
        "windows": None if args.hours is None else _windows(args.hours),
        "doors": None if args.doors is None else _doors(args.doors),
        "challenge": args.challenge,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    days = (("first_day", "--from", args.first), ("last_day", "--until", args.last))
    for name, option, text in days:
        if text is not None:
            changes[name] = _day(option, text)
    if not changes:
        raise InputError("nothing to set: use --hours, --doors, --from, --until or --challenge")
    return _change(args, lambda rule: _replaced(rule, changes))


def _change(args: argparse.Namespace, change: Callable[[AccessRule], AccessRule]) -> int:
    from edge.store import require_passphrase

    config = options.config_of(args)
    with options.store_of(args) as store:
        person = _person(store, args.profile)
        require_passphrase(person)
        profile = store.set_rule(person.id, change(person.rule))
        options.audit(
            store,
            config,
            "change",
            person.id,
            what="access",
            enabled=profile.rule.enabled,
            rule=profile.rule.in_words()[:MOST_AUDITED],
        )
    return show_result(args, *_described(profile, config, _time_of(config)))


def _clock(args: argparse.Namespace) -> int:
    from edge.access.clock import accept_clock, door_clock, latest_of

    config = options.config_of(args)
    with options.device_state(config) as state:
        if args.accept:
            accept_clock(state, time.time())
        clock, latest_s = door_clock(state, config.access), latest_of(state)
        now = clock.now()
    now_s = time.time()
    value = {
        "now": utc(now_s),
        "latest": None if latest_s is None else utc(latest_s),
        "trusted": now is not None,
        "problem": clock.problem,
    }
    lines = [f"{_clock_words(clock.local(now_s))} by this device's clock"]
    if clock.problem is not None:
        allow = config.access.unknown_time == "allow"
        lines.append(
            f"{clock.problem[:1].upper()}{clock.problem[1:]}. People with hours or dates"
            f" {'can open at any time' if allow else 'are denied'}. Set the clock, or add --accept"
            " if it is right."
        )
    return show_result(args, value, *lines)


def _person(store: ProfileStore, name: str) -> Profile:
    profile = store.get(name)
    if profile.duress_of is not None:
        owner = store.get(profile.duress_of)
        raise ProfileError(f"{profile.name} follows the rule of {owner.name}: use that name")
    return profile


def _replaced(rule: AccessRule, changes: dict[str, Any]) -> AccessRule:
    try:
        return replace(rule, **changes)
    except ValueError as error:
        raise InputError(str(error)) from None


def _windows(texts: list[str]) -> tuple[Window, ...]:
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


def _day(option: str, text: str) -> date | None:
    if text.strip().lower() in _ANY:
        return None
    try:
        return parse_day(text.strip())
    except ValueError as error:
        raise InputError(f"{option}: {error}") from None


def _time_of(config: Config) -> datetime | None:
    from edge.access.clock import door_clock

    with options.device_state(config) as state:
        return door_clock(state, config.access).now()


def _described(
    profile: Profile, config: Config, now: datetime | None
) -> tuple[dict[str, Any], str]:
    """A person's rule and whether it lets them in now, as JSON and as a line."""
    from edge.access.checks import allows
    from edge.config import door_ids

    if profile.kind is ProfileKind.VOICE:
        # Whatever the rule says, as of a profile from an earlier version.
        value = {
            "profile": {"id": profile.id, "name": profile.name},
            "rule": profile.rule.as_dict(),
            "device": config.device.id,
            "allowed_now": False,
            "reason": "voice_only",
        }
        return (
            value,
            f"{profile.name}: opens nothing: enrolled by voice alone, without a passphrase",
        )
    allow = config.access.unknown_time == "allow"
    doors = door_ids(config)
    reasons = {door: allows(profile.rule, door, now, without_time=allow) for door in doors}
    reason = reasons[config.device.id]
    value = {
        "profile": {"id": profile.id, "name": profile.name},
        "rule": profile.rule.as_dict(),
        "device": config.device.id,
        "allowed_now": reason is None,
        "reason": None if reason is None else reason.value,
    }
    if len(doors) > 1:
        value["doors"] = {door: each and each.value for door, each in reasons.items()}
    opened = [door for door in doors if reasons[door] is None]
    verdict = f"may open {', '.join(opened)} now"
    if not opened or len(opened) < len(doors):
        clock = " (the clock is not trusted)" if profile.rule.timed and now is None else ""
        shut = [f"{door} now: {each.value}{clock}" for door, each in reasons.items() if each]
        verdict = "; ".join([verdict] * bool(opened) + [f"may not open {each}" for each in shut])
        unknown = [door for door in profile.rule.doors if door not in doors]
        if len(doors) > 1 and unknown:
            verdict += f"; no microphone here is called {', '.join(unknown)}"
    if opened and profile.status is not ProfileStatus.ENROLLED:
        waits = profile.status is ProfileStatus.UNCONFIRMED
        value.update(allowed_now=False, reason="unconfirmed" if waits else "not_enrolled")
        verdict = f"cannot open yet: the enrollment is not {'confirmed' if waits else 'complete'}"
    return value, f"{profile.name}: {profile.rule.in_words()}; {verdict}"


def _clock_words(local: datetime) -> str:
    return local.strftime("%a %Y-%m-%d %H:%M %Z")
