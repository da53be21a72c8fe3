"""The settings of what is kept on the device, and of the key that it is locked with."""

# The helpers called as defaults return dataclasses.field(...), which the rule cannot see.
# ruff: noqa: RUF009

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge.config.rules import setting

_CREDENTIAL = r"[A-Za-z0-9_.-]{1,64}"
_CREDENTIAL_DOC = "1 to 64 letters, digits, or one of - _ ."


@dataclass(frozen=True)
class StoreConfig:
    """How signatures are locked."""

    key_credential: str = setting(
        "store-key",
        "Name of the service's systemd credential with the key; where there is one, it is used."
        " Commands are not given it: name the same key in `key_file` for them.",
        pattern=_CREDENTIAL,
        pattern_doc=_CREDENTIAL_DOC,
    )
    key_file: Path | None = setting(
        None,
        "File with the key, of mode 0600, best on another medium than the signatures;"
        " `edge-voice keys make FILE` makes one.",
        empty="store.key in the state directory, made when needed: whoever has both can read all",
    )
    passphrase: bool = setting(
        False,
        "Whether a new store is locked with a passphrase where neither credential nor `key_file`"
        " is there. The service takes it from `passphrase_credential`, commands ask for it.",
    )
    passphrase_credential: str = setting(
        "store-passphrase",
        "Name of the service's systemd credential with the passphrase.",
        pattern=_CREDENTIAL,
        pattern_doc=_CREDENTIAL_DOC,
    )
    debug_recordings: Path | None = setting(
        None,
        "Folder that the latest utterances are recorded into, to find out what goes wrong. Whoever"
        " gets hold of them can play them to the door: never leave this on.",
        empty="no recording is ever kept",
    )
