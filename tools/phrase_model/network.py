"""The phrase network: convolutions from mel frames to a vector and phonemes, every 40 ms.

It sees 49 frames of 10 ms, half a second, so that it need not wait long for what comes after. No
layer pads in time: a whole utterance in one pass gives what window after window would.

The layers along time are written as sums of matrix products, which processors with 16-bit matrix
units train several times faster than as convolutions. `exportable` is the same network made of
convolutions alone, with the normalizations folded in.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tools.phrase_model.speech import PHONES

BANDS = 32
DIMENSIONS = 96
SYMBOLS = len(PHONES) + 1
"""Phonemes and, first, the blank."""
CONTEXT = 49
"""Frames seen by one output."""
STRIDE = 4
_FRONT = ((1, 32, (5, 3), (2, 2)), (32, 64, (3, 3), (2, 1)), (64, 64, (3, 3), (1, 2)))
_FRONT_BANDS = 6
_WIDTH = 448
_DEPTH = 3


class _TimeProduct(torch.autograd.Function):
    """A convolution of rows, shape (n, i), with a kernel, shape (k, i, o)."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, kernel: Tensor) -> Tensor:
        kernel = kernel.to(rows.dtype)
        count = len(rows) - len(kernel) + 1
        product = rows[:count] @ kernel[0]
        for shift in range(1, len(kernel)):
            product.addmm_(rows[shift : shift + count], kernel[shift])
        ctx.save_for_backward(rows, kernel)
        return product

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        rows, kernel = ctx.saved_tensors
        gradient = gradients[0].contiguous()
        count = len(gradient)
        to_rows = torch.zeros_like(rows)
        to_kernel = torch.empty(kernel.shape)
        for shift in range(len(kernel)):
            to_rows[shift : shift + count].addmm_(gradient, kernel[shift].T)
            to_kernel[shift] = (rows[shift : shift + count].T @ gradient).float()
        return to_rows, to_kernel


class _Front(nn.Module):
    def __init__(
        self, inputs: int, outputs: int, kernel: tuple[int, int], stride: tuple[int, int]
    ) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, kernel, stride, bias=False)
        self.normal = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.convolution.weight.to(x.dtype)
        return F.relu(self.normal(F.conv2d(x, weight, None, self.convolution.stride)))


class _Time(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(3, inputs, outputs) * (2 / (3 * inputs)) ** 0.5)
        self.normal = nn.BatchNorm1d(outputs)

    def forward(self, rows: Tensor) -> Tensor:
        product: Tensor = _TimeProduct.apply(rows, self.kernel)
        return F.relu(self.normal(product))


class PhraseNetwork(nn.Module):
    """From mel frames, shape (b, t, 32), to vectors and logarithms of phoneme probabilities."""

    def __init__(self) -> None:
        super().__init__()
        self.level = nn.BatchNorm2d(1)
        self.front = nn.Sequential(*(_Front(*layer) for layer in _FRONT))
        inputs = _FRONT_BANDS * _FRONT[-1][1]
        self.time = nn.Sequential(
            _Time(inputs, _WIDTH), *(_Time(_WIDTH, _WIDTH) for _ in range(_DEPTH))
        )
        self.head = nn.Linear(_WIDTH, DIMENSIONS + SYMBOLS)

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors, shape (b, n, 96), and log-probabilities, shape (b, n, symbols)."""
        x = self.level(frames[:, None]).to(torch.bfloat16)
        x = self.front(x.contiguous(memory_format=torch.channels_last))
        batch, channels, times, bands = x.shape
        rows = x.permute(0, 2, 3, 1).reshape(batch * times, bands * channels)
        # Rows of one recording run into the next one's; the last ones of each are cut off.
        rows = self.time(rows)
        lost = 2 * len(self.time)
        out = self.head(F.pad(rows.float(), (0, 0, 0, lost))).view(batch, times, -1)
        out = out[:, : times - lost]
        return out[..., :DIMENSIONS], F.log_softmax(out[..., DIMENSIONS:], dim=2)


def exportable(network: PhraseNetwork) -> nn.Sequential:
    """Convolutions alone, from (b, 1, t, 32) to (b, 96 + symbols, n, 1); no log-softmax."""
    layers: list[nn.Module] = []
    scale, shift = _affine(network.level)
    for number, front in enumerate(network.front):
        old: nn.Conv2d = front.convolution
        layer = nn.Conv2d(old.in_channels, old.out_channels, old.kernel_size, old.stride)
        weight = old.weight.detach().clone()
        bias = torch.zeros(old.out_channels)
        if number == 0:
            bias = weight.sum(dim=(1, 2, 3)) * shift
            weight = weight * scale
        _fold(layer, weight, bias, front.normal)
        layers += [layer, nn.ReLU()]
    for number, time in enumerate(network.time):
        kernel = time.kernel.detach()
        width, inputs, outputs = kernel.shape
        bands = _FRONT_BANDS if number == 0 else 1
        layer = nn.Conv2d(inputs // bands, outputs, (width, bands))
        weight = kernel.view(width, bands, inputs // bands, outputs).permute(3, 2, 0, 1)
        _fold(layer, weight, torch.zeros(outputs), time.normal)
        layers += [layer, nn.ReLU()]
    head = nn.Conv2d(_WIDTH, DIMENSIONS + SYMBOLS, 1)
    head.weight.data = network.head.weight.detach()[:, :, None, None].clone()
    head.bias.data = network.head.bias.detach().clone()
    return nn.Sequential(*layers, head).eval()


def _affine(normal: Any) -> tuple[Tensor, Tensor]:
    scale = normal.weight.detach() / torch.sqrt(normal.running_var + normal.eps)
    return scale, normal.bias.detach() - normal.running_mean * scale


def _fold(layer: nn.Conv2d, weight: Tensor, bias: Tensor, normal: Any) -> None:
    scale, shift = _affine(normal)
    layer.weight.data = (weight * scale[:, None, None, None]).contiguous()
    layer.bias = nn.Parameter(bias * scale + shift)
