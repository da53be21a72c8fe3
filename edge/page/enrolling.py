"""Enrolling from the page: at the door's own microphone, or at the browser's."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup
from starlette.datastructures import UploadFile
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from edge.enrollment import prompts
from edge.enrollment.checks import remarks_on
from edge.enrollment.process import Enrollment, EnrollmentRequest
from edge.enrollment.same_voice import others_with_voice
from edge.enrollment.trial import Trial, try_out
from edge.errors import EnrollmentRejected, InputError, ProfileError
from edge.monitor.client import NoService
from edge.page import plots, words
from edge.page.live import look
from edge.page.visits import Pages, Visit, refuse_duress
from edge.recognition import Engine
from edge.service.enrollment_requests import PURPOSE, RequestBox, Requested
from edge.store.names import clean_name, clean_phrase, name_key
from edge.types import EventKind, Profile, ProfileKind, ProfileStatus, Utterance
from edge.types.microphone import BROWSER
from edge.uptime import uptime
from edge.web.bodies import to_utterance

LONGEST_S = 20.0
"""Longest recording from a browser."""
_DOOR, _BROWSER = "/enroll/door", "/enroll/browser"
_GOES_ON = ("measuring", "room", "started", "accepted", "refused", "trying", "tried")
_VERDICTS = {"accepted": ("good", "taken"), "refused": ("bad", "not taken")}
_DONE = ("complete", "unconfirmed", "over")


@dataclass
class Plan:
    """What somebody who is signed in is about to enroll.

    Attributes:
        phrase: in writing; None to leave it as it is.
        request_id: of what was asked of the door; empty at the browser's microphone.
        verdicts: of the recordings from the browser, the latest last.
    """

    person: str
    phrase: str | None
    request_id: str = ""
    verdicts: list[Verdict] = field(default_factory=list)


@dataclass(frozen=True)
class Verdict:
    """What came of one utterance; `drawing` has the scores of a trial."""

    state: tuple[str, str]
    message: str
    drawing: Markup | None = None


def routes(pages: Pages) -> list[BaseRoute]:
    """What this part serves."""
    return [
        pages.page("/enroll", _ask),
        pages.action("/enroll", _choose),
        pages.page(_DOOR, _at_door),
        pages.action(_DOOR, _start),
        pages.action(f"{_DOOR}/cancel", _cancel),
        pages.page(_BROWSER, _at_browser),
        pages.action(_BROWSER, _recorded, recording=True),
    ]


def _ask(visit: Visit) -> Response:
    return _form(visit, {"name": visit.field("name"), "phrase": "", "where": "door"})


def _form(visit: Visit, form: Mapping[str, str], error: str = "") -> Response:
    return visit.show(
        "enroll.html",
        "Enroll",
        status=400 if error else 200,
        error=error,
        form=form,
        times=visit.context.config.enrollment.repetitions,
    )


def _choose(visit: Visit) -> Response:
    form = {name: visit.field(name) for name in ("name", "phrase", "where")}
    try:
        refuse_duress(form["name"])
        name = clean_name(form["name"])
        phrase = clean_phrase(form["phrase"]) or None
        existing = _person(visit, name)
        if existing is not None:
            name = existing.name
            _require_open(existing, phrase)
    except ProfileError as error:
        return _form(visit, form, words.sentence(str(error)))
    visit.session.plan = Plan(name, phrase)
    return _start(visit) if form["where"] == "door" else visit.go(_BROWSER)


def _person(visit: Visit, name: str) -> Profile | None:
    """Who has a name, if anybody."""
    wanted = name_key(name)
    return next((each for each in visit.people() if name_key(each.name) == wanted), None)


def _require_open(profile: Profile, phrase: str | None) -> None:
    """Raise `ProfileError` for somebody who cannot be enrolled as they are."""
    if profile.kind is not ProfileKind.PHRASE:
        raise ProfileError(f"{profile.name} is enrolled by voice alone: choose another name")
    if profile.status is ProfileStatus.UNCONFIRMED:
        raise ProfileError(
            f"{profile.name} is enrolled and waits for you: confirm it on their page"
        )
    if profile.remaining <= 0:
        raise ProfileError(
            f"{profile.name} is enrolled already: delete the voice first, or choose another name"
        )
    if phrase is not None and profile.samples and phrase != profile.phrase:
        raise ProfileError(
            f"{profile.name} was begun with another passphrase in writing: leave it empty to go on,"
            " or delete the voice first"
        )


# --- at the door ---


def _start(visit: Visit) -> Response:
    plan = _plan(visit)
    if plan is None:
        return visit.go("/enroll")
    plan.request_id = secrets.token_hex(8)
    _request(visit, Requested(plan.request_id, plan.person, plan.phrase, uptime()))
    existing = _person(visit, plan.person)
    visit.record(EventKind.COMMAND, existing.id if existing else None, what="enroll at the door")
    return visit.go(_DOOR)


def _request(visit: Visit, wanted: Requested) -> None:
    context = visit.context
    RequestBox(context.state, context.store.derive_key(PURPOSE)).put(wanted)


def _cancel(visit: Visit) -> Response:
    _request(visit, Requested(secrets.token_hex(8), "", None, uptime()))
    visit.record(EventKind.COMMAND, what="enrollment canceled")
    return visit.go(_DOOR)


def _at_door(visit: Visit) -> Response:
    plan = _plan(visit)
    error = ""
    steps: list[Mapping[str, Any]] = []
    try:
        steps = [each for each in look(visit.context.config) if each["type"] == "enrollment"]
    except NoService as fault:
        error = words.sentence(str(fault))
    asked = bool(plan and plan.request_id)
    if plan and asked and not any(each.get("request") == plan.request_id for each in steps):
        steps = []  # of an earlier enrollment
    latest = steps[-1] if steps else {}
    state = str(latest.get("state", ""))
    person = str(latest.get("person", "")) or (plan.person if plan else "")
    profile = _person(visit, person) if person else None
    waiting = asked and not steps and not error
    target = next((each["target_dbfs"] for each in steps if "target_dbfs" in each), (-39.0, -12.0))
    return visit.show(
        "enroll_door.html",
        f"Enroll {person}" if person else "Enroll at the door",
        error=error,
        person=person,
        profile=profile,
        going_on=state in _GOES_ON or waiting,
        done=state in _DONE,
        say=_instruction(latest, waiting=waiting),
        room=next((each for each in reversed(steps) if each.get("state") == "room"), None),
        verdicts=[_verdict(each) for each in steps if each.get("state") in _VERDICTS],
        trials=[_trial(each) for each in steps if each.get("state") == "tried"],
        unconfirmed=profile is not None and profile.status is ProfileStatus.UNCONFIRMED,
        target=target,
        whole=next((_message(each) for each in steps if each.get("state") == "unconfirmed"), ""),
        can_start=plan is not None and not error,
    )


def _instruction(step: Mapping[str, Any], *, waiting: bool) -> str:
    """What the person at the door has to do."""
    state = step.get("state")
    if waiting:
        return "Waiting for the door."
    if state == "tried" and not (step.get("trial") or {}).get("accepted"):
        return "Try again: say it as at the door."
    if state in ("over", "tried"):
        return "Done."
    return _message(step)


def _message(step: Mapping[str, Any]) -> str:
    """What the service says of a step, as a sentence."""
    return words.sentence(str(step.get("message", "")))


def _verdict(step: Mapping[str, Any]) -> Verdict:
    return Verdict(_VERDICTS[step["state"]], _message(step))


def _trial(step: Mapping[str, Any]) -> Verdict:
    trial = step.get("trial") or {}
    return _tried(
        bool(trial.get("accepted")),
        str(step.get("message", "")),
        words.number(trial.get("voice_margin")),
        words.number(trial.get("phrase_margin")),
    )


def _tried(accepted: bool, meaning: str, voice: float | None, phrase: float | None) -> Verdict:
    margins = [
        (name, margin)
        for name, margin in (("voice", voice), ("passphrase", phrase))
        if margin is not None
    ]
    state = ("good", "would open") if accepted else ("bad", "would not open")
    return Verdict(state, words.sentence(meaning), plots.bars(margins) if margins else None)


# --- at the browser's microphone ---


def _at_browser(visit: Visit, *, status: int = 200) -> Response:
    plan = _plan(visit)
    if plan is None:
        return RedirectResponse("/enroll", 303)
    profile = _person(visit, plan.person)
    done = int(profile.progress) if profile else 0
    times = int(profile.required) if profile else visit.context.config.enrollment.repetitions
    complete = profile is not None and profile.remaining <= 0
    if complete:
        say = "Enrolled. Now a trial: say it once more, as at the door."
    elif done:
        say = f"{done} of {times} taken. Say it again."
    else:
        say = f"Say the passphrase {times} times, one recording each."
    return visit.show(
        "enroll_browser.html",
        f"Enroll {plan.person}",
        status=status,
        person=plan.person,
        profile=profile,
        complete=complete,
        verdicts=plan.verdicts,
        say=say,
        longest_s=LONGEST_S,
    )


async def _recorded(visit: Visit) -> Response:
    plan = _plan(visit)
    upload = visit.form.get("recording")
    if plan is None:
        return visit.go("/enroll")
    if not isinstance(upload, UploadFile):
        raise InputError("there is no recording in the form: choose a file, or record one")
    data = await upload.read()
    verdict = await visit.context.recognizer.run(
        visit.session.key.id, lambda engine: _judge(visit, plan, engine, data)
    )
    plan.verdicts.append(verdict)
    return visit.go(_BROWSER)


def _judge(visit: Visit, plan: Plan, engine: Engine, data: bytes) -> Verdict:
    """Take a repetition, or try out what is complete; in the recognizer's thread."""
    profile = _person(visit, plan.person)
    try:
        utterance = to_utterance(data, LONGEST_S)
        if profile is not None and profile.remaining <= 0:
            return _try_out(visit, profile, engine, utterance)
        return _take(visit, plan, engine, utterance)
    except EnrollmentRejected as rejected:
        return Verdict(_VERDICTS["refused"], words.sentence(str(rejected)))
    except InputError as error:
        return Verdict(_VERDICTS["refused"], words.sentence(str(error)))


def _take(visit: Visit, plan: Plan, engine: Engine, utterance: Utterance) -> Verdict:
    context = visit.context
    wanted = EnrollmentRequest(plan.person, ProfileKind.PHRASE, plan.phrase)
    enrollment = Enrollment(context.store, wanted, context.config.enrollment, context.config.replay)
    enrollment.microphone = BROWSER
    enrollment.add(engine, utterance)
    plan.phrase = None  # it is stored, and need not be given again
    with contextlib.suppress(ProfileError):  # deleted this very moment
        enrollment.remember(context.config.replay)
    profile = enrollment.profile
    visit.record(
        EventKind.ENROLLMENT,
        profile.id,
        what="enrolled",
        complete=enrollment.complete,
        signature=profile.kind.value,
        microphone="browser",
    )
    said = prompts.accepted(profile)
    if enrollment.complete:
        card = engine.models.speaker.card
        others = [each.name for each in others_with_voice(profile, visit.people(), card)]
        also = f"; this voice is also that of {', '.join(others)}" if others else ""
        said = f"{prompts.complete(profile)}{also}"
    # Of a phrase that may be a part the prompt asks already.
    remarks = [each.text for each in remarks_on(utterance, profile.kind) if each.code != "part"]
    return Verdict(_VERDICTS["accepted"], " ".join(map(words.sentence, (said, *remarks))))


def _try_out(visit: Visit, profile: Profile, engine: Engine, utterance: Utterance) -> Verdict:
    context = visit.context
    trial: Trial = try_out(engine, context.store, context.config, profile, utterance)
    voice, phrase = trial.voice, trial.phrase
    return _tried(
        trial.accepted,
        trial.meaning,
        voice.margin if voice else None,
        phrase.margin if phrase else None,
    )


def _plan(visit: Visit) -> Plan | None:
    plan = visit.session.plan
    return plan if isinstance(plan, Plan) else None
