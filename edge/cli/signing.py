"""`edge-voice signing`: keys for decisions and commands."""

from __future__ import annotations

import argparse
from pathlib import Path

from edge.cli import options
from edge.cli.output import show, show_json
from edge.errors import EXIT_OK, InputError

NAME = "signing"
HELP = "make a key, or show the public half for whoever verifies"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the actions and what each takes."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    make = actions.add_parser(
        "new-key",
        help="make a key in a new file",
        description="Make a key in a new file that only its owner can read.",
    )
    make.add_argument("file", metavar="FILE", type=Path, help="the new file")
    make.add_argument(
        "--algorithm",
        choices=("ed25519", "hmac-sha256"),
        default="ed25519",
        help="ed25519: others verify with a public key; hmac-sha256: with the same key "
        "(default: ed25519)",
    )
    show_key = actions.add_parser(
        "public-key",
        help="print the public key",
        description="Print the public key, one line of base64, for a lock or for "
        "commands.keys_file.",
    )
    show_key.add_argument(
        "file", metavar="FILE", nargs="?", type=Path, help="the key; else signing.key_file"
    )
    for action, perform in ((make, _new_key), (show_key, _public_key)):
        options.add_common(action)
        action.set_defaults(perform=perform)


def run(args: argparse.Namespace) -> int:
    """Perform the action."""
    code: int = args.perform(args)
    return code


def _new_key(args: argparse.Namespace) -> int:
    from edge.crypto.signing import PrivateKey, new_key, write_key

    key, content = new_key(args.algorithm)
    write_key(args.file, content)
    public = key.public.text if isinstance(key, PrivateKey) else None
    if args.json:
        about = {"algorithm": key.algorithm, "key_id": key.key_id, "public_key": public}
        show_json({"file": str(args.file), **about})
        return EXIT_OK
    show(f"{args.file}: a key for {key.algorithm}, id {key.key_id}")
    if public is None:
        show("Whoever verifies needs a copy of this file, and could sign with it too.")
        return EXIT_OK
    show(f"Its public half, for a lock: {public}")
    show("To let it command a device, add to the file that commands.keys_file names there:")
    show(f"  - {{id: {key.key_id}, algorithm: {key.algorithm}, key: {public}, role: operator}}")
    return EXIT_OK


def _public_key(args: argparse.Namespace) -> int:
    from edge.crypto.signing import PrivateKey, key_in

    file = args.file
    if file is None:
        file = options.config_of(args).signing.key_file
        if file is None:
            raise InputError("signing.key_file is not set; name a key's FILE, or set it")
    key = key_in(file)
    if not isinstance(key, PrivateKey):
        raise InputError(f"{file}: a shared key has no public half; copy the file itself")
    if args.json:
        about = {"algorithm": key.algorithm, "key_id": key.key_id}
        show_json({**about, "public_key": key.public.text})
    else:
        show(key.public.text)
    return EXIT_OK
