"""Embeds voices with Resemblyzer; run by a Python that has it, which needs nothing of this project.

    PYTHON tools/resemblyzer_voices.py IN.npz OUT.npz

IN has mono sound at 16 kHz, each under a name of its own: `person/NAME/NUMBER`, what somebody is
enrolled by, and `stream/NAME`, the speech of a stream. OUT has `person/NAME`, one embedding, and
for each stream `voices/NAME`, the embeddings of 1.6 s each, `ends/NAME`, the sample at which each
ends, and `processor_s/NAME`.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from typing import Any

import numpy as np
import torch
from resemblyzer import VoiceEncoder, normalize_volume, preprocess_wav
from resemblyzer.hparams import audio_norm_target_dBFS

_A_SECOND = 2.0


def main(source: str, target: str) -> None:
    """Embed what is in `source`."""
    torch.set_num_threads(1)
    encoder = VoiceEncoder("cpu", verbose=False)
    found: dict[str, Any] = {}
    people: dict[str, list[Any]] = defaultdict(list)
    with np.load(source) as sounds:
        for key in sounds.files:
            kind, name, *_ = key.split("/")
            if kind == "person":
                people[name].append(preprocess_wav(sounds[key]))
        for name, recordings in people.items():
            found[f"person/{name}"] = encoder.embed_speaker(recordings)
        for key in sounds.files:
            kind, name, *_ = key.split("/")
            if kind != "stream":
                continue
            began = time.process_time()
            samples = normalize_volume(sounds[key], audio_norm_target_dBFS, increase_only=True)
            _, voices, slices = encoder.embed_utterance(
                samples, return_partials=True, rate=_A_SECOND
            )
            found[f"processor_s/{name}"] = time.process_time() - began
            found[f"voices/{name}"] = voices
            found[f"ends/{name}"] = np.array([part.stop for part in slices])
    np.savez(target, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
