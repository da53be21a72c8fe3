"""CAM++, the speaker network, as a PyTorch module for a TensorFlow Lite graph of free length.

Written from H. Wang et al., "CAM++: A Fast and Efficient Network for Speaker Verification Using
Context-Aware Masking", arXiv 2303.00332 (section 2 and table 1), around the published checkpoint,
whose tensors it takes by name. A residual 2-D front end shrinks the 80 bands by 8; a time-delay
layer halves the frame rate; three densely connected blocks follow, each of whose layers masks its
output by the context of its segment and of the whole window; mean and standard deviation over time
lead to 192 numbers.

Three things differ from a textbook module, for the device's sake. Batch normalizations after a
linear layer are folded into it. The segment means, and how many frames there are, are computed from
the input, so that no length is written into the graph (`free_length`). And the weights of each
output of a linear layer are divided by their largest magnitude, and the outputs multiplied by it
afterwards, which costs almost nothing: 8-bit integers with a single scale per layer are then as
precise as with one scale per output. tflite-runtime 2.14 computes fully connected layers correctly
only with a single scale.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

BANDS = 80
DIMENSIONS = 192
SEGMENT = 100
"""Frames (after the frame rate is halved) that share a mask context: 2 s."""
MOST_FRAMES = 4 * SEGMENT
"""Longest window: two segments."""

_EPSILON = 1e-5
_NOTHING = 1e-30
"""What an activation is multiplied by to give less than 1 can tell: the converter folds a zero."""
_BLOCKS = ((12, 1), (24, 2), (16, 2))
"""Layers and dilation of the three dense blocks."""

State = Mapping[str, Tensor]


def _scale_and_shift(state: State, name: str) -> tuple[Tensor, Tensor]:
    """A batch normalization in inference: `y = x * scale + shift`."""
    mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    scale = torch.rsqrt(variance + _EPSILON)
    if f"{name}.weight" in state:
        scale = scale * state[f"{name}.weight"]
    shift = -mean * scale
    if f"{name}.bias" in state:
        shift = shift + state[f"{name}.bias"]
    return scale, shift


class _Affine(nn.Module):  # type: ignore[misc,unused-ignore]
    """Normalization and rectifier before a linear layer, where folding is impossible.

    `reads` is the factor from the stored inputs to the network's own.
    """

    def __init__(self, state: State, name: str, reads: Tensor) -> None:
        super().__init__()
        scale, shift = _scale_and_shift(state, name)
        self.register_buffer("scale", scale * reads)
        self.register_buffer("shift", shift)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x * self.scale + self.shift)


class _Convolution(nn.Module):  # type: ignore[misc,unused-ignore]
    """A 2-D convolution that keeps the frames, its normalization folded in."""

    def __init__(self, state: State, name: str, norm: str, stride: int = 1) -> None:
        super().__init__()
        weight = state[f"{name}.weight"]
        scale, shift = _scale_and_shift(state, norm)
        self.register_buffer("weight", weight * scale[:, None, None, None])
        self.register_buffer("bias", shift)
        self._stride = (stride, 1)
        self._padding = weight.shape[-1] // 2

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.weight, self.bias, self._stride, self._padding)


class _Linear(nn.Module):  # type: ignore[misc,unused-ignore]
    """A linear layer over channels, each frame alone; a normalization that follows is folded in.

    Attributes:
        scale: the factor from the stored outputs to the network's own.
    """

    def __init__(
        self,
        state: State,
        name: str,
        norm: str | None = None,
    ) -> None:
        super().__init__()
        weight = state[f"{name}.weight"].squeeze(2)
        bias = state.get(f"{name}.bias")
        if norm is not None:
            scale, shift = _scale_and_shift(state, norm)
            weight = weight * scale[:, None]
            bias = shift if bias is None else bias * scale + shift
        self.register_buffer("scale", weight.abs().amax(dim=1))
        self.register_buffer("weight", weight / self.scale[:, None])
        self.register_buffer("bias", None if bias is None else bias / self.scale)

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight, self.bias)


class _Taps(nn.Module):  # type: ignore[misc,unused-ignore]
    """A dilated convolution over time of three taps."""

    def __init__(self, state: State, name: str, dilation: int) -> None:
        super().__init__()
        self.register_buffer("weight", state[f"{name}.weight"][:, :, None])
        self._dilation = dilation

    def forward(self, x: Tensor) -> Tensor:
        padding, dilation = (0, self._dilation), (1, self._dilation)
        moved = x.permute(0, 3, 1, 2)
        found = functional.conv2d(moved, self.weight, padding=padding, dilation=dilation)
        return found.permute(0, 2, 3, 1)


class _Halving(nn.Module):  # type: ignore[misc,unused-ignore]
    """A time-delay layer of five taps and stride 2, its normalization folded in."""

    def __init__(self, state: State, name: str, norm: str) -> None:
        super().__init__()
        scale, shift = _scale_and_shift(state, norm)
        weight = state[f"{name}.weight"] * scale[:, None, None]
        self.register_buffer("weight", weight[:, :, None, :])
        self.register_buffer("bias", shift)

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.weight, self.bias, (1, 2), (0, 2))


class _Residual(nn.Module):  # type: ignore[misc,unused-ignore]
    """Two 3 x 3 convolutions beside a shortcut; `stride` thins the bands, never the frames."""

    def __init__(self, state: State, name: str, stride: int) -> None:
        super().__init__()
        self.first = _Convolution(state, f"{name}.conv1", f"{name}.bn1", stride)
        self.second = _Convolution(state, f"{name}.conv2", f"{name}.bn2")
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1:
            self.shortcut = _Convolution(state, f"{name}.shortcut.0", f"{name}.shortcut.1", stride)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.second(torch.relu(self.first(x))) + self.shortcut(x))


@dataclass(frozen=True)
class _Segments:
    """Which frames are in the first and the second segment.

    Attributes:
        members: 1 where a frame is in a segment, else 0, shape (n, 1, frames, 2).
        weights: the same, so that the frames of a segment add up to 1, or to 0 where there are
            none, shape (n, 1, 2, frames).
        length: how many frames there are, shape (n, 1, 1).
    """

    members: Tensor
    weights: Tensor
    length: Tensor

    @classmethod
    def of(cls, x: Tensor) -> _Segments:
        """Of as many frames as `x`, of the shape (n, 1, frames, channels), has."""
        ones = x[..., :1] * _NOTHING + 1.0
        second = torch.clamp(torch.cumsum(ones, dim=2) - SEGMENT, 0.0, 1.0)
        members = torch.cat([1.0 - second, second], dim=3)
        counts = torch.clamp(members.sum(dim=2, keepdim=True), min=1.0)
        return cls(members, (members / counts).transpose(2, 3), ones.sum(dim=2))


class _MaskedLayer(nn.Module):  # type: ignore[misc,unused-ignore]
    """One layer of a dense block: bottleneck, dilated convolution, context-aware mask."""

    def __init__(self, state: State, name: str, dilation: int, reads: Tensor) -> None:
        super().__init__()
        self.enter = _Affine(state, f"{name}.nonlinear1.batchnorm", reads)
        self.bottleneck = _Linear(state, f"{name}.linear1", f"{name}.nonlinear2.batchnorm")
        mask = f"{name}.cam_layer"
        self.local = _Taps(state, f"{mask}.linear_local", dilation)
        self.squeeze = _Linear(state, f"{mask}.linear1")
        self.gate = _Linear(state, f"{mask}.linear2")

    def forward(self, x: Tensor, segments: _Segments) -> Tensor:
        hidden = torch.relu(self.bottleneck(self.enter(x))) * self.bottleneck.scale
        context = hidden.mean(dim=2, keepdim=True) + torch.matmul(segments.weights, hidden)
        squeezed = torch.relu(self.squeeze(context)) * self.squeeze.scale
        masks = torch.sigmoid(self.gate(squeezed) * self.gate.scale)
        return self.local(hidden) * torch.matmul(segments.members, masks)


class CampPlus(nn.Module):  # type: ignore[misc,unused-ignore]
    """The network with its weights, for windows of up to `MOST_FRAMES` frames."""

    def __init__(self, state: State) -> None:
        """Take the weights from the published checkpoint's state dictionary."""
        super().__init__()
        self.front = nn.Sequential(
            _Convolution(state, "head.conv1", "head.bn1"),
            nn.ReLU(),
            _Residual(state, "head.layer1.0", 2),
            _Residual(state, "head.layer1.1", 1),
            _Residual(state, "head.layer2.0", 2),
            _Residual(state, "head.layer2.1", 1),
            _Convolution(state, "head.conv2", "head.bn2", 2),
            nn.ReLU(),
        )
        self.halve = _Halving(state, "xvector.tdnn.linear", "xvector.tdnn.nonlinear.batchnorm")
        self.blocks = nn.ModuleList()
        self.between = nn.ModuleList()
        reads = torch.ones(self.halve.bias.shape)
        for number, (count, dilation) in enumerate(_BLOCKS, start=1):
            layers = nn.ModuleList()
            for index in range(1, count + 1):
                name = f"xvector.block{number}.tdnnd{index}"
                layers.append(_MaskedLayer(state, name, dilation, reads))
                reads = torch.cat([reads, torch.ones(layers[-1].local.weight.shape[0])])
            self.blocks.append(layers)
            transit = f"xvector.transit{number}"
            norm = "xvector.out_nonlinear.batchnorm" if number == len(_BLOCKS) else None
            linear = _Linear(state, f"{transit}.linear", norm)
            enter = _Affine(state, f"{transit}.nonlinear.batchnorm", reads)
            self.between.append(nn.Sequential(enter, linear))
            reads = linear.scale
        self.last = _Linear(state, "xvector.dense.linear", "xvector.dense.nonlinear.batchnorm")
        self.register_buffer("scale", reads)

    def forward(self, features: Tensor) -> Tensor:
        """Embed windows.

        Args:
            features: log-mel features without their mean, shape (n, frames, 80).

        Returns:
            Embeddings, not normalized, shape (n, 192).
        """
        x = self.front(features.transpose(1, 2)[:, None])
        # One row of channels per frame: from here on every layer is a product over the last axis.
        x = torch.relu(self.halve(x.reshape(x.shape[0], -1, 1, x.shape[3])))
        x = x.permute(0, 2, 3, 1)
        segments = _Segments.of(x)
        for block, between in zip(self.blocks, self.between):
            for layer in block:
                x = torch.cat([x, layer(x, segments)], dim=3)
            x = between(x)
        x = torch.relu(x) * self.scale
        mean = x.mean(dim=2, keepdim=True)
        variance = torch.square(x - mean).sum(dim=2) / (segments.length - 1.0)
        pooled = torch.cat([mean[:, :, 0], torch.sqrt(variance)], dim=2)[:, 0]
        return self.last(pooled) * self.last.scale
