"""Writes down the hashes of the models' cards, which ship with the software.

python -m tools.make_manifest            # write them
python -m tools.make_manifest --check    # say whether they are those of the cards

A card has the hash of its model. Run it after every change of a card, as `tools.build_models` and
`tools.calibrate_models` do.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path

from edge.recognition.embedders import PHRASE_FILE, SPEAKER_FILE
from edge.resources import models_directory
from tools.topics import REPOSITORY

FILE = REPOSITORY / "edge" / "inference" / "released.py"
_HEAD = (
    '"""The SHA-256 of each model card of this release; from python -m tools.make_manifest."""\n'
)


def text(folder: Path) -> str:
    """The file for the cards of a folder."""
    cards = sorted(folder / Path(name).with_suffix(".json") for name in (PHRASE_FILE, SPEAKER_FILE))
    rows = [f'    "{card.name}": "{_sha256(card)}",\n' for card in cards]
    return f"{_HEAD}\nCARDS = {{\n{''.join(rows)}}}\n"


def write() -> None:
    """Write the file for the models in the checkout."""
    FILE.write_text(text(models_directory()), encoding="utf-8")


def main(arguments: list[str]) -> int:
    """Write or check."""
    parser = argparse.ArgumentParser(prog="python -m tools.make_manifest", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing")
    if not parser.parse_args(arguments).check:
        write()
    elif FILE.read_text(encoding="utf-8") != text(models_directory()):
        print(f"{FILE} is out of date: run python -m tools.make_manifest", file=sys.stderr)
        return 1
    return 0


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
