"""A person with everything that belongs to them, out of a store and into one."""

from __future__ import annotations

from edge.errors import ProfileError
from edge.store.items import ItemRows
from edge.store.rows import ProfileRows
from edge.store.transfer import TRANSFERRED_KINDS, Item, Person

_ROOM = 50
"""Characters of a person's name in that of their duress phrase."""


def person_of(rows: ProfileRows, items: ItemRows, profile_id: str) -> Person:
    """A person, within a transaction.

    Raises:
        ProfileError: it is somebody's duress phrase, which does not go alone.
    """
    found = rows.load(profile_id)
    if found.duress_of is not None:
        owner = rows.name(found.duress_of)
        raise ProfileError(f"{found.name} goes with {owner}: export {owner}")
    theirs = [each for each in rows.ids() if rows.record(each).duress_of == profile_id]
    return Person(
        found,
        _items_of(items, profile_id),
        tuple(Person(rows.load(each), _items_of(items, each)) for each in theirs),
    )


def add_person(rows: ProfileRows, items: ItemRows, person: Person, name: str | None) -> str:
    """Add a person within a transaction; the id of the new profile.

    Raises:
        ProfileError: a name is taken, or there are too many profiles.
    """
    former = person.profile.name
    profile_id = _add(rows, items, person, name or former, None)
    for each in person.duress:
        own = each.profile.name
        # It begins with the person's name, cut short to leave room for what follows.
        shared = next((i for i, (a, b) in enumerate(zip(own, former)) if a != b), len(former))
        if name and shared:
            own = name[:_ROOM].strip() + own[shared:]
        _add(rows, items, each, own, profile_id)
    return profile_id


def _add(
    rows: ProfileRows, items: ItemRows, person: Person, name: str, duress_of: str | None
) -> str:
    given = person.profile
    profile_id = rows.begin(name, given.kind, given.phrase, given.required, duress_of)
    rows.change(
        profile_id,
        speaker_model=given.speaker_model,
        phrase_model=given.phrase_model,
        rule=given.rule,
    )
    for sample in given.samples:
        rows.insert(profile_id, sample)
    for item in person.items:
        items.add(item.kind, item.payload, profile_id, None, item.created_at)
    return profile_id


def _items_of(items: ItemRows, profile_id: str) -> tuple[Item, ...]:
    return tuple(
        Item(kind, each.created_at, each.payload)
        for kind in TRANSFERRED_KINDS
        for each in items.all(kind, profile_id)
    )
