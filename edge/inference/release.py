"""Whether models are those of this release.

Their cards hold the calibration, which decides who opens: whoever can write a card could add to it.
So the cards' hashes ship with the code. A card has the hash of its model.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from edge.errors import ModelError
from edge.inference.released import CARDS


def altered(folder: Path) -> list[Path]:
    """The cards in a folder that are not those of this release; one that is missing is none."""
    return [folder / name for name, digest in CARDS.items() if _differs(folder / name, digest)]


def refuse_altered(folder: Path) -> None:
    """Raise `ModelError` if a card in a folder is not that of this release."""
    for card in altered(folder):
        raise ModelError(
            f"{card} is not the card that came with this release: reinstall the software; models"
            " of your own belong in a folder of their own, which models_directory names"
        )


def _differs(card: Path, digest: str) -> bool:
    try:
        return hashlib.sha256(card.read_bytes()).hexdigest() != digest
    except FileNotFoundError:  # who opens it says so
        return False
    except OSError:
        return True
