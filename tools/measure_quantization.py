"""Compares the shipped int8 speaker model with the float one it was made from.

    python -m tools.measure_quantization FOLDER [--float FILE] [--json FILE]

FOLDER holds `SPEAKER/*.flac` or `SPEAKER/PHRASE/*.flac`, or folders of these named `read_sentences`
and `same_phrase`. FILE is the float model that build_models leaves in its build folder.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from edge.audio.files import read_audio
from edge.audio.utterance import utterance_of
from edge.errors import InputError
from edge.evaluation.corpus import CorpusFile, find_items
from edge.evaluation.metrics import eer, error_curves
from edge.inference import Model, ModelCard, open_model
from edge.recognition.embedders import SHORTEST_S, SPEAKER_FILE, SpeakerEmbedder, voice_samples
from edge.resources import models_directory
from edge.types import SAMPLE_RATE, FloatArray

PARTS = ("read_sentences", "same_phrase")
DEFAULT_FLOAT = Path("build/models/speaker_embedding_float.tflite")
ALLOWED_POINTS = 0.1
"""By how many percentage points the equal error rate may rise."""


def open_float(path: Path, card: ModelCard) -> Model:
    """The float model, with the card of the quantized one."""
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    own = dataclasses.replace(card, file=path.name, sha256=digest, size_bytes=len(content))
    return Model(own, content)


def embed_all(
    items: list[CorpusFile], quantized: SpeakerEmbedder, exact: SpeakerEmbedder
) -> tuple[list[CorpusFile], FloatArray, FloatArray]:
    """Both models' embeddings of every recording with speech.

    Returns:
        The recordings that were embedded, and the embeddings by the quantized and by the float
        model, each of shape (n, d).
    """
    kept, small, large = [], [], []
    for item in track(items, description="embedding", transient=True):
        samples = voice_samples(utterance_of(read_audio(item.path)))
        if len(samples) < SHORTEST_S * SAMPLE_RATE:
            continue
        kept.append(item)
        small.append(quantized.embed(samples))
        large.append(exact.embed(samples))
    return kept, np.array(small), np.array(large)


def compare(items: list[CorpusFile], small: FloatArray, large: FloatArray) -> dict[str, Any]:
    """Error rates of both models over all pairs of recordings, and how similar the models are.

    Args:
        items: n recordings.
        small: their embeddings by the quantized model, shape (n, d).
        large: their embeddings by the float model, shape (n, d).

    Returns:
        The figures, by name.
    """
    speakers = np.array([item.speaker for item in items])
    upper = np.triu_indices(len(items), 1)
    same = (speakers[:, np.newaxis] == speakers)[upper]
    if same.all() or not same.any():
        raise ValueError("pairs of the same and of different speakers are needed")

    def rate(embeddings: FloatArray) -> float:
        scores: NDArray[np.float32] = (embeddings @ embeddings.T)[upper]
        return 100.0 * eer(error_curves(scores[same], scores[~same])).rate

    cosine = (small * large).sum(axis=1)
    float_eer, int8_eer = rate(large), rate(small)
    return {
        "recordings": len(items),
        "speakers": len(set(speakers)),
        "pairs_same": int(same.sum()),
        "pairs_different": int((~same).sum()),
        "eer_percent_float": round(float_eer, 3),
        "eer_percent_int8": round(int8_eer, 3),
        "eer_points_worse": round(int8_eer - float_eer, 3),
        "cosine_int8_float_mean": round(float(cosine.mean()), 5),
        "cosine_int8_float_min": round(float(cosine.min()), 5),
    }


def measure(folder: Path, float_path: Path, models: Path | None = None) -> dict[str, Any]:
    """Compare the models on every part of a folder of speech.

    Args:
        folder: recordings, in either layout, or a folder of such folders.
        float_path: the float model.
        models: folder of the shipped model; by default the installed one.

    Returns:
        Sizes, and the figures of `compare` by the name of the part.

    Raises:
        FileNotFoundError: there is no float model.
        InputError: there are no recordings.
        ModelError: the shipped model is missing or damaged.
    """
    quantized = open_model((models or models_directory()) / SPEAKER_FILE)
    if not float_path.is_file():
        raise FileNotFoundError(
            f"{float_path} is missing; run tools/build_models.py, or give --float"
        )
    exact = open_float(float_path, quantized.card)
    parts = [folder / part for part in PARTS if (folder / part).is_dir()] or [folder]
    results = {}
    for part in parts:
        embedders = SpeakerEmbedder(quantized), SpeakerEmbedder(exact)
        results[part.name] = compare(*embed_all(find_items(part), *embedders))
    return {
        "model_sha256": quantized.sha256,
        "size_bytes_int8": quantized.card.size_bytes,
        "size_bytes_float": float_path.stat().st_size,
        "parts": results,
    }


def show(results: dict[str, Any], console: Console) -> None:
    """Print the figures as a table."""
    table = Table(title="int8 against float, all pairs")
    names = list(results["parts"])
    for column in ("", *names):
        table.add_column(column, justify="right" if column else "left")
    rows = (
        ("recordings", "recordings"),
        ("speakers", "speakers"),
        ("equal error rate, float, %", "eer_percent_float"),
        ("equal error rate, int8, %", "eer_percent_int8"),
        ("percentage points worse", "eer_points_worse"),
        ("cosine int8-float, mean", "cosine_int8_float_mean"),
        ("cosine int8-float, least", "cosine_int8_float_min"),
    )
    for title, key in rows:
        table.add_row(title, *(f"{results['parts'][name][key]}" for name in names))
    console.print(table)
    sizes = results["size_bytes_int8"] / 1e6, results["size_bytes_float"] / 1e6
    console.print(f"size: {sizes[0]:.2f} MB int8, {sizes[1]:.2f} MB float")


def main(arguments: list[str]) -> int:
    """Measure and print; exit code 1 if int8 is worse than allowed, 2 without recordings."""
    parser = argparse.ArgumentParser(prog="python -m tools.measure_quantization")
    parser.add_argument("folder", type=Path, help="recordings of several speakers")
    parser.add_argument("--float", type=Path, default=DEFAULT_FLOAT, dest="float_path")
    parser.add_argument("--models", type=Path, default=None, help="folder of the int8 model")
    parser.add_argument(
        "--json", type=Path, default=None, help="also write the figures to this file"
    )
    options = parser.parse_args(arguments)
    try:
        results = measure(options.folder, options.float_path, options.models)
    except (InputError, FileNotFoundError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    show(results, Console())
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    worst = max(part["eer_points_worse"] for part in results["parts"].values())
    return 0 if worst <= ALLOWED_POINTS else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
