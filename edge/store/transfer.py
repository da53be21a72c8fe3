"""A person in an encrypted file, to be taken to another device.

A line of JSON says how the passphrase is stretched; one sealed value, bound to that line, is JSON
again, with embeddings as base64. Anyone may have made the file, so every value is checked.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edge.crypto.keys import KeyStretching
from edge.crypto.sealing import SealBroken, Sealer, derive
from edge.errors import EnvironmentFault, InputError, ProfileError
from edge.private_files import reason, write_file
from edge.store import records
from edge.store.names import clean_name, clean_phrase
from edge.store.records import MAX_ADAPTED, MAX_SAMPLES, check_required, check_sample
from edge.store.rows import MAX_ITEM_BYTES, ItemRows, ProfileRows
from edge.types import EnrollmentSample, Profile

MAX_FILE_BYTES = 32 << 20
MAX_DURESS = 8
"""Duress phrases of one person in a file."""
MAX_TRANSFERRED = 200
"""Items of one profile in a file."""
TRANSFERRED_KINDS = ("digit", "digits")
"""Kinds of items that are a part of the person; others belong to the device."""

_MAX_HEAD = 1024
_MAX_PARTS = 50_000
"""Lists, objects and commas; a person with all that may go with them has fewer."""
_FORMAT = "edge-voice-profile"
_VERSION = 1
_ROOM = 50
"""Characters of a person's name in that of their duress phrase."""


class TransferError(InputError):
    """A profile's file cannot be read, or is there already."""


@dataclass(frozen=True)
class ExportedItem:
    """What is kept beside a profile: its kind, when it was made (Unix time), and its payload."""

    kind: str
    created_at: float
    payload: bytes = field(repr=False)


@dataclass(frozen=True)
class ExportedPerson:
    """A profile (its id is local), the items beside it, oldest first, and its duress phrases."""

    profile: Profile
    items: tuple[ExportedItem, ...] = ()
    duress: tuple[ExportedPerson, ...] = ()


def person_of(rows: ProfileRows, items: ItemRows, profile_id: str) -> ExportedPerson:
    """A person, within a transaction. Raises `ProfileError` for somebody's duress phrase."""
    found = rows.load(profile_id)
    if found.duress_of is not None:
        owner = rows.name(found.duress_of)
        raise ProfileError(f"{found.name} goes with {owner}: export {owner}")
    theirs = [each for each in rows.ids() if rows.record(each).duress_of == profile_id]
    return ExportedPerson(
        found,
        _items_of(items, profile_id),
        tuple(ExportedPerson(rows.load(each), _items_of(items, each)) for each in theirs),
    )


def add_person(rows: ProfileRows, items: ItemRows, person: ExportedPerson, name: str | None) -> str:
    """Add a person within a transaction; the new id. Raises `ProfileError` for a taken name."""
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
    rows: ProfileRows, items: ItemRows, person: ExportedPerson, name: str, duress_of: str | None
) -> str:
    given = person.profile
    profile_id = rows.begin(name, given.kind, given.phrase, given.required, duress_of)
    rows.change(
        profile_id,
        speaker_model=given.speaker_model,
        phrase_model=given.phrase_model,
        rule=given.rule,
        confirmed=given.confirmed,
        microphones=given.microphones,
    )
    for sample in given.samples:
        rows.insert(profile_id, sample)
    for item in person.items:
        items.add(item.kind, item.payload, profile_id, None, item.created_at)
    return profile_id


def _items_of(items: ItemRows, profile_id: str) -> tuple[ExportedItem, ...]:
    return tuple(
        ExportedItem(kind, each.created_at, each.payload)
        for kind in TRANSFERRED_KINDS
        for each in items.all(kind, profile_id)
    )


def sealed_person(person: ExportedPerson, passphrase: str) -> bytes:
    """A person as the content of an encrypted file."""
    stretching = KeyStretching.fresh()
    head = json.dumps(
        {
            "format": _FORMAT,
            "version": _VERSION,
            "scrypt": [stretching.log2_n, stretching.r, stretching.p],
            "salt": stretching.salt.hex(),
        }
    )
    content = json.dumps(_as_dict(person), separators=(",", ":")).encode()
    sealer = Sealer(derive(stretching.key_from(passphrase), "profile file"))
    return head.encode() + b"\n" + sealer.seal(content, head)


def write_person(
    path: Path, person: ExportedPerson, passphrase: str, *, replace: bool = False
) -> None:
    """Write a person to an encrypted file of mode 0600 or not at all.

    Raises:
        EnvironmentFault: it cannot be written.
        TransferError: there is a file already, or a folder.
    """
    content = sealed_person(person, passphrase)
    try:
        write_file(path, content, replace=replace)
    except FileExistsError:
        raise TransferError(f"{path} already exists: name another file") from None
    except IsADirectoryError:
        raise TransferError(f"{path} is a folder: name a file") from None
    except OSError as error:
        raise EnvironmentFault(f"cannot write {path}: {reason(error)}") from None


def read_person(path: Path, passphrase: str | Callable[[], str]) -> ExportedPerson:
    """Read a person from a file. Raises `TransferError`, also for a wrong passphrase.

    The passphrase is only asked for once the file is there.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise TransferError(f"cannot read {path}: {reason(error)}") from None
    if callable(passphrase):
        passphrase = passphrase()
    try:
        return parse_person(data, passphrase)
    except ValueError as error:
        raise TransferError(f"{path}: {error}; nothing was imported") from None


def parse_person(data: bytes, passphrase: str) -> ExportedPerson:
    """A person from the content of a file. Raises `ValueError`, whose text says why."""
    if len(data) > MAX_FILE_BYTES:
        raise ValueError(f"it is larger than {MAX_FILE_BYTES >> 20} MiB, which no profile is")
    head, newline, sealed = data[:_MAX_HEAD].partition(b"\n")
    if not newline:
        raise ValueError("not an exported profile")
    stretching = _stretching(head)
    sealed = data[len(head) + 1 :]
    sealer = Sealer(derive(stretching.key_from(passphrase), "profile file"))
    try:
        content = sealer.open(sealed, head.decode())
    except SealBroken:
        # Authenticated encryption cannot tell the two apart.
        raise ValueError("the passphrase is another one, or the file is damaged") from None
    return parse_content(content)


def parse_content(content: bytes) -> ExportedPerson:
    """A person from the decrypted content of a file. Raises `ValueError`."""
    if sum(content.count(sign) for sign in b"[{,") > _MAX_PARTS:
        # In memory each takes thirty times its size in the file.
        raise ValueError("what is in it cannot be a profile (it has too many parts)")
    try:
        return _person(json.loads(content), nested=False)
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError, InputError) as error:
        reason = "a part of it is missing" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"what is in it cannot be a profile ({reason[:200]})") from None


def _stretching(head: bytes) -> KeyStretching:
    try:
        value = json.loads(head)
        if not isinstance(value, dict) or value.get("format") != _FORMAT:
            raise ValueError  # noqa: TRY301 (said below)
    except (ValueError, RecursionError):
        raise ValueError("not an exported profile") from None
    version = value.get("version")
    if type(version) is int and version > _VERSION:
        raise ValueError(
            f"it was written by a newer version of Edge Voice (format {version}, this one knows"
            f" {_VERSION}): upgrade Edge Voice"
        )
    try:
        if version != _VERSION or not all(type(each) is int for each in value["scrypt"]):
            raise ValueError  # noqa: TRY301 (said below)
        log2_n, r, p = value["scrypt"]
        stretching = KeyStretching(log2_n, r, p, bytes.fromhex(value["salt"]))
    except (ValueError, TypeError, KeyError):
        raise ValueError("its first line is damaged") from None
    return stretching


def _as_dict(person: ExportedPerson) -> dict[str, Any]:
    profile = person.profile
    return {
        "profile": records.as_dict(replace(profile, duress_of=None)),
        "samples": [
            {"adapted": sample.adapted, "content": _text(records.encode_sample(sample))}
            for sample in profile.samples
        ],
        "items": [
            {"kind": item.kind, "created_at": item.created_at, "payload": _text(item.payload)}
            for item in person.items
        ],
        "duress": [_as_dict(each) for each in person.duress],
    }


def _person(value: Any, *, nested: bool) -> ExportedPerson:
    record = records.from_dict(value["profile"])
    if record.duress_of is not None:
        raise ValueError("it names an owner")
    check_required(record.kind, record.required)
    for model in (record.speaker_model, record.phrase_model):
        if not (len(model) in (0, 64) and all(digit in "0123456789abcdef" for digit in model)):
            raise ValueError("a model's hash is not one")
    samples = tuple(_sample(each) for each in _bounded(value["samples"], MAX_SAMPLES + MAX_ADAPTED))
    enrolled = sum(not sample.adapted for sample in samples)
    if (
        enrolled > MAX_SAMPLES
        or len(samples) - enrolled > MAX_ADAPTED
        or (samples and not enrolled)
    ):
        raise ValueError("it has an impossible number of samples")
    for sample in samples:
        check_sample(record.kind, sample, record.speaker_model, record.phrase_model)
    if len({sample.speaker_embedding.shape for sample in samples}) > 1:
        raise ValueError("its samples are of different models")
    profile = replace(record, samples=samples)
    if clean_name(profile.name) != profile.name or clean_phrase(profile.phrase) != profile.phrase:
        raise ValueError("its name or phrase is not written as it is kept")
    duress = _bounded(value["duress"], 0 if nested else MAX_DURESS)
    return ExportedPerson(
        profile=profile,
        items=tuple(_item(each) for each in _bounded(value["items"], MAX_TRANSFERRED)),
        duress=tuple(_person(each, nested=True) for each in duress),
    )


def _sample(value: Any) -> EnrollmentSample:
    if not isinstance(value["adapted"], bool):
        raise ValueError("a sample is neither enrolled nor learned")  # noqa: TRY004 (not a call)
    return records.decode_sample(_bytes(value["content"]), adapted=value["adapted"])


def _item(value: Any) -> ExportedItem:
    kind, created_at = value["kind"], value["created_at"]
    if kind not in TRANSFERRED_KINDS:
        raise ValueError("it has items that do not belong to a person")
    if type(created_at) is not float or not abs(created_at) < 1e12:
        raise ValueError("an item's date is not one")
    payload = _bytes(value["payload"])
    if len(payload) > MAX_ITEM_BYTES:
        raise ValueError(f"an item has more than {MAX_ITEM_BYTES} bytes")
    return ExportedItem(kind, created_at, payload)


def _bounded(value: Any, most: int) -> list[Any]:
    if not isinstance(value, list) or len(value) > most:
        raise ValueError(f"a list in it is not one, or has more than {most} parts")
    return value


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _bytes(value: Any) -> bytes:
    if not isinstance(value, str):
        raise ValueError("a value in it is no text")  # noqa: TRY004 (damage)
    try:
        return base64.b64decode(value, validate=True)
    except ValueError:
        raise ValueError("a value in it is not base64") from None
