"""The keys of the HTTP server: who may call it, and what for. Only hashes of them are kept."""

from __future__ import annotations

import enum
import hashlib
import hmac
import json
import re
import secrets
import time
from dataclasses import asdict, dataclass
from typing import Any

from edge.errors import InputError, StoreError
from edge.store.names import clean_name, name_key
from edge.store.profiles import ProfileStore
from edge.store.rows import Kept
from edge.types.decision import utc

MAX_KEYS = 100
_KIND = "api-key"
_KEY_BYTES = 16
_ID_BYTES = 4
_KEY = re.compile(r"[0-9a-f]{32}")


class ApiRole(str, enum.Enum):
    """What a key is for; each role may do what the ones before it may."""

    VERIFY = "verify"
    ENROLL = "enroll"
    MANAGE = "manage"

    def may(self, other: ApiRole) -> bool:
        """Whether a key of this role may do what needs another."""
        roles = list(ApiRole)
        return roles.index(self) >= roles.index(other)


@dataclass(frozen=True)
class ApiKey:
    """A key without its secret.

    Attributes:
        created_at: Unix time.
        id: 8 hexadecimal digits, public; what the audit trail names it by.
    """

    name: str
    role: ApiRole
    created_at: float
    id: str

    def as_dict(self) -> dict[str, Any]:
        """Under its JSON names."""
        return {
            "id": self.id,
            "name": self.name,
            "role": self.role.value,
            "created_at": utc(self.created_at),
        }


# Inside the class below, `list` is the method.
_Keys = list[ApiKey]
_Rows = list[tuple[int, ApiKey, str]]


class ApiKeys:
    """The keys in a store, read anew each time: one that is withdrawn stops at once.

    Every method may raise `StoreError`.
    """

    def __init__(self, store: ProfileStore) -> None:
        self._store = store

    def new(self, name: str, role: ApiRole) -> str:
        """Make a key; its 32 hexadecimal digits, which are kept nowhere.

        Raises:
            ProfileError: the name is impossible.
            InputError: it is taken, or there are too many keys.
        """
        name = clean_name(name)
        there = self.list()
        if any(name_key(key.name) == name_key(name) for key in there):
            raise InputError(f"there is a key {name!r} already: choose another name, or revoke it")
        if len(there) >= MAX_KEYS:
            raise InputError(f"there are {MAX_KEYS} keys, which is the most: revoke one")
        text = secrets.token_hex(_KEY_BYTES)
        key = ApiKey(name, role, time.time(), secrets.token_hex(_ID_BYTES))
        content = {**asdict(key), "role": role.value, "sha256": _hash(text)}
        self._store.keep(_KIND, json.dumps(content).encode())
        return text

    def list(self) -> _Keys:
        """All keys, oldest first."""
        return [key for _, key, _ in self._read()]

    def revoke(self, name: str) -> ApiKey:
        """Withdraw a key, by its name or id; it stops at once.

        Raises:
            InputError: there is none.
        """
        for item_id, key, _ in self._read():
            if name_key(key.name) == name_key(name) or key.id == name.strip().lower():
                self._store.discard(_KIND, ids=[item_id])
                return key
        raise InputError(f"there is no key {name[:80]!r}: 'edge-voice keys api list' shows them")

    def find(self, text: str) -> ApiKey | None:
        """The key that these digits are, None for none; takes as long for a wrong one."""
        text = text.strip().lower()
        if not _KEY.fullmatch(text):
            return None
        found, digest = None, _hash(text)
        for _, key, known in self._read():
            if hmac.compare_digest(digest, known):
                found = key
        return found

    def _read(self) -> _Rows:
        return [_decode(item) for item in self._store.kept(_KIND)]


def _hash(text: str) -> str:
    # Of 128 random bits: nobody guesses those from it, so it need not be slow.
    return hashlib.sha256(text.encode()).hexdigest()


def _decode(item: Kept) -> tuple[int, ApiKey, str]:
    try:
        content = json.loads(item.payload)
        key = ApiKey(
            str(content["name"]),
            ApiRole(content["role"]),
            float(content["created_at"]),
            str(content["id"]),
        )
        return item.id, key, str(content["sha256"])
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"a key of the HTTP server is damaged ({error}): put a backup in place"
        ) from None
