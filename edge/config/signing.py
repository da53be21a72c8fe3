"""The settings of signed decisions."""

# The helpers called as defaults return dataclasses.field(...), which the rule cannot see.
# ruff: noqa: RUF009

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge.config.rules import setting


@dataclass(frozen=True)
class SigningConfig:
    """The key that decisions are signed with."""

    key_file: Path | None = setting(
        None,
        "File with the key that signs every decision, made by `edge-voice signing new-key`; nobody"
        " but the service may read it. A bare name is first looked for among the service's systemd"
        " credentials. Whoever opens a door must verify: without a key anybody on the broker can"
        " say `granted`.",
        empty="nothing is signed",
    )
    algorithm: str = setting(
        "ed25519",
        "What the key is for: ed25519 (the receiver knows a public key only) or hmac-sha256 (the"
        " receiver has the same key, and could sign with it).",
        choices=("ed25519", "hmac-sha256"),
    )
