"""The keys of this server: new ones, shown once, and their end."""

from __future__ import annotations

from starlette.responses import Response
from starlette.routing import BaseRoute

from edge.errors import InputError
from edge.page import words
from edge.page.visits import Pages, Visit
from edge.store.api_keys import ApiKey, ApiRole
from edge.types import EventKind

_ROLES = (
    (ApiRole.VERIFY, "verify: may ask whose voice a recording has"),
    (ApiRole.ENROLL, "enroll: may enroll and delete voices too"),
    (ApiRole.MANAGE, "manage: may do all that this page can"),
)


def routes(pages: Pages) -> list[BaseRoute]:
    """What this part serves."""
    return [
        pages.page("/keys", _show),
        pages.action("/keys/new", _new),
        pages.page("/keys/{key}/revoke", _ask),
        pages.action("/keys/{key}/revoke", _revoke),
    ]


def _show(visit: Visit) -> Response:
    return _page(visit)


def _page(visit: Visit, *, error: str = "", made: str = "", name: str = "") -> Response:
    return visit.show(
        "keys.html",
        "Keys",
        status=400 if error else 200,
        error=error,
        keys=visit.context.keys.list(),
        own=visit.session.key.id,
        roles=[(role.value, text) for role, text in _ROLES],
        made=made,
        name=name,
    )


def _new(visit: Visit) -> Response:
    name = visit.field("name")
    try:
        role = ApiRole(visit.field("role"))
        text = visit.context.keys.new(name, role)
    except ValueError:
        return _page(visit, error="Choose what the key is for.", name=name)
    except InputError as error:
        return _page(visit, error=words.sentence(str(error)), name=name)
    (made,) = filter(None, [visit.context.keys.find(text)])
    visit.record(EventKind.KEYS, what="api key made", key_id=made.id, role=role.value)
    # Not on to another page: nothing but this answer ever has the key.
    return _page(visit, made=text, name=made.name)


def _key(visit: Visit) -> ApiKey:
    wanted = visit.request.path_params["key"]
    for key in visit.context.keys.list():
        if key.id == wanted:
            return key
    raise InputError("there is no such key: it may be revoked already")


def _ask(visit: Visit) -> Response:
    key = _key(visit)
    own = " You are signed in with it, so you are signed out too." * (
        key.id == visit.session.key.id
    )
    return visit.show(
        "question.html",
        f"Revoke {key.name}?",
        text=f"Whoever uses this key is refused from now on.{own}",
        button="Revoke it",
        action=f"/keys/{key.id}/revoke",
        back="/keys",
    )


def _revoke(visit: Visit) -> Response:
    key = _key(visit)
    visit.context.keys.revoke(key.id)
    visit.record(EventKind.KEYS, what="api key revoked", key_id=key.id, role=key.role.value)
    return visit.go("/keys", f"The key {key.name} is revoked.")
