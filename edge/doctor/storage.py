"""The state directory: its files, the store, its key and the audit trail."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from edge.config import Config, doors_of, is_main
from edge.doctor.configuration import program, user_name
from edge.doctor.context import Context
from edge.doctor.finding import Finding, from_error, green, red, skipped, yellow
from edge.enrollment.same_voice import enrolled_twice
from edge.errors import ModelError, StoreError
from edge.inference.card import read_card
from edge.private_files import read_credential
from edge.recognition.embedders import SPEAKER_FILE
from edge.resources import models_directory
from edge.store import FILE_NAME, ProfileStore, open_store
from edge.store.api_keys import ApiKeys
from edge.store.audit import AUDIT_KEY, AuditTrail
from edge.store.audit_file import FILE_NAME as AUDIT_FILE
from edge.store.device_state import FILE_NAME as STATE_FILE
from edge.store.device_state import DeviceState, microphone_kind_key
from edge.store.sealed_file import SIGNATURES, wants_passphrase
from edge.store.sqlite import inspect_header
from edge.types import Profile, ProfileStatus
from edge.types.microphone import is_another

_BUSY_S = 3.0
_MOST_NAMED = 5

NO_FOLDER = green("state.absent", "{folder} does not exist yet; the first enrollment creates it")
UNREADABLE_FOLDER = red(
    "state.unseen", "{folder} cannot be read: {reason}", "run: sudo {program} doctor"
)
OPEN_FOLDER = red(
    "state.open",
    "other users can access {folder} (mode {mode:03o})",
    "run: sudo chmod 700 {folder}",
)
READ_ONLY = red(
    "state.read_only",
    "{folder} cannot be written to: {reason}",
    "an SD card that became read-only is often worn out: look at dmesg, and back up the folder",
)
FOLDER = green("state.private", "{folder} is private to {owner}")
OPEN_FILE = red(
    "state_files.open",
    "other users can read {file} (mode {mode:03o})",
    "run: sudo chmod 600 {file}",
)
FOREIGN_FILE = red(
    "state_files.foreign",
    "{file} belongs to {owner}, its folder to {right}: the service may be unable to use it",
    "run: sudo chown {right}: {file}",
)
FILES = green("state_files.private", "all {count} files are private and have the same owner")
EMPTY = yellow(
    "store.absent",
    "nobody is enrolled: there is no signature store yet",
    "run: edge-voice enroll NAME",
)
PASSPHRASE = skipped(
    "store.passphrase",
    "the signatures are encrypted with a passphrase, which is not asked for here",
    "to check it: edge-voice keys show",
)
NOT_OPENED = skipped("store.not_opened", "not checked until the files are private again")
UNUSABLE = red("store.unusable")
NOBODY = yellow(
    "store.nobody",
    "the signature store can be opened; nobody is enrolled",
    "run: edge-voice enroll NAME",
)
OPENS = green("store.opens", "the signature store can be opened: {count} enrolled")
UNCONFIRMED = yellow(
    "people.unconfirmed",
    "enrolled over MQTT and not confirmed, so it opens nothing: {names}",
    "ask them whether it was them, then run: edge-voice profiles confirm NAME, or else: edge-voice"
    " profiles delete NAME",
)
OTHER_MICROPHONE = yellow(
    "people.other_microphone",
    "enrolled with another microphone than this one ({kind}): {names}",
    "if they are turned away, run: edge-voice enroll NAME --more, or to replace the signature:"
    " edge-voice enroll NAME --again",
)
SAME_VOICE = yellow(
    "people.same_voice",
    "{one} and {other} have one voice",
    "if that is one person, run: edge-voice profiles delete NAME",
)
KEY = green("key.held", "the key comes from {source}")
KEY_BESIDE = yellow(
    "key.beside",
    "the key is {file}, next to the signatures: a stolen SD card gives away both",
    "use a passphrase or a key kept elsewhere: edge-voice keys rewrap",
)
INTACT = green("audit.intact", "the audit trail is intact: {count} entries")
NO_API_KEY = yellow(
    "http_keys.none",
    "nobody has a key of the HTTP server, so that it serves nobody",
    "run: edge-voice keys api new NAME --role manage",
)
BROKEN = red(
    "audit.broken",
    "the audit trail has been altered: {finding}",
    "see the details: edge-voice audit verify; somebody may have had access to the device",
)
AUDIT_UNUSABLE = red("audit.unusable")
NO_TRAIL = green("audit.absent", "there is no audit trail yet; the service creates it")
UNVERIFIED = skipped("audit.not_verified", "not verified because the store was not opened")


def check(context: Context) -> Iterator[Finding]:
    """The folder, its files, the store, its key and the audit trail; nothing is changed."""
    config = context.config
    folder = config.state_path
    try:
        status = folder.stat()
        names = sorted(folder.iterdir())
        statuses = {file: file.lstat() for file in names}
    except FileNotFoundError:
        yield NO_FOLDER(folder=folder)
        yield EMPTY()
        yield NO_TRAIL()
        return
    except OSError as error:
        yield UNREADABLE_FOLDER(folder=folder, reason=error.strerror, program=program())
        return
    yield _folder(folder, status)
    faults = list(_files(folder, status, statuses))
    yield from faults
    if not faults:
        yield FILES(count=len(statuses))
    if any(fault.code == OPEN_FILE.code for fault in faults):
        # Opening would make it private, and hide that it was not.
        yield NOT_OPENED()
        yield UNVERIFIED()
        return
    yield from _store(config, context.microphones)


def _folder(folder: Path, status: os.stat_result) -> Finding:
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        return OPEN_FOLDER(folder=folder, mode=mode)
    if os.geteuid() in (0, status.st_uid):
        try:
            probe = os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o600)
        except OSError as error:
            # Some file systems lack unnamed files; they may be writable all the same.
            if os.statvfs(folder).f_flag & os.ST_RDONLY:
                return READ_ONLY(folder=folder, reason=(error.strerror or "").lower())
        else:
            os.close(probe)
    return FOLDER(folder=folder, owner=user_name(status.st_uid))


def _files(
    folder: Path, status: os.stat_result, statuses: dict[Path, os.stat_result]
) -> Iterator[Finding]:
    for file, found in statuses.items():
        if stat.S_ISLNK(found.st_mode):
            continue
        mode = stat.S_IMODE(found.st_mode)
        if mode & 0o077:
            yield OPEN_FILE(file=file, mode=mode)
        if found.st_uid != status.st_uid:
            yield FOREIGN_FILE(
                file=file, owner=user_name(found.st_uid), right=user_name(status.st_uid)
            )


def _store(config: Config, microphones: Mapping[str, str]) -> Iterator[Finding]:
    path = config.state_path / FILE_NAME
    if not path.exists():
        yield EMPTY()
        yield NO_TRAIL()
        return
    try:
        inspect_header(path, SIGNATURES)
        if wants_passphrase(path) and not read_credential(config.store.passphrase_credential):
            yield PASSPHRASE()
            yield UNVERIFIED()
            return
        with open_store(config.state_path, _BUSY_S, config.store) as store:
            yield from _opened(store, config, microphones)
    except (StoreError, OSError) as error:
        yield from_error(UNUSABLE, error)
        yield UNVERIFIED()


def _people(people: list[Profile], config: Config) -> Iterator[Finding]:
    waiting = [each.name for each in people if each.status is ProfileStatus.UNCONFIRMED]
    if waiting:
        yield UNCONFIRMED(names=", ".join(waiting[:_MOST_NAMED]))
    folder = config.models_directory or models_directory()
    with contextlib.suppress(ModelError):  # which the row of the models says
        card = read_card((folder / SPEAKER_FILE).with_suffix(".json"))
        for one, other in enrolled_twice(people, card)[:_MOST_NAMED]:
            yield SAME_VOICE(one=one.name, other=other.name)


def _other_microphone(
    enrolled: list[Profile], config: Config, microphones: Mapping[str, str]
) -> Iterator[Finding]:
    """Who was enrolled with another microphone than that of a door which they may open."""
    doors = doors_of(config)
    for door in doors:
        place = door.device.id
        kind = microphones.get(place) or _last_listened_to(door)
        names = [
            each.name
            for each in enrolled
            if is_another(each.microphones, kind)
            and (not each.rule.doors or place in each.rule.doors)
        ]
        if names:
            found = OTHER_MICROPHONE(kind=kind, names=", ".join(names[:_MOST_NAMED]))
            where = f"{place}: " if len(doors) > 1 else ""
            yield replace(found, found=where + found.found)


def _last_listened_to(door: Config) -> str:
    """The kind of microphone that a door has, or had; empty where that is not known."""
    if not (door.state_path / STATE_FILE).exists():
        return ""
    key = microphone_kind_key(None if is_main(door) else door.device.id)
    try:
        with closing(DeviceState(door.state_path, _BUSY_S)) as state:
            return state.get(key) or ""
    except StoreError:  # which the audit trail's row says
        return ""


def _opened(
    store: ProfileStore, config: Config, microphones: Mapping[str, str]
) -> Iterator[Finding]:
    people = [profile for profile in store.list() if profile.duress_of is None]
    enrolled = [profile for profile in people if profile.status is ProfileStatus.ENROLLED]
    yield OPENS(count=len(enrolled)) if enrolled else NOBODY()
    yield from _people(people, config)
    yield from _other_microphone(enrolled, config, microphones)
    beside = store.key_sources.default_file
    source = store.key_state().source
    yield KEY_BESIDE(file=beside) if source == f"key file {beside}" else KEY(source=source)
    if not config.http.stays_here and not ApiKeys(store).list():
        yield NO_API_KEY()
    if not (config.state_path / AUDIT_FILE).exists():
        yield NO_TRAIL()
        return
    try:
        with closing(DeviceState(config.state_path, _BUSY_S)) as state:
            key = store.derive_key(AUDIT_KEY)
            with AuditTrail(config.state_path, key, state, config.audit, busy_s=_BUSY_S) as trail:
                verdict = trail.verify(None)
    except StoreError as error:
        yield from_error(AUDIT_UNUSABLE, error)
        return
    if verdict.intact:
        yield INTACT(count=verdict.entries)
    else:
        yield BROKEN(finding=verdict.findings[0])
