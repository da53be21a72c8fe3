"""The phrase network: Google's speech embedding (J. Lin et al., arXiv 2002.01322), to train on.

It begins with the published weights, read from the TensorFlow Lite file. No layer pads in time: a
whole utterance in one pass gives what window after window would.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from ai_edge_litert.interpreter import Interpreter
from torch import Tensor, nn

from tools.phrase_model.speech import PHONES

BANDS = 32
DIMENSIONS = 96
CONTEXT = 76
"""Frames of 10 ms seen by one vector."""
STRIDE = 8
"""Frames from one vector to the next."""
SYMBOLS = len(PHONES) + 1
"""Phonemes and, first, the blank."""

_CHANNELS = (24, 48, 72, 96, 96)
_POOLS = ((2, 2), (1, 2), (2, 2), (1, 2), (2, 2))
_LEAK = 0.2
_LEAST = -0.4


class _Activation(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        """As published: a leaky rectifier that does not fall below -0.4."""
        return torch.maximum(nn.functional.leaky_relu(x, _LEAK), x.new_full((), _LEAST))


class PhraseNetwork(nn.Module):
    """From mel frames, shape (b, 1, t, 32), to vectors, shape (b, 96, n, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        before = 1
        for number, (channels, pool) in enumerate(zip(_CHANNELS, _POOLS)):
            layers: list[nn.Module] = []
            if number == 0:
                layers += [nn.Conv2d(1, channels, 3, padding=(0, 1)), _Activation()]
                pairs = 1
            else:
                pairs = 2
            for pair in range(pairs):
                given = before if pair == 0 and number else channels
                layers += [nn.Conv2d(given, channels, (1, 3), padding=(0, 1)), _Activation()]
                layers += [nn.Conv2d(channels, channels, (3, 1)), _Activation()]
            layers.append(nn.MaxPool2d(pool, pool))
            self.stages.append(nn.Sequential(*layers))
            before = channels
        self.last = nn.Conv2d(before, DIMENSIONS, (3, 1))
        self.phones = nn.Conv2d(before, SYMBOLS, (1, 2))

    def forward(self, x: Tensor) -> Tensor:
        """Vectors, shape (b, 96, n, 1)."""
        for stage in self.stages:
            x = stage(x)
        found: Tensor = self.last(x)
        return found

    def both(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors, shape (b, n, 96), and log-probabilities of symbols, shape (b, m, symbols)."""
        for stage in self.stages[:-1]:
            x = stage(x)
        final = self.stages[-1]
        x = final[:-1](x)
        symbols = self.phones(x)[..., 0].transpose(1, 2).float()
        vectors = self.last(final[-1](x))[..., 0].transpose(1, 2).float()
        return vectors, nn.functional.log_softmax(symbols, dim=2)


def published(path: Path) -> PhraseNetwork:
    """The network with the published weights."""
    reader = Interpreter(str(path), experimental_preserve_all_tensors=True)
    reader.allocate_tensors()
    network = PhraseNetwork()
    convolutions = [
        layer for stage in network.stages for layer in stage if isinstance(layer, nn.Conv2d)
    ]
    convolutions.append(network.last)
    operations = [one for one in reader._get_ops_details() if one["op_name"] == "CONV_2D"]
    if len(operations) != len(convolutions):
        raise SystemExit(f"{path} is not the network expected: {len(operations)} convolutions")
    for layer, operation in zip(convolutions, operations):
        _, weight, bias = (np.asarray(reader.get_tensor(i)) for i in operation["inputs"])
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(weight).permute(0, 3, 1, 2))
            layer.bias.copy_(torch.from_numpy(bias))
    return network
