"""Trains the phrase model and puts it into `models/`.

    python -m tools.train_phrase_model SPEECH [--steps N] [--work FOLDER]

SPEECH holds `read_sentences`, `train_sentences` with `phones.tsv`, `words` and `noise`
(docs/development.md). The published network that it begins with is downloaded as
`tools.build_models` does it, and the training runs in the same environment, on two processors, in
less than an hour. SoX has to be installed. Afterwards the new model needs a calibration: `python -m
tools.calibrate_models`.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from tools import make_manifest
from tools.build_models import MODELS, REPOSITORY, BuildError, environment, fetch, run, sha256
from tools.models import cards
from tools.models.sources import PACKAGES, PHRASE_NETWORK

STEPS = 3_000
NAME = "phrase_embedding"
WEIGHTS = "phrase_network.pt"


def train(speech: Path, work: Path, steps: int) -> None:
    """Train, convert and install with its card.

    Raises:
        BuildError: a step failed.
    """
    if shutil.which("sox") is None:
        raise BuildError("SoX is needed to change tempo and pitch: apt install sox")
    work.mkdir(parents=True, exist_ok=True)
    unpacked = work / "unpacked"
    for package in PACKAGES:
        if any(file == PHRASE_NETWORK for file, _ in package.files):
            fetch(package, work, unpacked)
    python = environment(work)
    weights, model = work / WEIGHTS, work / f"{NAME}.tflite"
    published = unpacked / PHRASE_NETWORK
    options = ("--steps", steps)
    run(python, "-m", "tools.phrase_model.train", speech, published, weights, *options)
    install(python, weights, model, steps)


def install(python: Path, weights: Path, model: Path, steps: int) -> None:
    """Convert trained weights, and put the model and its card into `models/`.

    Raises:
        BuildError: the conversion failed.
    """
    run(python, "-m", "tools.phrase_model.convert", weights, model)
    path = MODELS / f"{NAME}.json"
    training = {"steps": steps, "weights_sha256": sha256(weights), **cards.TRAINING}
    document = cards.card(NAME, model, cards.read(path), {"training": training})
    shutil.copy(model, MODELS)
    cards.write(path, document)
    make_manifest.write()
    print(f"{NAME}: SHA-256 {document['sha256']}; now run python -m tools.calibrate_models")


def main(arguments: list[str]) -> int:
    """Train and install."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.train_phrase_model",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("speech", type=Path)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--work", type=Path, default=REPOSITORY / "build" / "models")
    options = parser.parse_args(arguments)
    try:
        train(options.speech.resolve(), options.work.resolve(), options.steps)
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
