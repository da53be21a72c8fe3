"""The page: who may see it, what can be done on it, and what is refused."""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette")

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.testclient import TestClient

from edge.access.lockout import STATE_KEY, LockOutRecord, write_record
from edge.evaluation.results import SUMMARY_KEY
from edge.monitor.messages import enrollment_message, state_message
from edge.monitor.server import Address, History, MonitorServer
from edge.page.sessions import IDLE_S, LONGEST_S, BrowserSession, Sessions
from edge.page.visits import Pages, read_form
from edge.resources import demo_directory
from edge.service.enrollment_requests import PURPOSE, REQUEST_KEY, RequestBox, Requested
from edge.store.api_keys import ApiRole
from edge.store.transfer import read_person
from edge.types import AccessRule, Event, EventKind, Profile, ProfileKind, ProfileStatus, Window
from edge.uptime import boot_id, uptime
from edge.web.bodies import MOST_AUDIO_BYTES
from edge.web.context import WebContext
from tests.unit.stores import PHRASE_MODEL, SPEAKER_MODEL, enroll, learned, make_sample
from tests.unit.web import client_of, close_context, make_context

HOSTILE = "<script>alert(1)</script>\"'&{{7919*7927}}"
OWN = {"origin": "https://localhost"}
PAGES = ("/people", "/enroll", "/enroll/door", "/history", "/door", "/checks", "/keys")


class Owner:
    """Somebody who is signed in, with what a browser would send."""

    def __init__(self, context: WebContext, name: str = "Owner") -> None:
        self.context = context
        self.key = context.keys.new(name, ApiRole.MANAGE)
        self.client: TestClient = client_of(context)
        self.client.headers.update(OWN)
        self.answer = self.client.post("/sign-in", data={"key": self.key}, follow_redirects=False)

    @cached_property
    def token(self) -> str:
        found = re.search(r'name="token" value="([^"]+)"', self.client.get("/people").text)
        assert found is not None
        return found[1]

    @property
    def session(self) -> BrowserSession:
        """The session, found as the server finds it."""
        pages = next(
            cell.cell_contents
            for route in self.client.app.routes  # type: ignore[attr-defined]
            if getattr(route, "path", "") == "/events"
            for cell in route.endpoint.__closure__
            if isinstance(cell.cell_contents, Pages)
        )
        (session,) = pages.sessions._sessions.values()
        return session

    def get(self, path: str, status: int = 200) -> str:
        answer = self.client.get(path)
        assert answer.status_code == status, answer.text
        return str(answer.text)

    def post(self, path: str, status: int = 200, **fields: str) -> str:
        answer = self.client.post(path, data={"token": self.token, **fields})
        assert answer.status_code == status, answer.text
        return str(answer.text)

    def last(self) -> tuple[str, dict[str, Any], str | None]:
        """The latest entry of the audit trail: kind, detail, and whom it is about."""
        entry = self.context.trail.entries()[-1]
        return entry.kind, entry.details(), entry.profile_id


@pytest.fixture
def context(tmp_path: Path) -> Iterator[WebContext]:
    found = make_context(tmp_path, None)
    yield found
    close_context(found)


@pytest.fixture
def ada(context: WebContext) -> Profile:
    return context.store.get(enroll(context.store, "Ada", 1, 2, 3))


@pytest.fixture
def owner(context: WebContext, ada: Profile) -> Owner:
    return Owner(context)


def demo_recording(name: str) -> bytes:
    return (demo_directory() / f"{name}.flac").read_bytes()


def duress_of(context: WebContext, owner: Profile) -> Profile:
    return context.store.create(
        f"{owner.name} (duress)",
        ProfileKind.PHRASE,
        "help me",
        required=3,
        samples=[make_sample(n) for n in (7, 8, 9)],
        speaker_model=SPEAKER_MODEL,
        phrase_model=PHRASE_MODEL,
        duress_of=owner.id,
    )


# --- signing in and out ---


@pytest.mark.parametrize("path", [*PAGES, "/people/x", "/people/x/delete", "/enroll/browser"])
def test_nobody_sees_a_page_without_signing_in(context: WebContext, path: str) -> None:
    answer = client_of(context).get(path, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")


def test_nobody_changes_anything_or_follows_without_signing_in(
    context: WebContext, ada: Profile
) -> None:
    client = client_of(context)
    answer = client.post(f"/people/{ada.id}/delete", data={"token": "x"}, headers=OWN)
    assert answer.status_code == 403
    assert context.store.get(ada.id).name == "Ada"
    assert client.get("/events").status_code == 403


def test_a_key_of_the_role_manage_signs_in(owner: Owner) -> None:
    answer = owner.answer
    assert (answer.status_code, answer.headers["location"]) == (303, "/people")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-edge-voice=")
    assert set(cookie.split("; ")[1:]) == {"HttpOnly", "Path=/", "SameSite=strict", "Secure"}
    assert owner.key not in owner.get("/people")
    kind, detail, _ = owner.last()
    assert (kind, detail["by"], detail["key"]) == (
        "command",
        "page",
        owner.context.keys.list()[0].id,
    )


def test_over_plain_http_on_this_machine_the_cookie_has_a_plain_name(context: WebContext) -> None:
    key = context.keys.new("Owner", ApiRole.MANAGE)
    client = client_of(context)
    client.base_url = client.base_url.copy_with(scheme="http")
    answer = client.post(
        "/sign-in",
        data={"key": key},
        headers={"origin": "http://localhost"},
        follow_redirects=False,
    )
    assert answer.headers["set-cookie"].startswith("edge-voice=")
    assert "Secure" not in answer.headers["set-cookie"]


@pytest.mark.parametrize(
    ("role", "status", "told"),
    [
        (None, 401, "not a key of this device"),
        (ApiRole.VERIFY, 403, "may not manage"),
        (ApiRole.ENROLL, 403, "may not manage"),
    ],
)
def test_other_keys_do_not_sign_in(
    context: WebContext, role: ApiRole | None, status: int, told: str
) -> None:
    key = "0" * 32 if role is None else context.keys.new("Intercom", role)
    client = client_of(context)
    answer = client.post("/sign-in", data={"key": key}, headers=OWN)
    assert answer.status_code == status
    assert told in answer.text
    assert "set-cookie" not in answer.headers
    assert client.get("/people", follow_redirects=False).status_code == 303


def test_wrong_keys_are_slowed(context: WebContext) -> None:
    client = client_of(context)
    statuses = [
        client.post("/sign-in", data={"key": "0" * 32}, headers=OWN).status_code for _ in range(8)
    ]
    assert statuses[:3] == [401, 401, 401]
    assert statuses[-1] == 429


def test_a_cookie_is_worth_nothing_after_signing_out(owner: Owner) -> None:
    cookie = {"cookie": f"__Host-edge-voice={owner.client.cookies['__Host-edge-voice']}"}
    other = client_of(owner.context)
    assert other.get("/people", headers=cookie).status_code == 200
    assert "Sign in" in owner.post("/sign-out")
    assert other.get("/people", headers=cookie, follow_redirects=False).status_code == 303
    assert owner.client.get("/people", follow_redirects=False).status_code == 303


def test_a_session_ends_with_its_key(owner: Owner) -> None:
    owner.context.keys.revoke("Owner")
    assert owner.client.get("/people", follow_redirects=False).status_code == 303


def test_a_new_sign_in_has_another_cookie_and_ends_the_former_session(owner: Owner) -> None:
    before = owner.client.cookies["__Host-edge-voice"]
    owner.client.post("/sign-in", data={"key": owner.key})
    assert owner.client.cookies["__Host-edge-voice"] != before
    cookie = {"cookie": f"__Host-edge-voice={before}"}
    other = client_of(owner.context)
    assert other.get("/people", headers=cookie, follow_redirects=False).status_code == 303


@pytest.mark.parametrize(("step_s", "steps"), [(IDLE_S, 1), (IDLE_S - 1, LONGEST_S // IDLE_S + 1)])
def test_sessions_end(context: WebContext, step_s: float, steps: float) -> None:
    now = [0.0]
    sessions = Sessions(lambda: now[0])
    context.keys.new("Owner", ApiRole.MANAGE)
    cookie = sessions.begin(context.keys.list()[0])
    for _ in range(int(steps)):
        assert sessions.find(cookie, context.keys) is not None
        now[0] += step_s
    assert sessions.find(cookie, context.keys) is None


def test_a_page_that_only_stays_open_keeps_no_session(context: WebContext) -> None:
    now = [0.0]
    sessions = Sessions(lambda: now[0])
    context.keys.new("Owner", ApiRole.MANAGE)
    cookie = sessions.begin(context.keys.list()[0])
    now[0] = IDLE_S - 1
    assert sessions.find(cookie, context.keys, touch=False) is not None
    now[0] = IDLE_S
    assert sessions.find(cookie, context.keys) is None


def test_a_page_that_follows_the_door_keeps_no_session(owner: Owner) -> None:
    session = owner.session
    session.seen_at -= 100.0
    before = session.seen_at
    assert owner.client.get("/history", headers={"Page-Refresh": "1"}).status_code == 200
    assert session.seen_at == before
    owner.get("/history")
    assert session.seen_at > before


def test_of_too_many_sessions_the_one_that_was_idle_longest_ends(
    context: WebContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.page.sessions.MOST", 2)
    now = [0.0]
    sessions = Sessions(lambda: now[0])
    context.keys.new("Owner", ApiRole.MANAGE)
    (key,) = context.keys.list()
    first, second = sessions.begin(key), sessions.begin(key)
    now[0] = 1.0
    sessions.find(first, context.keys)
    third = sessions.begin(key)
    found = [sessions.find(each, context.keys) is not None for each in (first, second, third)]
    assert found == [True, False, True]


# --- forgery ---


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost"},
        {"origin": ""},
        {**OWN, "sec-fetch-site": "cross-site"},
        {**OWN, "sec-fetch-site": "same-site"},
        {**OWN, "sec-fetch-site": "none"},
    ],
)
def test_a_change_from_elsewhere_is_refused(
    owner: Owner, ada: Profile, headers: dict[str, str]
) -> None:
    token = owner.token
    path = f"/people/{ada.id}/delete"
    answer = owner.client.post(path, data={"token": token}, headers=headers)
    assert answer.status_code == 403
    assert owner.context.store.get(ada.id).name == "Ada"
    answer = owner.client.post("/sign-in", data={"key": owner.key}, headers=headers)
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("token", [None, "", "x" * 43, "é"])
def test_a_change_without_the_session_s_token_is_refused(
    owner: Owner, ada: Profile, token: str | None
) -> None:
    fields = {} if token is None else {"token": token}
    answer = owner.client.post(f"/people/{ada.id}/delete", data=fields)
    assert answer.status_code == 403
    assert owner.context.store.get(ada.id).name == "Ada"


def test_the_token_of_another_session_is_refused(owner: Owner, ada: Profile) -> None:
    other = Owner(owner.context, "Other")
    answer = owner.client.post(f"/people/{ada.id}/delete", data={"token": other.token})
    assert answer.status_code == 403


def test_a_browser_that_says_where_a_form_comes_from_needs_no_origin(
    owner: Owner, ada: Profile
) -> None:
    token = owner.token
    headers = {"origin": "null", "sec-fetch-site": "same-origin"}
    answer = owner.client.post(f"/people/{ada.id}/disable", data={"token": token}, headers=headers)
    assert answer.status_code == 200
    assert not owner.context.store.get(ada.id).rule.enabled


@pytest.mark.parametrize(
    "path",
    [
        "/sign-out", "/people/{}/rename", "/people/{}/rule", "/people/{}/enable",
        "/people/{}/disable", "/people/{}/export", "/people/{}/confirm", "/people/{}/delete",
        "/people/{}/reset", "/people/{}/revert", "/enroll", "/enroll/door", "/enroll/door/cancel",
        "/enroll/browser", "/door/lift", "/checks/run", "/keys/new", "/keys/x/revoke",
    ],
)  # fmt: skip
def test_no_change_is_made_by_a_link_or_without_a_token(
    owner: Owner, ada: Profile, path: str
) -> None:
    path = path.format(ada.id)
    before = len(owner.context.trail.entries())
    assert owner.client.post(path).status_code == 403
    assert owner.client.get(path, follow_redirects=False).status_code in (200, 303, 400, 404, 405)
    assert len(owner.context.trail.entries()) == before
    assert owner.context.state.get(REQUEST_KEY) is None


def test_the_pages_forbid_what_they_do_not_need(owner: Owner) -> None:
    answer = owner.client.get("/people")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["cache-control"] == "no-store"
    for path in (*PAGES, f"/people/{owner.context.store.list()[0].id}"):
        html = owner.get(path)
        assert not re.search(r"<style|style=|<script(?! src=)| on[a-z]+=|https?://", html), path


# --- people ---


def test_everybody_is_listed_with_what_they_can_do(owner: Owner, ada: Profile) -> None:
    store = owner.context.store
    enroll(store, "Robin", 4, 5)
    store.create("Grace", ProfileKind.VOICE, required=30)
    store.set_rule(ada.id, AccessRule(doors=("garden",)))
    html = owner.get("/people")
    assert "not now: another door" in html
    assert "doors garden, always" in html
    assert "not complete: 1 more repetition needed" in html
    assert "voice only, opens nothing; not complete" in html


def test_a_duress_phrase_is_nowhere(owner: Owner, ada: Profile) -> None:
    hidden = duress_of(owner.context, ada)
    owner.context.trail.record(Event(EventKind.ENROLLMENT, {"what": "enrolled"}, hidden.id))
    owner.context.trail.flush()
    shown = "".join(
        owner.get(path)
        for path in (*PAGES, f"/people/{ada.id}", "/history?kind=other", f"/people/{ada.id}/reset")
    )
    assert "duress" not in shown.lower()
    assert "help me" not in shown
    assert hidden.id not in shown
    for path in (hidden.id, hidden.name, "Ada", "Ada (dures"):
        answer = owner.client.get(f"/people/{path}")
        assert answer.status_code == 404
        assert "duress" not in answer.text.replace(path, "")
        token = owner.token
        answer = owner.client.post(f"/people/{path}/delete", data={"token": token})
        assert answer.status_code == 404
    assert owner.context.store.get(hidden.id).duress_of == ada.id


@pytest.mark.parametrize("name", ["Ada (duress)", "robin  (DURESS)"])
def test_the_name_of_a_duress_phrase_is_refused_whether_it_is_there_or_not(
    owner: Owner, ada: Profile, name: str
) -> None:
    duress_of(owner.context, ada)
    for path, fields in ((f"/people/{ada.id}/rename", {}), ("/enroll", {"where": "door"})):
        assert "A name cannot end in (duress)." in owner.post(path, 400, name=name, **fields)


def test_hostile_names_are_text(owner: Owner, ada: Profile) -> None:
    owner.post(f"/people/{ada.id}/rename", name=HOSTILE)
    store = owner.context.store
    (person,) = store.list()
    assert person.name == HOSTILE
    store.replace_samples(
        ada.id, person.samples, SPEAKER_MODEL, PHRASE_MODEL, phrase="<img src=x onerror=alert(2)>"
    )
    owner.context.keys.new(HOSTILE, ApiRole.VERIFY)
    detail = {"what": HOSTILE, "reason": HOSTILE, "outcome": "denied", "id": HOSTILE}
    for kind in (EventKind.CHANGE, EventKind.DECISION):
        owner.context.trail.record(Event(kind, detail, ada.id))
    owner.context.trail.flush()
    for path in (
        "/people", f"/people/{ada.id}", f"/people/{ada.id}/delete", "/history", "/keys",
        "/history?kind=other", f"/enroll?name={HOSTILE}",
        f"/history?person={HOSTILE}&days={HOSTILE}",
    ):  # fmt: skip
        html = owner.get(path)
        assert "<script>alert" not in html, path
        assert "<img" not in html, path
        assert "62773913" not in html, path
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in owner.get("/people")


def test_renaming(owner: Owner, ada: Profile) -> None:
    enroll(owner.context.store, "Robin", 4, 5, 6)
    assert "Ada is now Ada L." in owner.post(f"/people/{ada.id}/rename", name=" Ada  L ")
    kind, detail, who = owner.last()
    assert (kind, detail["what"], who) == ("change", "renamed", ada.id)
    assert "Ada" not in str(detail)
    owner.post(f"/people/{ada.id}/rename", 400, name="robin")
    owner.post(f"/people/{ada.id}/rename", 400, name="")
    assert owner.context.store.get(ada.id).name == "Ada L"


def test_a_rule_is_set_as_the_command_line_reads_it(owner: Owner, ada: Profile) -> None:
    owner.post(
        f"/people/{ada.id}/rule",
        doors="front-door, garden,",
        hours="mon-fri 07:00-18:00\r\n\r\nsat,sun",
        first="2027-01-01",
        last="2027-01-31",
        challenge="yes",
    )
    assert owner.context.store.get(ada.id).rule == AccessRule(
        doors=("front-door", "garden"),
        windows=(Window((0, 1, 2, 3, 4), 420, 1080), Window((5, 6), 0, 1440)),
        first_day=date(2027, 1, 1),
        last_day=date(2027, 1, 31),
        challenge=True,
    )
    kind, detail, who = owner.last()
    assert (kind, detail["what"], who) == ("change", "access", ada.id)
    html = owner.get(f"/people/{ada.id}")
    assert "mon-fri 07:00-18:00\nsat,sun</textarea>" in html
    assert 'value="2027-01-31"' in html
    # Empty again, it is every door at all times.
    owner.post(f"/people/{ada.id}/rule", doors="", hours="", first="", last="")
    assert owner.context.store.get(ada.id).rule == AccessRule()


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"hours": "mondays"}, "Invalid"),
        ({"hours": "\n".join(f"mon {n}:00-{n}:30" for n in range(17))}, "More than 32 doors or 16"),
        ({"doors": "front door"}, "Invalid door"),
        ({"first": "31.1.2027"}, "Invalid date"),
        ({"first": "2027-02-01", "last": "2027-01-31"}, "is before the first"),
    ],
)  # fmt: skip
def test_a_rule_that_cannot_be_is_refused_and_what_was_typed_stays(
    owner: Owner, ada: Profile, fields: dict[str, str], told: str
) -> None:
    html = owner.post(f"/people/{ada.id}/rule", 400, **fields)
    assert told in html
    assert next(iter(fields.values())).partition("\n")[0] in html
    assert owner.context.store.get(ada.id).rule == AccessRule()


def test_switching_off_and_on(owner: Owner, ada: Profile) -> None:
    owner.context.store.set_rule(ada.id, AccessRule(doors=("garden",)))
    assert "Ada can no longer open." in owner.post(f"/people/{ada.id}/disable")
    assert owner.context.store.get(ada.id).rule == AccessRule(enabled=False, doors=("garden",))
    assert "switched off" in owner.get("/people")
    owner.post(f"/people/{ada.id}/enable")
    assert owner.context.store.get(ada.id).rule == AccessRule(doors=("garden",))


def test_deleting_is_asked_before(owner: Owner, ada: Profile) -> None:
    duress_of(owner.context, ada)
    html = owner.get(f"/people/{ada.id}/delete")
    assert f'action="/people/{ada.id}/delete"' in html
    assert owner.context.store.count() == 2
    assert "Ada is deleted." in owner.post(f"/people/{ada.id}/delete")
    assert owner.context.store.list() == []
    kind, _, who = owner.last()
    assert (kind, who) == ("deletion", ada.id)
    assert "Ada is deleted." not in owner.get("/people")


def test_reset_and_what_was_learned(owner: Owner, ada: Profile) -> None:
    store = owner.context.store
    store.adapt(ada, learned(5), most=5)
    html = owner.get(f"/people/{ada.id}")
    assert "1 of at most 5 times" in html
    assert "The voice has moved by 0." in html
    owner.post(f"/people/{ada.id}/revert")
    assert (len(store.get(ada.id).adapted), len(store.get(ada.id).enrolled)) == (0, 3)
    assert owner.last()[1]["what"] == "reverted"
    owner.post(f"/people/{ada.id}/reset")
    assert store.get(ada.id).samples == ()
    assert owner.last()[1]["what"] == "reset"


def test_the_written_phrase_is_on_the_person_s_page_alone(owner: Owner) -> None:
    store = owner.context.store
    person = store.create(
        "Robin", ProfileKind.PHRASE, "open sesame", required=3, samples=[make_sample(4)],
        speaker_model=SPEAKER_MODEL, phrase_model=PHRASE_MODEL,
    )  # fmt: skip
    assert "open sesame" in owner.get(f"/people/{person.id}")
    assert "open sesame" not in "".join(owner.get(path) for path in PAGES)


def test_a_person_is_exported_encrypted(
    owner: Owner, ada: Profile, tmp_path: Path, cheap_passphrases: None
) -> None:
    path, passphrase = f"/people/{ada.id}/export", "four words or more"
    owner.post(path, 400, passphrase="short", again="short")  # noqa: S106
    assert "differ" in owner.post(path, 400, passphrase=passphrase, again="another one here")
    answer = owner.client.post(
        path, data={"token": owner.token, "passphrase": passphrase, "again": passphrase}
    )
    assert answer.headers["content-disposition"].startswith("attachment; filename*=utf-8''Ada%20")
    file = tmp_path / "exported"
    file.write_bytes(answer.content)
    assert read_person(file, passphrase).profile.name == "Ada"
    assert owner.last()[0] == "export"


def test_who_was_enrolled_over_mqtt_is_confirmed(owner: Owner) -> None:
    store = owner.context.store
    waiting = store.create(
        "Robin", ProfileKind.PHRASE, required=1, samples=[make_sample(4)],
        speaker_model=SPEAKER_MODEL, phrase_model=PHRASE_MODEL, confirmed=False,
    )  # fmt: skip
    assert "waits for you to confirm" in owner.get("/people")
    assert "Robin is confirmed and may open." in owner.post(f"/people/{waiting.id}/confirm")
    assert store.get(waiting.id).status is ProfileStatus.ENROLLED
    assert owner.last()[1]["what"] == "confirmed"
    owner.post(f"/people/{waiting.id}/confirm", 400)


# --- history ---


def decide(context: WebContext, name: str, profile_id: str | None = None, **detail: Any) -> None:
    told = {"outcome": "denied", "reason": "no_match", "confidence": "high", "id": name, **detail}
    kind = EventKind.DURESS if detail.pop("silent", False) else EventKind.DECISION
    context.trail.record(Event(kind, {k: v for k, v in told.items() if k != "silent"}, profile_id))
    context.trail.flush()


def test_decisions_with_scores_and_what_would_have_been_needed(owner: Owner, ada: Profile) -> None:
    decide(owner.context, "d1", ada.id, outcome="granted", reason="recognized", utterance_s=1.84,
           voice_margin=3.25, phrase_margin=1.5, level_dbfs=-27.4, snr_db=31.0)  # fmt: skip
    decide(owner.context, "d2", voice_margin=-2.0, phrase_margin=-0.5)
    decide(owner.context, "d3", reason="too_noisy", snr_db=1.2)
    html = owner.get("/history")
    assert (
        "1.8 s of sound, level \N{MINUS SIGN}27 dB, 31 dB above the noise, high confidence" in html
    )
    assert 'aria-label="Above or below the limit: voice +3.2, passphrase +1.5"' in html
    assert "2.0 more for the voice and 0.5 more for the passphrase." in html
    assert "Speech 3 dB above the noise; it was 1 dB." in html
    assert "2 decisions from" in html
    assert html.index('data-id="d3"') < html.index('data-id="d1"')


def test_a_silent_alarm_looks_like_any_other_decision(owner: Owner, ada: Profile) -> None:
    told = {"outcome": "granted", "reason": "recognized", "voice_margin": 1.0, "phrase_margin": 1.0}
    decide(owner.context, "same", ada.id, **told)
    plain = owner.get("/history")
    events = re.findall(r"<li class=.*?</li>", plain, re.DOTALL)
    decide(owner.context, "same", ada.id, silent=True, **told)
    both = re.findall(r"<li class=.*?</li>", owner.get("/history"), re.DOTALL)
    without = [re.sub(r"<time>.*?</time>", "", each) for each in both]
    assert without == [re.sub(r"<time>.*?</time>", "", events[0])] * 2
    assert "uress" not in owner.get("/history?kind=other")


def test_the_history_is_filtered(owner: Owner, ada: Profile) -> None:
    decide(owner.context, "mine", ada.id, outcome="granted", reason="recognized")
    decide(owner.context, "denied", ada.id, reason="wrong_phrase")
    decide(owner.context, "nobody")
    shown = {
        query: set(re.findall(r'data-id="(\w+)"', owner.get(f"/history{query}")))
        for query in (
            "", "?outcome=granted", "?outcome=denied", f"?person={ada.id}", "?days=1",
            "?kind=other", f"?person={ada.id}&outcome=denied", "?person=unknown",
            "?days=x&outcome=y&kind=z",
        )
    }  # fmt: skip
    everything = {"mine", "denied", "nobody"}
    assert list(shown.values()) == [
        everything, {"mine"}, {"denied", "nobody"}, {"mine", "denied"}, everything, set(),
        {"denied"}, set(), everything,
    ]  # fmt: skip
    assert "Sign in" in owner.get("/history?kind=other").replace("sign in", "Sign in")


def test_who_was_deleted_has_no_name_in_the_history(owner: Owner, ada: Profile) -> None:
    decide(owner.context, "d1", ada.id, outcome="granted", reason="recognized")
    owner.post(f"/people/{ada.id}/delete")
    assert "somebody who was deleted" in owner.get("/history")


def test_only_the_newest_are_shown(
    owner: Owner, ada: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.page.history.MOST_SHOWN", 2)
    for number in range(3):
        decide(owner.context, f"d{number}")
    html = owner.get("/history")
    assert re.findall(r'data-id="(\w+)"', html) == ["d2", "d1"]
    assert "Earlier ones are not shown" in html


# --- the door, checks, keys ---


@pytest.fixture
def monitor(context: WebContext, monkeypatch: pytest.MonkeyPatch) -> Iterator[MonitorServer]:
    """The socket of a running service."""
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    address = Address(context.config.state_path / "monitor.sock", shared=False)
    server = MonitorServer(address, History("front-door", "Front door"))
    yield server
    server.close()


def test_the_door_just_now(owner: Owner, monitor: MonitorServer) -> None:
    monitor.post(state_message("no_microphone", detail="unplugged"))
    html = owner.get("/door")
    assert "without a microphone" in html
    assert "Unplugged." in html
    assert "Not locked out" in html


def test_a_service_that_does_not_run(owner: Owner) -> None:
    assert "not running" in owner.get("/door")


def test_a_lock_out_is_shown_and_ended(owner: Owner) -> None:
    context = owner.context
    record = LockOutRecord(round=2, left_s=300.0, ages_s=(), quiet_s=0.0, debt_s=0.0)
    context.state.put(STATE_KEY, write_record(record, time.monotonic(), boot_id()))
    context.attempts.lockout.begin("a test")
    html = owner.get("/door")
    assert "for 5 minutes more, number 2 in a row" in html
    assert "Programs that verify voices over the network are locked out" in html
    owner.post("/door/lift")
    assert context.state.get("lockout.lift") == "page"
    assert context.state.get("http.callers.lift") == "page"
    assert not context.attempts.lockout.locked
    assert "Not locked out" in owner.get("/door")
    assert owner.last()[1]["what"] == "lift_lockout"


def test_the_doctor_s_findings(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {
        "findings": [
            {"name": "store", "state": "green", "found": "all is well", "remedy": "", "code": "a"},
            {"name": "broker_login", "state": "red", "found": "refused", "remedy": "type <it>",
             "code": "b"},
        ]
    }  # fmt: skip
    monkeypatch.setattr(
        "edge.page.checks._DOCTOR", ("-c", f"print({json.dumps(json.dumps(found))})")
    )
    assert "Not checked since this server was started." in owner.get("/checks")
    html = owner.post("/checks/run")
    assert html.index("Broker login") < html.index("Store")
    assert "Type &lt;it&gt;." in html
    monkeypatch.setattr("edge.page.checks._DOCTOR", ("-c", "raise SystemExit(3)"))
    assert "could not be made" in owner.post("/checks/run", 503)


def test_the_figures_of_the_latest_evaluation(owner: Owner) -> None:
    assert "Not measured with your own recordings" in owner.get("/checks")
    preset = {"name": "strict", "meant": "1 in 10,000", "residents": "2 %", "strangers": "0 %"}
    summary = {
        "created_at": "2027-01-31T12:00:00", "people": 12, "tested": 340, "suggested": "strict",
        "strangers": "None was accepted.", "residents": "2 in 100.", "presets": [preset],
    }  # fmt: skip
    owner.context.state.put(SUMMARY_KEY, json.dumps(summary))
    html = owner.get("/checks")
    assert "Measured 2027-01-31 with 12 people and 340 recordings" in html
    assert "1 in 10,000" in html
    owner.context.state.put(SUMMARY_KEY, "{")
    assert "Not measured" in owner.get("/checks")


def test_a_key_is_shown_once_and_revoked(owner: Owner) -> None:
    html = owner.post("/keys/new", name="Intercom", role="verify")
    (key,) = re.findall(r"\b[0-9a-f]{32}\b", html)
    found = owner.context.keys.find(key)
    assert found is not None
    assert (found.name, found.role) == ("Intercom", ApiRole.VERIFY)
    kind, detail, _ = owner.last()
    assert (kind, detail["key_id"], detail["role"]) == ("keys", found.id, "verify")
    assert key not in owner.get("/keys")
    assert key not in "".join(str(entry.as_dict()) for entry in owner.context.trail.entries())
    assert "Revoke Intercom?" in owner.get(f"/keys/{found.id}/revoke")
    owner.post(f"/keys/{found.id}/revoke")
    assert owner.context.keys.find(key) is None
    owner.post(f"/keys/{found.id}/revoke", 400)
    for fields in (
        {"name": "", "role": "verify"},
        {"name": "New"},
        {"name": "Owner", "role": "verify"},
    ):
        owner.post("/keys/new", 400, **fields)


def test_the_own_key_may_be_revoked_and_ends_the_session(owner: Owner) -> None:
    (own,) = owner.context.keys.list()
    assert "you are signed out too" in owner.get(f"/keys/{own.id}/revoke")
    assert "Sign in" in owner.post(f"/keys/{own.id}/revoke")


# --- enrolling ---


def test_who_cannot_be_enrolled(owner: Owner, ada: Profile) -> None:
    store = owner.context.store
    store.create("Grace", ProfileKind.VOICE, required=30)
    store.create(
        "Kim", ProfileKind.PHRASE, "hello", required=3, samples=[make_sample(4)],
        speaker_model=SPEAKER_MODEL, phrase_model=PHRASE_MODEL,
    )  # fmt: skip
    for name, phrase, told in (
        ("", "", "A name must have"),
        ("ada", "", "Ada is enrolled already"),
        ("Grace", "", "by voice alone"),
        ("Kim", "good night", "another passphrase in writing"),
        ("New", "x" * 201, "200 characters"),
    ):
        assert told in owner.post("/enroll", 400, name=name, phrase=phrase, where="door")
    assert owner.context.state.get(REQUEST_KEY) is None


def requested(owner: Owner) -> Requested:
    """What was asked of the service just now."""
    context = owner.context
    found = RequestBox(context.state, context.store.derive_key(PURPOSE)).take(uptime())
    assert found is not None
    return found


def test_enrolling_at_the_door_is_asked_of_the_service(
    owner: Owner, monitor: MonitorServer
) -> None:
    html = owner.post("/enroll", name=" Robin ", phrase="good night", where="door")
    wanted = requested(owner)
    assert (wanted.person, wanted.phrase) == ("Robin", "good night")
    assert "Waiting for the door." in html
    assert "good night" not in html
    assert owner.last()[1]["what"] == "enroll at the door"
    steps: list[dict[str, Any]] = [
        {"request": wanted.id, "state": "measuring", "message": "please be silent"},
        {"state": "room", "message": "The room is quiet enough.", "target_dbfs": [-35.5, -12.0]},
        {"state": "started", "message": "say your passphrase 3 times"},
        {"state": "accepted", "message": "1 of 3: again"},
        {"state": "refused", "message": "too quiet: once more"},
    ]
    for step in steps:
        monitor.post(enrollment_message({"person": "Robin", **step}))
    monitor.post(state_message("enrolling"))
    html = owner.get("/enroll/door")
    assert '<p class="say" role="status" data-say>Too quiet: once more.</p>' in html
    assert "The room is quiet enough." in html
    assert 'low="-35.5"' in html
    assert re.findall(r'class="state (\w+)">', html) == ["good", "bad"]
    assert 'http-equiv="refresh"' in html
    owner.post("/enroll/door/cancel")
    assert requested(owner).person == ""


def test_the_trial_at_the_door_and_the_confirmation_after_it(
    owner: Owner, monitor: MonitorServer
) -> None:
    waiting = owner.context.store.create(
        "Robin", ProfileKind.PHRASE, required=1, samples=[make_sample(4)],
        speaker_model=SPEAKER_MODEL, phrase_model=PHRASE_MODEL, confirmed=False,
    )  # fmt: skip
    trial = {"accepted": False, "voice_margin": -1.5, "phrase_margin": 2.0}
    for step in (
        {"state": "started"},
        {"state": "unconfirmed", "message": "Robin is enrolled; this voice is enrolled already"},
        {"state": "tried", "message": "it would not open: come closer", "trial": trial},
    ):
        monitor.post(enrollment_message({"person": "Robin", **step}))
    monitor.post(state_message("listening"))
    html = owner.get("/enroll/door")
    assert "would not open" in html
    assert "Try again: say it as at the door." in html
    assert "Robin is enrolled; this voice is enrolled already." in html
    assert "voice \N{MINUS SIGN}1.5, passphrase +2.0" in html
    assert f'action="/people/{waiting.id}/confirm"' in html


def test_an_enrollment_that_failed_can_be_started_again(
    owner: Owner, monitor: MonitorServer
) -> None:
    owner.post("/enroll", name="Robin", phrase="", where="door")
    request_id = requested(owner).id
    monitor.post(
        enrollment_message(
            {"request": request_id, "state": "failed", "person": "Robin", "message": "no sound"}
        )
    )
    monitor.post(state_message("listening"))
    html = owner.get("/enroll/door")
    assert "No sound." in html
    assert "Start again" in html
    assert 'http-equiv="refresh"' not in html
    owner.post("/enroll/door")
    assert requested(owner).id != request_id


def test_what_is_to_be_enrolled_is_asked_first(owner: Owner) -> None:
    for path in ("/enroll/browser", "/enroll/door"):
        assert "Passphrase in writing" in owner.post(path)


def test_enrolling_at_the_browser_s_microphone(tmp_path: Path, engine: Any) -> None:
    context = make_context(tmp_path, engine)
    try:
        owner = Owner(context)
        html = owner.post("/enroll", name="Ada", phrase="what Ada says", where="browser")
        assert "another microphone than this one" in html
        assert "Say the passphrase 3 times" in html

        def send(data: bytes) -> str:
            files = {"recording": ("a.wav", data, "audio/wav")}
            answer = owner.client.post("/enroll/browser", data={"token": owner.token}, files=files)
            assert answer.status_code == 200, answer.text
            return str(answer.text)

        assert "not taken" in send(b"RIFF nothing")
        assert "1 of 3: again." in send(demo_recording("ada_enroll_1"))
        assert "spoken anew" in send(demo_recording("ada_enroll_1"))
        send(demo_recording("ada_enroll_2"))
        assert "Now a trial" in send(demo_recording("ada_enroll_3"))
        (ada,) = context.store.list()
        assert (ada.name, ada.phrase, ada.status) == (
            "Ada",
            "what Ada says",
            ProfileStatus.ENROLLED,
        )
        assert len(context.store.kept("heard", ada.id)) == 3
        kind, detail, who = owner.last()
        assert (kind, detail["complete"], detail["microphone"], who) == (
            "enrollment", True, "browser", ada.id,
        )  # fmt: skip
        assert "would open" in send(demo_recording("ada_right_phrase"))
        assert "would not open" in send(demo_recording("stranger_adas_phrase"))
        assert len(context.store.list()) == 1
        assert "what Ada says" not in owner.get("/enroll/browser")
        # The same voice under another name is told.
        owner.post("/enroll", name="Countess", phrase="", where="browser")
        for number in (1, 2, 3):
            html = send(demo_recording(f"ada_enroll_{number}"))
        assert "Countess is enrolled; this voice is also that of Ada." in html
    finally:
        close_context(context)


def test_a_form_without_a_recording_or_that_is_too_large_is_refused(owner: Owner) -> None:
    owner.post("/enroll", name="Robin", phrase="", where="browser")
    assert "no recording" in owner.post("/enroll/browser", 400)
    assert "larger than" in owner.post("/people/x/rename", 413, name="x" * 70_000)


def test_a_recording_that_is_sent_is_never_on_a_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", pytest.fail)  # what too large a form goes to
    sound = bytes(range(256)) * (MOST_AUDIO_BYTES // 512)
    head = b'--x\r\nContent-Disposition: form-data; name="recording"; filename="a.wav"\r\n\r\n'
    body = head + sound + b"\r\n--x--\r\n"
    kind = (b"content-type", b"multipart/form-data; boundary=x")

    async def read() -> bytes:
        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        scope = {"type": "http", "method": "POST", "path": "/", "headers": [kind]}
        form = await read_form(Request(scope, receive), MOST_AUDIO_BYTES)
        upload = form["recording"]
        assert isinstance(upload, UploadFile)
        return await upload.read()

    assert asyncio.run(read()) == sound
