"""The cards of the built models."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from tools.models.sources import CHECKPOINT, ECAPA_CHECKPOINT, PACKAGES, PHRASE_NETWORK

TRAINING = {
    "command": "python -m tools.train_phrase_model SPEECH",
    "seed": 7,
    "speech": "speechocean762 (J. Zhang et al., Interspeech 2021), CC BY 4.0; Arabic Speech "
    "Commands (A. Ghandoura et al., 2021), CC BY 4.0, ten of its speakers",
    "noise": "ESC-10 (K. J. Piczak, 2015), CC BY 3.0; made noise, voices and rooms",
}
"""How the phrase model was trained."""
RUNTIMES = ["ai-edge-litert 2.3", "tflite-runtime 2.14"]
CREDIT = (
    "Figures and thresholds are measured on speechocean762 (J. Zhang et al., Interspeech 2021), "
    "CC BY 4.0; no recording is needed to quantize"
)
QUANTIZATION = (
    "dynamic-range int8: weights as 8-bit integers, activations quantized as they come, "
    "input and output float32"
)


def _source(file: str, upstream: str) -> dict[str, Any]:
    package = next(each for each in PACKAGES if file in dict(each.files))
    return {
        "package": package.name,
        "version": package.version,
        "file": file,
        "sha256": dict(package.files)[file],
        "upstream": upstream,
    }


TEXTS: dict[str, dict[str, Any]] = {
    "speaker_embedding": {
        "name": "speaker-embedding",
        "task": "a voice as one vector; the cosine of two tells whether they are the same voice",
        "license": "Apache-2.0",
        "sources": [
            _source(
                CHECKPOINT,
                "CAM++ (arXiv 2303.00332), trained on 200,000 Chinese and English speakers by "
                "3D-Speaker, Alibaba (github.com/modelscope/3D-Speaker, model "
                "iic/speech_campplus_sv_zh_en_16k-common_advanced)",
            ),
            _source(
                ECAPA_CHECKPOINT,
                "ECAPA-TDNN (arXiv 2005.07143), trained on the 7,205 speakers of VoxCeleb by "
                "SpeechBrain (huggingface.co/speechbrain/spkrec-ecapa-voxceleb); its wide layers "
                "reduced to their main directions, found on speechocean762",
            ),
        ],
        "input": {
            "name": "features",
            "shape": [1, None, 80],
            "dtype": "float32",
            "meaning": "window, frames of 10 ms (8 to 400), mel bands: natural logarithm of the "
            "energy at 16-bit scale, the mean over the utterance removed",
        },
        "output": {
            "name": "embedding",
            "shape": [1, 384],
            "dtype": "float32",
            "meaning": "window, dimension: 192 of the first network and 192 of the second, of unit "
            "length together",
        },
        "quantization": QUANTIZATION + "; one scale for a fully connected layer, its outputs "
        "evened out beforehand, and one for each output of a convolution",
    },
    "phrase_embedding": {
        "name": "phrase-embedding",
        "task": "what is said, as one vector for each 0.76 s of sound, every 80 ms; trained to be "
        "the same in noise, in rooms and in other moods",
        "license": "Apache-2.0",
        "sources": [
            _source(
                PHRASE_NETWORK,
                "begun from the speech embedding by Google (J. Lin et al., arXiv 2002.01322), as "
                "the openWakeWord project distributes it (github.com/dscripka/openWakeWord), and "
                "trained further by tools/train_phrase_model.py",
            )
        ],
        "input": {
            "name": "frames",
            "shape": [1, None, 32, 1],
            "dtype": "float32",
            "meaning": "window, frames of 10 ms (76 or more), mel bands from 60 Hz to 3.8 kHz as "
            "decibels / 10 + 2, channel",
        },
        "output": {
            "name": "embedding",
            "shape": [1, None, 1, 96],
            "dtype": "float32",
            "meaning": "window, moment (one every 80 ms, each seeing 76 frames), band, dimension; "
            "without unit",
        },
        "quantization": QUANTIZATION + "; one scale for each output of a convolution",
    },
}


def card(
    name: str, model: Path, former: dict[str, Any], measured: dict[str, Any]
) -> dict[str, Any]:
    """The card of a newly built model.

    Args:
        name: which of `TEXTS`.
        model: its file.
        former: the present card, or an empty one; its operating points and figures stay if it
            describes the same file.
        measured: new figures; empty to keep the former ones.

    Returns:
        The card's document.
    """
    content = model.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    same = former.get("sha256") == digest
    text = TEXTS[name]
    return {
        "name": text["name"],
        "task": text["task"],
        "file": f"{name}.tflite",
        "sha256": digest,
        "size_bytes": len(content),
        "license": text["license"],
        "sources": text["sources"],
        "input": text["input"],
        "output": text["output"],
        "quantization": text["quantization"],
        "runtimes": RUNTIMES,
        "credit": CREDIT,
        "measured": measured or (former.get("measured", {}) if same else {}),
        "operating_points": former.get("operating_points", {}) if same else {},
        # Kept even for another file: the hash in it shows that it does not apply.
        "calibration": former.get("calibration", {}),
    }


def write(path: Path, document: dict[str, Any]) -> None:
    """Write a card as readable JSON."""
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8")


def read(path: Path) -> dict[str, Any]:
    """The present card; empty if there is none."""
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document
