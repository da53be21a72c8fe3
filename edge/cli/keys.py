"""`edge-voice keys`: the keys that signatures are locked with, and those of the HTTP server."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.cli import options
from edge.cli.output import (
    complain,
    local_time,
    new_table,
    show,
    show_json,
    show_result,
    show_table,
)
from edge.cli.prompts import add_passphrase_file, given_passphrase
from edge.config import find_config
from edge.config.editing import changed, replace_file, written
from edge.config.loading import SYSTEM_FILE, read_config
from edge.errors import EXIT_OK, EnvironmentFault, InputError, KeyFault
from edge.installation import service

if TYPE_CHECKING:
    from edge.crypto.keys import KeySources, WrappingKey
    from edge.store import ProfileStore
    from edge.store.api_keys import ApiKey

HELP = "show or change the keys that signatures are locked with, or callers of the HTTP server"

_WHERE_NEXT = {
    "file": "keep a copy elsewhere",
    "passphrase": "pass it to the service as the credential named by store.passphrase_credential;"
    " one that runs opens nothing until it is started again with it",
    "credential": "the service needs the same credential from now on",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the actions and what each takes."""
    parser.description = (
        "Signatures are encrypted with a data key, which is in the store, wrapped by a key that"
        " should be kept elsewhere: a systemd credential, a key file, or a passphrase."
    )
    actions = options.add_actions(
        parser,
        ("show", "show where the key comes from, and the key ids", _show),
        ("rotate", "make a new data key and encrypt everything with it", _rotate),
        ("rewrap", "lock the store with another key", _rewrap),
        ("make", "make a key file and change nothing else", _make),
        ("api", "make, show and revoke the keys of the HTTP server", options.perform),
    )
    _add_api(actions["api"])
    actions["make"].add_argument("file", metavar="FILE", type=Path, help="a new file")
    action = actions["rewrap"]
    action.description = (
        "Locks the store with another key; without an option, with a new one in place of the old."
        " The configuration names a new key file from then on, and a running service follows. The"
        " old key no longer opens anything except old copies of the store."
    )
    target = action.add_mutually_exclusive_group()
    target.add_argument(
        "--key-file", metavar="FILE", type=Path, help="the key in this file, created if missing"
    )
    target.add_argument("--passphrase", action="store_true", help="a passphrase")
    target.add_argument(
        "--credential", action="store_true", help="the systemd credential store.key_credential"
    )
    add_passphrase_file(action)
    action.add_argument(
        "--rotate",
        action="store_true",
        help="also make a new data key, in case others know the old key",
    )


def _add_api(parser: argparse.ArgumentParser) -> None:
    api = options.add_actions(
        parser,
        ("new", "make a key, shown this once and kept nowhere", _new_api_key),
        ("list", "show who has a key", _list_api_keys),
        ("revoke", "withdraw a key; it stops at once", _revoke_api_key),
    )
    api["new"].add_argument("name", metavar="NAME", help="whose it is, or what for")
    api["new"].add_argument(
        "--role",
        choices=("verify", "enroll", "manage"),
        required=True,
        help="what it may do: verify and identify; enroll too; or everything, on the page too",
    )
    api["revoke"].add_argument("name", metavar="NAME", help="its name or id")


run = options.perform


def _show(args: argparse.Namespace) -> int:
    with options.store_of(args) as store:
        _tell(args, store, "")
    return EXIT_OK


def _rotate(args: argparse.Namespace) -> int:
    with options.store_of(args) as store:
        store.rotate_key()
        _record(args, store, "rotated")
        _tell(args, store, "Everything is encrypted with a new data key.")
    return EXIT_OK


def _make(args: argparse.Namespace) -> int:
    file: Path = args.file.absolute()
    if file.exists():
        raise InputError(f"{file} already exists: name a new file")
    key = _key_in(file)
    return show_result(
        args, {"key": {"file": str(file), "key_id": key.id}}, f"{file} holds the new key {key.id}."
    )


def _rewrap(args: argparse.Namespace) -> int:
    if args.passphrase_file is not None:
        args.passphrase = True
    with options.store_of(args) as store:
        sources = store.key_sources
        former = store.key_state()
        in_place = _file_in_place(args, sources, former.source)
        if in_place is not None:
            sources.replace_file(in_place, lambda key: store.lock_with(key, rotate=args.rotate))
            advice = ""
        else:
            file = None if args.key_file is None else args.key_file.absolute()
            name = None if file is None else _naming(args, file)
            key, kind = _target(args, sources, former.source)
            if name is None:
                store.lock_with(key, rotate=args.rotate)
            else:
                sources.move(key, lambda key: store.lock_with(key, rotate=args.rotate), name)
            advice = _WHERE_NEXT[kind]
            sources.forget_default_file(file)
        _record(args, store, "rewrapped")
        if find_config(args.config) == SYSTEM_FILE:
            service.restart_if_running()  # its credentials are read at a start only
        _tell(args, store, "The store is now locked with another key.", advice)
    return EXIT_OK


def _naming(args: argparse.Namespace, key_file: Path) -> Callable[[], None]:
    """What has the configuration name a key file; all that can be wrong is found before.

    Raises:
        ConfigError: it cannot be changed safely.
        EnvironmentFault: it may not be written.
        InputError: there is none, or the key file is a folder.
    """
    file = find_config(args.config)
    if file is None:
        raise InputError(
            f"no configuration can name {key_file}: run 'edge-voice setup', or name one with"
            " --config"
        )
    if key_file.is_dir():
        raise InputError(f"{key_file} is a folder: name a file")
    former = read_config(file)
    new = changed(former, file, {"store.key_file": written(key_file)})
    if new == former:
        return lambda: None
    for path in (file, file.parent):
        if not os.access(path, os.W_OK):
            raise EnvironmentFault(
                f"{path}: may not be written, and store.key_file must name the new key; run this as"
                " its owner"
            )

    def name() -> None:
        replace_file(file, former, new)

    return name


def _new_api_key(args: argparse.Namespace) -> int:
    from edge.store.api_keys import ApiKeys, ApiRole

    with options.store_of(args) as store:
        keys = ApiKeys(store)
        text = keys.new(args.name, ApiRole(args.role))
        (key,) = filter(None, [keys.find(text)])
        _record_api(args, store, "api key made", key)
    return show_result(
        args,
        {"key": text, **key.as_dict()},
        text,
        f"This is the key of {key.name!r}, for {key.role.value}; it is kept nowhere, so keep it.",
    )


def _list_api_keys(args: argparse.Namespace) -> int:
    from edge.store.api_keys import ApiKeys

    with options.store_of(args) as store:
        keys = ApiKeys(store).list()
    if args.json:
        show_json({"keys": [key.as_dict() for key in keys]})
    elif not keys:
        show("There is no key yet: run 'edge-voice keys api new NAME --role ROLE'.")
    else:
        table = new_table("NAME", "ROLE", "MADE", "ID")
        for key in keys:
            table.add_row(key.name, key.role.value, local_time(key.created_at), key.id)
        show_table(table)
    return EXIT_OK


def _revoke_api_key(args: argparse.Namespace) -> int:
    from edge.store.api_keys import ApiKeys

    with options.store_of(args) as store:
        key = ApiKeys(store).revoke(args.name)
        _record_api(args, store, "api key revoked", key)
    return show_result(args, {"revoked": key.as_dict()}, f"The key of {key.name!r} is revoked.")


def _record_api(args: argparse.Namespace, store: ProfileStore, what: str, key: ApiKey) -> None:
    options.audit(
        store,
        options.config_of(args),
        "keys",
        what=what,
        key_id=key.id,
        role=key.role.value,
    )


def _record(args: argparse.Namespace, store: ProfileStore, what: str) -> None:
    options.audit(
        store, options.config_of(args), "keys", what=what, key_id=store.key_state().key_id
    )


def _file_in_place(args: argparse.Namespace, sources: KeySources, former: str) -> Any:
    """The key file to replace in place; None for a key from elsewhere."""
    if args.passphrase or args.credential:
        return None
    for file in sources.files():
        if former == f"key file {file}" and (
            args.key_file is None or args.key_file.absolute() == file.absolute()
        ):
            return file
    return None


def _target(args: argparse.Namespace, sources: KeySources, former: str) -> tuple[WrappingKey, str]:
    from edge.crypto.keys import key_of_passphrase

    if args.key_file is not None:
        return _key_in(args.key_file.absolute()), "file"
    if args.credential:
        return sources.credential_key(), "credential"
    if args.passphrase or former.startswith("passphrase"):
        question = "New passphrase for the signature store"
        return key_of_passphrase(given_passphrase(args.passphrase_file, question, new=True)), (
            "passphrase"
        )
    raise InputError(
        f"the key comes from {former}: choose the new one with --key-file, --passphrase or"
        " --credential"
    )


def _key_in(file: Path) -> WrappingKey:
    """The key in a file, which is created if missing."""
    from edge.crypto.keys import key_of_file, make_key_file

    make_key_file(file)
    try:
        key = key_of_file(file)
    except KeyFault as error:  # somebody named a file that is no key
        raise InputError(str(error)) from None
    if key is None:
        raise KeyFault(f"the key file {file} has disappeared: try again")
    return key


def _tell(args: argparse.Namespace, store: ProfileStore, done: str, advice: str = "") -> None:
    state = store.key_state()
    if args.json:
        values = {"source": state.source, "key_id": state.key_id, "data_key_id": state.data_id}
        show_json({"keys": {**values, "file": str(store.path)}})
    else:
        if done:
            show(done)
        for title, value in (
            ("store", store.path),
            ("key", f"{state.key_id}, from {state.source}"),
            ("data key", state.data_id),
        ):
            show(f"  {title:<9} {value}")
    if advice:
        complain(f"the key now comes from {state.source}: {advice}", kind="note")
