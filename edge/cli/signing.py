"""`edge-voice signing`: keys for decisions and commands."""

from __future__ import annotations

import argparse
from pathlib import Path

from edge.cli import options
from edge.cli.output import show_result
from edge.errors import InputError

HELP = "make a signing key, or show its public key"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the actions and what each takes."""
    actions = options.add_actions(
        parser,
        ("new-key", "make a key in a new file that only its owner can read", _new_key),
        ("public-key", "print the public key, for a lock or commands.keys_file", _public_key),
    )
    make, show_key = actions.values()
    make.add_argument("file", metavar="FILE", type=Path, help="the new file")
    make.add_argument(
        "--algorithm",
        choices=("ed25519", "hmac-sha256"),
        default="ed25519",
        help="ed25519: verified with the public key; hmac-sha256: verified with the same key "
        "(default: ed25519)",
    )
    show_key.add_argument(
        "file", metavar="FILE", nargs="?", type=Path, help="the key (default: signing.key_file)"
    )


run = options.perform


def _new_key(args: argparse.Namespace) -> int:
    from edge.crypto.signing import PrivateKey, new_key, write_key

    key, content = new_key(args.algorithm)
    write_key(args.file, content)
    public = key.public.text if isinstance(key, PrivateKey) else None
    about = {"algorithm": key.algorithm, "key_id": key.key_id, "public_key": public}
    lines = ["Verifying needs a copy of this file; anyone who has it can sign too."]
    if public is not None:
        lines = [
            f"Public key, for a lock: {public}",
            "To allow its commands on a device, add this to the file in commands.keys_file:",
            f"  - {{id: {key.key_id}, algorithm: {key.algorithm}, key: {public}, role: operator}}",
        ]
    title = f"{args.file}: {key.algorithm} key, id {key.key_id}"
    return show_result(args, {"file": str(args.file), **about}, title, *lines)


def _public_key(args: argparse.Namespace) -> int:
    from edge.crypto.signing import PrivateKey, key_in

    file = args.file
    if file is None:
        file = options.config_of(args).signing.key_file
        if file is None:
            raise InputError("signing.key_file is not set; set it, or name a key FILE")
    key = key_in(file)
    if not isinstance(key, PrivateKey):
        raise InputError(f"{file}: a shared key has no public key; copy the file itself")
    about = {"algorithm": key.algorithm, "key_id": key.key_id, "public_key": key.public.text}
    return show_result(args, about, key.public.text)
