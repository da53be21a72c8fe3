"""Converts the published speaker weights; runs in the environment of `build_models`.

    python -m tools.models.convert UNPACKED OUTPUT SPEECH

UNPACKED holds the unpacked source packages. OUTPUT gets the model file, and the same in float that
`measure_quantization` compares with. The second network is reduced on SPEECH, `SPEAKER/*.ogg`.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import litert_torch
import numpy as np
import soundfile
import torch

from edge.features import log_mel, remove_mean
from edge.inference.model import new_interpreter
from edge.types import SAMPLE_RATE
from tools.models.campplus import BANDS, DIMENSIONS, MOST_FRAMES, CampPlus
from tools.models.ecapa import Ecapa, find_components
from tools.models.free_length import join
from tools.models.joined import Joined
from tools.models.quantize import quantize_speaker
from tools.models.sources import (
    CHECKPOINT,
    ECAPA_CHECKPOINT,
    FLOAT_SPEAKER,
    REFERENCE,
    SHORTEST,
)

_TOLERANCE = 1e-4
_EXAMPLES = 150
_LENGTHS = (MOST_FRAMES, SHORTEST, 150, 201, 202, 300)
"""Frames at which a conversion is compared with the network."""


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
        for frames in _LENGTHS:
            features = 3.0 * torch.randn(2, frames, BANDS, generator=generator)
            worst = max(worst, float((network(features) - reference(features)).abs().max()))
    return worst


def examples(speech: Path) -> Iterator[torch.Tensor]:
    """Features of some recordings, every second one in noise of 5 to 25 dB.

    Raises:
        SystemExit: there are none.
    """
    files = sorted(speech.glob("*/*.ogg"))
    if not files:
        raise SystemExit(f"{speech}: no SPEAKER/*.ogg to reduce the second network on")
    generator = np.random.default_rng(0)
    for number, place in enumerate(generator.permutation(len(files))[:_EXAMPLES]):
        samples, rate = soundfile.read(files[place], frames=3 * SAMPLE_RATE, dtype="float32")
        if rate != SAMPLE_RATE:
            raise SystemExit(f"{files[place]}: {rate} Hz, not {SAMPLE_RATE}")
        if number % 2:
            level = np.sqrt(np.mean(np.square(samples))) * 10 ** -generator.uniform(0.25, 1.25)
            samples = samples + level * generator.standard_normal(len(samples))
        yield torch.from_numpy(remove_mean(log_mel(samples.astype(np.float32))))[None]


def converted(network: torch.nn.Module, frames: int) -> bytes:
    """The network as a TensorFlow Lite model for one length."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.tflite"
        litert_torch.convert(network, (torch.zeros(1, frames, BANDS),)).export(str(file))
        return file.read_bytes()


def difference_in_tensorflow_lite(network: torch.nn.Module, file: Path) -> float:
    """Largest difference between the network and a model file of it, at several lengths."""
    interpreter = new_interpreter(file, threads=1)
    worst = 0.0
    for frames in _LENGTHS:
        sample = torch.randn(1, frames, BANDS, generator=torch.Generator().manual_seed(frames))
        index = interpreter.get_input_details()[0]["index"]
        interpreter.resize_tensor_input(index, list(sample.shape))
        interpreter.allocate_tensors()
        interpreter.set_tensor(index, sample.numpy())
        interpreter.invoke()
        found = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
        with torch.no_grad():
            worst = max(worst, float(np.abs(found - network(sample).numpy()).max()))
    return worst


def joined(first: CampPlus, checkpoint: Path, speech: Path) -> Joined:
    """Both networks, the second one with the published weights, reduced on speech."""
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    network = Joined(first, Ecapa(state, find_components(state, examples(speech))))
    network.eval()
    return network


def convert(unpacked: Path, output: Path, speech: Path) -> None:
    """Build the model file."""
    first, state = load_network(unpacked / CHECKPOINT)
    difference = difference_from_reference(first, state, unpacked / REFERENCE)
    print(f"CAM++ differs from the package's own by {difference:.1e} at most")
    if difference > _TOLERANCE:
        raise SystemExit(
            f"the difference is above {_TOLERANCE}: the network is not the published one"
        )
    network = joined(first, unpacked / ECAPA_CHECKPOINT, speech)
    output.mkdir(parents=True, exist_ok=True)
    float_speaker = output / FLOAT_SPEAKER
    float_speaker.write_bytes(join(*(converted(network, SHORTEST + more) for more in (0, 4))))
    drift = difference_in_tensorflow_lite(network, float_speaker)
    print(f"the float TensorFlow Lite model differs from PyTorch by {drift:.1e} at most")
    if drift > _TOLERANCE:
        raise SystemExit(f"the difference is above {_TOLERANCE}: the conversion went wrong")
    speaker = quantize_speaker(float_speaker)
    (output / "speaker_embedding.tflite").write_bytes(speaker)


if __name__ == "__main__":
    convert(*map(Path, sys.argv[1:]))
