"""Converts the trained phrase network to the model file.

    python -m tools.phrase_model.convert WEIGHTS OUTPUT

It is run by `tools.train_phrase_model`, in the environment of `tools/requirements-models.txt`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import litert_torch
import numpy as np
import torch

from tools.models.quantize import quantize_phrase
from tools.phrase_model.network import BANDS, CONTEXT, PhraseNetwork

_TOLERANCE = 1e-3


def convert(weights: Path, output: Path) -> None:
    """Write the 8-bit model, and the float one beside it."""
    network = PhraseNetwork()
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    last = litert_torch.to_channel_last_io(network.eval(), args=[0], outputs=[0]).eval()
    torch.manual_seed(0)
    sample = 5.0 + torch.randn(1, CONTEXT, BANDS, 1)
    converted = litert_torch.convert(last, (sample,))
    with torch.no_grad():
        drift = float(np.abs(converted(sample) - last(sample).numpy()).max())
    print(f"the float model differs from PyTorch by {drift:.1e} at most")
    if drift > _TOLERANCE:
        raise SystemExit(f"the difference is above {_TOLERANCE}: the conversion went wrong")
    plain = output.with_name(f"{output.stem}_float.tflite")
    converted.export(str(plain))
    output.write_bytes(quantize_phrase(plain))


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
