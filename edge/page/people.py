"""The people: who they are, what they may open, and all that can be done with a profile."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import quote

from starlette.responses import Response
from starlette.routing import BaseRoute

from edge.access.checks import allows
from edge.access.clock import door_clock
from edge.crypto.keys import check_passphrase
from edge.errors import EdgeVoiceError, InputError, ProfileError
from edge.page import words
from edge.page.visits import Pages, Visit, refuse_duress
from edge.recognition.adaptation import drift_of
from edge.store import require_passphrase
from edge.store.transfer import sealed_person
from edge.types import EventKind, Profile, ProfileKind, ProfileStatus
from edge.types.access import (
    MAX_DOORS,
    MAX_WINDOWS,
    MOST_AUDITED,
    AccessRule,
    format_window,
    parse_day,
    parse_window,
)


@dataclass(frozen=True)
class _Question:
    """What is asked before something that cannot be undone.

    Attributes:
        text: with the person's name for {}; `button` is the answer.
    """

    title: str
    text: str
    button: str


_QUESTIONS = {
    "delete": _Question(
        "Delete {}?",
        "The voice, the passphrase and the rule of {} are deleted from this device for good. The"
        " history keeps what happened, without the name.",
        "Delete {}",
    ),
    "reset": _Question(
        "Delete the voice of {}?",
        "{} stays in the list with name and rule, but opens nothing until enrolled again.",
        "Delete the voice",
    ),
    "revert": _Question(
        "Forget what was learned?",
        "What was learned of {} since enrolling is deleted; what was enrolled stays.",
        "Forget it",
    ),
}


def routes(pages: Pages) -> list[BaseRoute]:
    """What this part serves."""
    one = "/people/{person}"
    return [
        pages.page("/people", _list),
        pages.page(one, _show),
        pages.action(f"{one}/rename", _rename),
        pages.action(f"{one}/rule", _set_rule),
        pages.action(f"{one}/enable", lambda visit: _enable(visit, enabled=True)),
        pages.action(f"{one}/disable", lambda visit: _enable(visit, enabled=False)),
        pages.action(f"{one}/export", _export),
        *(pages.page(f"{one}/{what}", _asking(what)) for what in _QUESTIONS),
        pages.action(f"{one}/confirm", _confirm),
        pages.action(f"{one}/delete", _delete),
        pages.action(
            f"{one}/reset",
            lambda visit: _changed(
                visit,
                visit.context.store.reset,
                "reset",
                "The voice of {} is deleted. Enroll again to open.",
            ),
        ),
        pages.action(
            f"{one}/revert",
            lambda visit: _changed(
                visit,
                visit.context.store.forget_adaptation,
                "reverted",
                "What was learned of {} is forgotten.",
            ),
        ),
    ]


def _list(visit: Visit) -> Response:
    now = door_clock(visit.context.state, visit.context.config.access).now()
    shown = [
        {
            "profile": profile,
            "remaining": words.remaining(profile),
            "rule": _allowed(profile),
            "state": _state(visit, profile, now),
        }
        for profile in sorted(visit.people(), key=lambda each: each.name.casefold())
    ]
    return visit.show("people.html", "People", people=shown)


def _show(visit: Visit) -> Response:
    return _person(visit, visit.person())


def _person(
    visit: Visit, profile: Profile, error: str = "", form: dict[str, Any] | None = None
) -> Response:
    now = door_clock(visit.context.state, visit.context.config.access).now()
    adapted = profile.adapted
    return visit.show(
        "person.html",
        profile.name,
        status=400 if error else 200,
        error=error,
        profile=profile,
        by_phrase=profile.kind is ProfileKind.PHRASE,
        state_now=_state(visit, profile, now),
        unconfirmed=profile.status is ProfileStatus.UNCONFIRMED,
        remaining=words.remaining(profile),
        rule=_allowed(profile),
        form=form or _form_of(profile.rule),
        drift=drift_of(profile),
        learned_at=max((sample.created_at for sample in adapted), default=None),
        adapts=visit.context.config.enrollment.adapt,
        most_adapted=visit.context.config.enrollment.adapt_samples,
        door=visit.context.config.device.id,
    )


def _state(visit: Visit, profile: Profile, now: datetime | None) -> tuple[str, str]:
    """What a person can do just now: a word for the style, and the words."""
    config = visit.context.config
    if profile.kind is ProfileKind.VOICE:
        done = profile.status is ProfileStatus.ENROLLED
        return "off", f"voice only, opens nothing{'' if done else '; not complete'}"
    if not profile.rule.enabled:
        return "off", "switched off"
    if profile.status is ProfileStatus.UNCONFIRMED:
        return "wait", "waits for you to confirm who spoke"
    if profile.status is not ProfileStatus.ENROLLED:
        return "wait", f"not complete: {words.remaining(profile)} needed"
    allow = config.access.unknown_time == "allow"
    reason = allows(profile.rule, config.device.id, now, without_time=allow)
    if reason is None:
        return "good", "may open now"
    unknown = profile.rule.timed and now is None
    why = {"not_here": "another door"}.get(reason.value, "another time")
    return "wait", f"not now: {'the time is not known' if unknown else why}"


def _allowed(profile: Profile) -> str:
    """The rule in words, also of somebody who is switched off."""
    if profile.kind is ProfileKind.VOICE:
        return "no door"
    return replace(profile.rule, enabled=True).in_words()


def _rename(visit: Visit) -> Response:
    profile = visit.person()
    name = visit.field("name")
    try:
        refuse_duress(name)
        renamed = visit.context.store.rename(profile.id, name)
    except ProfileError as error:
        return _person(visit, profile, words.sentence(str(error)))
    visit.record(EventKind.CHANGE, profile.id, what="renamed")
    return visit.go(_path(profile), f"{profile.name} is now {renamed.name}.")


def _set_rule(visit: Visit) -> Response:
    profile = visit.person()
    form = {
        "doors": visit.field("doors"),
        "hours": visit.field("hours"),
        "first": visit.field("first"),
        "last": visit.field("last"),
        "challenge": bool(visit.field("challenge")),
    }
    try:
        rule = _rule_in(form, profile.rule)
    except ValueError as error:
        return _person(visit, profile, words.sentence(str(error)), form)
    return _with_rule(visit, profile, rule, f"{profile.name}: {rule.in_words()}.")


def _rule_in(form: dict[str, Any], former: AccessRule) -> AccessRule:
    """The rule in a form. Raises `ValueError`, which says what is wrong."""
    doors = [door.strip() for door in form["doors"].split(",", MAX_DOORS + 1) if door.strip()]
    lines = form["hours"].splitlines()[: MAX_WINDOWS + 1]
    return replace(
        former,
        doors=tuple(dict.fromkeys(doors)),
        windows=tuple(dict.fromkeys(parse_window(line) for line in lines if line.strip())),
        first_day=parse_day(form["first"]) if form["first"] else None,
        last_day=parse_day(form["last"]) if form["last"] else None,
        challenge=form["challenge"],
    )


def _form_of(rule: AccessRule) -> dict[str, Any]:
    return {
        "doors": ", ".join(rule.doors),
        "hours": "\n".join(format_window(window) for window in rule.windows),
        "first": rule.first_day.isoformat() if rule.first_day else "",
        "last": rule.last_day.isoformat() if rule.last_day else "",
        "challenge": rule.challenge,
    }


def _enable(visit: Visit, *, enabled: bool) -> Response:
    profile = visit.person()
    rule = replace(profile.rule, enabled=enabled)
    can = "can open again, as the rule says" if enabled else "can no longer open"
    return _with_rule(visit, profile, rule, f"{profile.name} {can}.")


def _with_rule(visit: Visit, profile: Profile, rule: AccessRule, notice: str) -> Response:
    require_passphrase(profile)
    visit.context.store.set_rule(profile.id, rule)
    visit.record(
        EventKind.CHANGE,
        profile.id,
        what="access",
        enabled=rule.enabled,
        rule=rule.in_words()[:MOST_AUDITED],
    )
    return visit.go(_path(profile), notice)


def _asking(what: str) -> Callable[[Visit], Response]:
    question = _QUESTIONS[what]

    def view(visit: Visit) -> Response:
        profile = visit.person()
        return visit.show(
            "question.html",
            question.title.format(profile.name),
            text=question.text.format(profile.name),
            button=question.button.format(profile.name),
            action=f"{_path(profile)}/{what}",
            back=_path(profile),
        )

    return view


def _confirm(visit: Visit) -> Response:
    profile = visit.person()
    if profile.status is not ProfileStatus.UNCONFIRMED:
        raise InputError(f"{profile.name} is not waiting to be confirmed")
    visit.context.store.confirm(profile.id)
    visit.record(EventKind.CHANGE, profile.id, what="confirmed")
    return visit.go(_path(profile), f"{profile.name} is confirmed and may open.")


def _delete(visit: Visit) -> Response:
    profile = visit.person()
    visit.context.store.delete(profile.id)
    visit.record(EventKind.DELETION, profile.id)
    return visit.go("/people", f"{profile.name} is deleted.")


def _changed(visit: Visit, change: Callable[[str], Profile], what: str, notice: str) -> Response:
    profile = visit.person()
    change(profile.id)
    visit.record(EventKind.CHANGE, profile.id, what=what)
    return visit.go(_path(profile), notice.format(profile.name))


def _export(visit: Visit) -> Response:
    profile = visit.person()
    passphrase = str(visit.form.get("passphrase", ""))
    try:
        if passphrase != str(visit.form.get("again", "")):
            raise InputError("the two passphrases differ: type the same one twice")
        check_passphrase(passphrase)
    except EdgeVoiceError as error:
        return _person(visit, profile, words.sentence(str(error)))
    content = sealed_person(visit.context.store.export(profile.id), passphrase)
    visit.record(EventKind.EXPORT, profile.id)
    name = quote(f"{profile.name} {time.strftime('%Y-%m-%d')}.evp", safe="")
    return Response(
        content,
        media_type="application/octet-stream",
        headers={"content-disposition": f"attachment; filename*=utf-8''{name}"},
    )


def _path(profile: Profile) -> str:
    return f"/people/{profile.id}"
