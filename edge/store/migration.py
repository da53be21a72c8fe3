"""Sealing what the first two formats kept in the clear."""

from __future__ import annotations

import sqlite3

from edge.store import plain
from edge.store.vault import Vault

_UNREADABLE = b""
"""In the place of a sample that was damaged before it could be sealed: it opens as damaged."""


def seal(database: sqlite3.Connection, found: int, vault: Vault, schema: str) -> None:
    """Put sealed tables in the place of plain ones, within the caller's transaction.

    Args:
        database: the store, within a transaction.
        found: its format, 1 or 2.
        vault: what the rows are sealed with.
        schema: the statements that make the sealed tables.

    Raises:
        ValueError: a profile's own row is damaged.
    """
    profiles = list(plain.profiles_of(database))
    samples = list(plain.samples_of(database, adapted=found >= 2))
    database.execute("DROP TABLE sample")
    database.execute("DROP TABLE profile")
    # Not executescript(): it would commit what came before.
    statement = ""
    for part in schema.split(";"):
        statement += part + ";"
        if sqlite3.complete_statement(statement):
            database.execute(statement)
            statement = ""
    for profile_id, record in profiles:
        database.execute(
            "INSERT INTO profile VALUES (?, ?, ?, ?)", vault.profile_row(profile_id, record)
        )
    for profile_id, position, adapted, sample in samples:
        try:
            if sample is None:
                raise ValueError("it was damaged already")  # noqa: TRY301 (handled in one place)
            sealed = vault.seal_sample(profile_id, position, sample)
        except ValueError:
            sealed = _UNREADABLE
        database.execute(
            "INSERT INTO sample VALUES (?, ?, ?, ?)", (profile_id, position, adapted, sealed)
        )
