"""Trains the phrase model, on a processor.

    python -m tools.phrase_model.train SPEECH PUBLISHED OUTPUT --steps N

The network begins as Google's speech embedding (PUBLISHED). From noisy and reverberant speech it
learns three things: to give the vectors that the published network gives for the same speech in
quiet; to keep vectors of different sounds apart; and to tell the phonemes (connectionist temporal
classification, A. Graves et al., ICML 2006). OUTPUT gets the weights.

It is run by `tools.train_phrase_model`, in the environment of `tools/requirements-models.txt`.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ai_edge_litert.interpreter import Interpreter
from torch import Tensor
from torch.nn import functional

from edge.features import _hann_window, _slaney_bank, mel_frames
from edge.types import FloatArray
from tools.acoustics.words import KEPT_SPEAKERS
from tools.models.quantize import quantize_phrase
from tools.phrase_model.acoustics import WINDOW, heard, noises, rooms
from tools.phrase_model.network import CONTEXT, DIMENSIONS, STRIDE, PhraseNetwork, published
from tools.phrase_model.speech import Clip, clips, speakers

SEED = 7
BATCH = 24
LEARNING_RATE = 6e-4
AVERAGED = 0.995
"""Share of the averaged weights kept from step to step."""
KEPT_NOISES = ("boiler", "kitchen")
"""Noises that are kept for measuring."""
_OUTPUTS = 1 + (1 + (WINDOW - 512) // 160 - CONTEXT) // STRIDE
_SPEECH_FROM = 6_400
"""Samples at both ends of a clip that are silence for certain."""
_SHOWN = 1_024
_HOP = 4
"""Frames of 10 ms from one target to the next: half of `STRIDE`."""
_TEMPERATURE = 0.1
_SAME_SOUND = 0.7


@dataclass(frozen=True, eq=False)
class Example:
    """A window of speech as heard, and what is to be found in it."""

    samples: FloatArray
    target: FloatArray
    known: Any
    phones: tuple[int, ...]


class Examples:
    """Examples at random."""

    def __init__(self, folder: Path, weights: Path, processes: int) -> None:
        chance = np.random.default_rng(SEED)
        places = speakers(folder, KEPT_SPEAKERS)
        # In 8 bits it is five times as fast, and the vectors are nearly the same.
        network = quantize_phrase(weights)
        with multiprocessing.get_context("fork").Pool(processes) as pool:
            found = pool.starmap(_speaker, [(place, network) for place in places], chunksize=1)
        self._clips = [pair for each in found for pair in each]
        self._rooms = rooms(chance)
        clean = [clip.samples for clip, _ in self._clips if clip.reference is None]
        self._noises = noises(folder / "noise", clean, KEPT_NOISES, chance)

    def draw(self, chance: np.random.Generator) -> Example:
        """One example."""
        clip, target = self._clips[int(chance.integers(len(self._clips)))]
        room = len(clip.samples) - WINDOW
        step = _HOP * 160
        # Whole steps, so that the outputs' moments are the targets'.
        start = int(chance.integers(min(0, room) // step, max(0, room) // step + 1))
        samples = np.zeros(WINDOW, np.float32)
        first = start * step
        inside = clip.samples[max(0, first) : first + WINDOW]
        at = max(0, -first)
        samples[at : at + len(inside)] = inside / np.float32(32_768.0)
        rows = np.arange(_OUTPUTS) * (STRIDE // _HOP) + start
        known = (rows >= 0) & (rows < len(target))
        wanted = target[np.clip(rows, 0, len(target) - 1)].astype(np.float32)
        whole = first <= _SPEECH_FROM and first + WINDOW >= len(clip.samples) - _SPEECH_FROM
        return Example(
            heard(samples, self._rooms, self._noises, chance),
            wanted,
            known,
            clip.phones if whole else (),
        )


def _speaker(place: Path, network: bytes) -> list[tuple[Clip, FloatArray]]:
    """A speaker's clips, each with the vectors of the published network, one every 40 ms."""
    teacher = Interpreter(model_content=network, num_threads=1)
    said = clips(place)
    vectors: list[FloatArray] = []
    for clip in said:
        if clip.reference is not None:
            vectors.append(vectors[clip.reference])
            continue
        frames = mel_frames(clip.samples.astype(np.float32) / np.float32(32_768.0))
        found = np.empty((1 + (len(frames) - CONTEXT) // _HOP, DIMENSIONS), np.float32)
        for shift in range(STRIDE // _HOP):
            rows = found[shift :: STRIDE // _HOP]
            rows[:] = _run(teacher, frames[shift * _HOP :])[: len(rows)]
        found /= np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9)
        vectors.append(found.astype(np.float16))
    return list(zip(said, vectors))


def _run(network: Interpreter, frames: FloatArray) -> FloatArray:
    place = network.get_input_details()[0]["index"]
    network.resize_tensor_input(place, [1, len(frames), frames.shape[1], 1])
    network.allocate_tensors()
    network.set_tensor(place, frames[np.newaxis, :, :, np.newaxis])
    network.invoke()
    found = network.get_tensor(network.get_output_details()[0]["index"])
    return np.asarray(found).reshape(-1, DIMENSIONS)


def _work(examples: Examples, seed: int, out: Any) -> None:
    chance = np.random.default_rng(seed)
    while True:
        batch = [examples.draw(chance) for _ in range(BATCH)]
        out.put(
            (
                np.stack([one.samples for one in batch]),
                np.stack([one.target for one in batch]),
                np.stack([one.known for one in batch]),
                [one.phones for one in batch],
            )
        )


def mel(samples: Tensor) -> Tensor:
    """`edge.features.mel_frames` of a batch, shape (b, n), to (b, t, 32)."""
    frames = samples.unfold(1, 512, 160)[:, :, 56:456] * _window()
    spectrum = torch.fft.rfft(functional.pad(frames, (0, 112)))
    energy = (spectrum.abs() ** 2 @ _bank()).clamp_min(1e-10).log10()
    return torch.maximum(energy, energy.amax(dim=(1, 2), keepdim=True) - 8.0) + 2.0


def _window() -> Tensor:
    return torch.from_numpy(np.asarray(_hann_window()))


def _bank() -> Tensor:
    return torch.from_numpy(np.asarray(_slaney_bank()))


def losses(network: PhraseNetwork, batch: Any, chance: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Distance from the teacher, confusion of sounds, and phonemes not found."""
    samples, target, known, phones = batch
    frames = mel(torch.from_numpy(samples))[:, None]
    with torch.autocast("cpu", torch.bfloat16):
        vectors, symbols = network.both(frames.contiguous(memory_format=torch.channels_last))
    at = torch.from_numpy(known)
    given = functional.normalize(vectors[at], dim=1)
    wanted = functional.normalize(torch.from_numpy(target)[at], dim=1)
    away = 1.0 - (given * wanted).sum(1).mean()

    shown = torch.from_numpy(chance.permutation(len(given))[:_SHOWN])
    given, wanted = given[shown], wanted[shown]
    alike = (wanted @ wanted.T > _SAME_SOUND) & ~torch.eye(len(shown), dtype=torch.bool)
    scores = (given @ wanted.T / _TEMPERATURE).masked_fill(alike, -1e4)
    confused = functional.cross_entropy(scores, torch.arange(len(shown)))

    spoken = [i for i, one in enumerate(phones) if one]
    if not spoken:
        return away, confused, torch.zeros(())
    unheard = functional.ctc_loss(
        symbols[spoken].transpose(0, 1),
        torch.tensor([phone for i in spoken for phone in phones[i]]),
        torch.full((len(spoken),), symbols.shape[1]),
        torch.tensor([len(phones[i]) for i in spoken]),
        zero_infinity=True,
    )
    return away, confused, unheard


def train(
    network: PhraseNetwork,
    examples: Examples,
    steps: int,
    save: Callable[[dict[str, Tensor]], None],
) -> None:
    """Train a network; `save` gets the averaged weights now and then."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)  # the other processor makes the examples
    chance = np.random.default_rng(SEED)
    context = multiprocessing.get_context("fork")
    batches = context.Queue(maxsize=6)
    worker = context.Process(target=_work, args=(examples, SEED + 1, batches), daemon=True)
    worker.start()
    network = network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LEARNING_RATE, total_steps=steps, pct_start=0.1
    )
    average = {name: value.clone() for name, value in network.state_dict().items()}
    shown, began = np.zeros(3), time.monotonic()
    for step in range(1, steps + 1):
        found = losses(network, batches.get(), chance)
        loss = 2.0 * found[0] + 0.25 * found[1] + 0.1 * found[2]
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        kept = min(AVERAGED, 1.0 - 1.0 / step)
        for name, value in network.state_dict().items():
            if value.dtype.is_floating_point:
                average[name].lerp_(value, 1.0 - kept)
        shown += [part.item() for part in found]
        if step % 100 == 0:
            spent = time.monotonic() - began
            print(f"{step} {shown / 100} {spent:.0f} s", flush=True)
            shown[:] = 0.0
        if step % 500 == 0 or step == steps:
            save(average)
    worker.terminate()


def main(arguments: list[str]) -> int:
    """Train, and write the weights."""
    parser = argparse.ArgumentParser(prog="python -m tools.phrase_model.train")
    parser.add_argument("speech", type=Path)
    parser.add_argument("published", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--steps", type=int, required=True)
    options = parser.parse_args(arguments)
    torch.manual_seed(SEED)
    network = published(options.published)
    examples = Examples(options.speech, options.published, processes=2)
    print("examples ready", flush=True)

    def save(weights: dict[str, Tensor]) -> None:
        torch.save(weights, options.output)

    train(network, examples, options.steps, save)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
