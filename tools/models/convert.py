"""Converts the published speaker weights; runs in the environment of `build_models`.

    python -m tools.models.convert UNPACKED OUTPUT

UNPACKED holds the unpacked source packages. OUTPUT gets the model file and the float CAM++ that
`measure_quantization` compares with.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import litert_torch
import numpy as np
import torch

from tools.models.campplus import BANDS, DIMENSIONS, CampPlus
from tools.models.quantize import quantize_speaker
from tools.models.sources import CHECKPOINT, FLOAT_SPEAKER, REFERENCE, WINDOW

_TOLERANCE = 1e-4


def load_network(checkpoint: Path) -> tuple[CampPlus, dict[str, Any]]:
    """CAM++ with the published weights.

    Args:
        checkpoint: the published file, loaded as tensors only, without running code in it.

    Returns:
        The network, ready to run, and its state dictionary.
    """
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    return CampPlus(state).eval(), state


def difference_from_reference(network: CampPlus, state: dict[str, Any], source: Path) -> float:
    """Largest difference between our CAM++ and the package's own, on random features.

    Args:
        network: ours.
        state: the published weights.
        source: the package's module; it is imported.

    Returns:
        Largest absolute difference of any output.
    """
    spec = importlib.util.spec_from_file_location("reference", source)
    if spec is None or spec.loader is None:
        raise RuntimeError(f"{source} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    reference = module.CAMPPlus(BANDS, DIMENSIONS)
    reference.load_state_dict(state)
    reference.eval()
    # The package adds a rectifier after the last normalization. The network was trained and
    # published without it, and it would discard half of every embedding.
    reference.xvector.dense.nonlinear.relu = torch.nn.Identity()
    generator = torch.Generator().manual_seed(0)
    worst = 0.0
    with torch.no_grad():
        for frames in (WINDOW // 2, WINDOW):
            features = 3.0 * torch.randn(2, frames, BANDS, generator=generator)
            worst = max(worst, float((network(features) - reference(features)).abs().max()))
    return worst


def convert(unpacked: Path, output: Path) -> None:
    """Build the model file."""
    network, state = load_network(unpacked / CHECKPOINT)
    difference = difference_from_reference(network, state, unpacked / REFERENCE)
    print(f"CAM++ differs from the package's own by {difference:.1e} at most")
    if difference > _TOLERANCE:
        raise SystemExit(
            f"the difference is above {_TOLERANCE}: the network is not the published one"
        )
    torch.manual_seed(0)
    sample = torch.randn(1, WINDOW, BANDS)
    converted = litert_torch.convert(network, (sample,))
    with torch.no_grad():
        drift = float(np.abs(converted(sample) - network(sample).numpy()).max())
    print(f"the float TensorFlow Lite model differs from PyTorch by {drift:.1e} at most")
    if drift > _TOLERANCE:
        raise SystemExit(f"the difference is above {_TOLERANCE}: the conversion went wrong")
    output.mkdir(parents=True, exist_ok=True)
    converted.export(str(output / FLOAT_SPEAKER))
    speaker = quantize_speaker(output / FLOAT_SPEAKER)
    (output / "speaker_embedding.tflite").write_bytes(speaker)


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
