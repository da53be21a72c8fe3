"""ECAPA-TDNN, the second speaker network, as a PyTorch module for a graph of free length.

Written from B. Desplanques et al., "ECAPA-TDNN: Emphasized Channel Attention, Propagation and
Aggregation in TDNN Based Speaker Verification", Interspeech 2020 (arXiv 2005.07143), around the
checkpoint published by SpeechBrain, whose tensors it takes by name. A convolution over five frames
is followed by three blocks, each of which mixes neighboring frames in eight groups of channels one
after another and weights its channels by their means; all three together are pooled into weighted
means and standard deviations, and these into 192 numbers.

It takes the other network's features, of which its own are a multiple but for the shape of the
bands. Three things differ from a textbook module, for the device's sake. What its wide layers give
lies in few directions (`components`), so each is two narrow ones: half of the weights, and voices
are told apart about as well. Frames beyond the ends are zeros, not a reflection. And the weights of
linear layers are evened out, as `campplus` does it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

BLOCK_DIRECTIONS = 256
"""Directions that are kept of what a layer of a block gives, of 1,024."""
POOL_DIRECTIONS = 384
"""Those of what is pooled, of 3,072."""

_GROUPS = 8
_POOLED_PARTS = 4
"""What is pooled is pooled in so many parts, one after another: a quarter of the memory."""
_DILATIONS = (2, 3, 4)
_EPSILON = 1e-5
_LEAST_VARIANCE = 1e-12
_DECIBELS = 10.0 / math.log(10.0)
"""Its features are decibels, the other network's natural logarithms."""

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class Components:
    """The main directions of what a layer gives.

    Attributes:
        mean: what it gives on average, shape (outputs,).
        basis: orthonormal columns, shape (outputs, directions).
    """

    mean: Tensor
    basis: Tensor


def _weights(state: State, name: str) -> tuple[Tensor, Tensor]:
    """Weights, shape (outputs, inputs), and biases of a layer that sees each frame alone."""
    return state[f"{name}.conv.weight"][:, :, 0], state[f"{name}.conv.bias"]


def _scale_and_shift(state: State, norm: str) -> tuple[Tensor, Tensor]:
    """A batch normalization in inference: `y = x * scale + shift`."""
    scale = state[f"{norm}.weight"] * torch.rsqrt(state[f"{norm}.running_var"] + _EPSILON)
    return scale, state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale


class _Linear(nn.Module):  # type: ignore[misc,unused-ignore]
    """A linear layer over the last axis, the weights of each output divided by their largest.

    What it gives is to be multiplied by `scale`. See `campplus` for why.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("scale", weight.abs().amax(dim=1))
        self.register_buffer("weight", (weight / self.scale[:, None]).contiguous())
        self.register_buffer("bias", None if bias is None else bias / self.scale)

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight, self.bias)


class _Normalized(nn.Module):  # type: ignore[misc,unused-ignore]
    """A rectifier, and a batch normalization in inference."""

    def __init__(self, scale: Tensor, shift: Tensor) -> None:
        super().__init__()
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x) * self.scale + self.shift


class _Wide(nn.Module):  # type: ignore[misc,unused-ignore]
    """A linear layer over channels, each frame alone, a rectifier and a normalization.

    With its `components` it is two narrow layers in place of a wide one. Its channels come in
    `parts`: to cut them apart later would keep the graph from the runtime's fast kernels.
    """

    def __init__(
        self, state: State, name: str, components: Components | None, parts: int = 1
    ) -> None:
        super().__init__()
        weight, bias = _weights(state, f"{name}.conv")
        self.enter: _Linear | None = None
        if components is not None:
            mean, basis = components.mean.double(), components.basis.double()
            self.enter = _Linear((basis.T @ weight.double()).float())
            bias = (mean + basis @ (basis.T @ (bias.double() - mean))).float()
            weight = basis.float()
        pieces = (each.chunk(parts) for each in (weight, bias))
        self.leave = nn.ModuleList(_Linear(*piece) for piece in zip(*pieces))
        pieces = (each.chunk(parts) for each in _scale_and_shift(state, f"{name}.norm.norm"))
        # What evened out the weights is put back after the rectifier: before it, the converter
        # would multiply it into them again.
        self.normalize = nn.ModuleList(
            _Normalized(scale * leave.scale, shift)
            for leave, scale, shift in zip(self.leave, *pieces)
        )

    def _entered(self, x: Tensor) -> Tensor:
        return x if self.enter is None else self.enter(x) * self.enter.scale

    def given(self, x: Tensor) -> Tensor:
        """What the layer gives before the rectifier."""
        x = self._entered(x)
        return torch.cat([leave(x) * leave.scale for leave in self.leave], dim=3)

    def forward(self, x: Tensor) -> list[Tensor]:
        """The layer's output, part by part, each of shape (n, 1, frames, channels)."""
        x = self._entered(x)
        return [normalize(leave(x)) for leave, normalize in zip(self.leave, self.normalize)]


class _Taps(nn.Module):  # type: ignore[misc,unused-ignore]
    """A convolution over time, a rectifier and a normalization."""

    def __init__(self, state: State, name: str, dilation: int, factor: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("weight", state[f"{name}.conv.conv.weight"][:, :, None] * factor)
        self.register_buffer("bias", state[f"{name}.conv.conv.bias"])
        self.normalize = _Normalized(*_scale_and_shift(state, f"{name}.norm.norm"))
        self._dilation = (1, dilation)
        self._padding = (0, dilation * (self.weight.shape[-1] // 2))

    def forward(self, x: Tensor) -> Tensor:
        moved = x.permute(0, 3, 1, 2)
        found = functional.conv2d(
            moved, self.weight, self.bias, padding=self._padding, dilation=self._dilation
        )
        return self.normalize(found.permute(0, 2, 3, 1))


class _Block(nn.Module):  # type: ignore[misc,unused-ignore]
    """Neighboring frames mixed in groups of channels, channels weighted, beside a shortcut."""

    def __init__(
        self, state: State, name: str, dilation: int, components: Mapping[str, Components]
    ) -> None:
        super().__init__()
        self.enter, self.leave = (
            _Wide(state, f"{name}.{part}", components.get(f"{name}.{part}"), parts)
            for part, parts in (("tdnn1", _GROUPS), ("tdnn2", 1))
        )
        self.taps = nn.ModuleList(
            _Taps(state, f"{name}.res2net_block.blocks.{number}", dilation)
            for number in range(_GROUPS - 1)
        )
        self.squeeze, self.gate = (
            _Linear(*_weights(state, f"{name}.se_block.{part}")) for part in ("conv1", "conv2")
        )

    def forward(self, x: Tensor) -> Tensor:
        first, *others = self.enter(x)
        mixed, last = [first], None
        for taps, group in zip(self.taps, others):
            last = taps(group if last is None else group + last)
            mixed.append(last)
        (hidden,) = self.leave(_in_halves(mixed)[:, None])
        squeezed = torch.relu(self.squeeze(hidden.mean(dim=2)[:, 0])) * self.squeeze.scale
        weights = torch.sigmoid(self.gate(squeezed) * self.gate.scale)
        return hidden * weights[:, None, None] + x


class Ecapa(nn.Module):  # type: ignore[misc,unused-ignore]
    """The network with its weights; `components` are those of some of its wide layers."""

    def __init__(self, state: State, components: Mapping[str, Components]) -> None:
        """Take the weights from the published checkpoint's state dictionary."""
        super().__init__()
        self.front = _Taps(state, "blocks.0", 1, _DECIBELS)
        self.blocks = nn.ModuleList(
            _Block(state, f"blocks.{number}", dilation, components)
            for number, dilation in enumerate(_DILATIONS, start=1)
        )
        self.aggregate = _Wide(state, "mfa", components.get("mfa"), _POOLED_PARTS)
        weight, bias = _weights(state, "asp.tdnn.conv")
        channels = state["mfa.conv.conv.bias"].shape[0]
        self.attend = _Linear(weight[:, :channels])
        self.context = _Linear(weight[:, channels:], bias)
        self.attention = _Normalized(*_scale_and_shift(state, "asp.tdnn.norm.norm"))
        pieces = (each.chunk(_POOLED_PARTS) for each in _weights(state, "asp.conv"))
        self.spread = nn.ModuleList(_Linear(*piece) for piece in zip(*pieces))
        scale, shift = _scale_and_shift(state, "asp_bn.norm")
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)
        self.last = _Linear(*_weights(state, "fc"))

    def forward(self, features: Tensor) -> Tensor:
        """Embed windows.

        Args:
            features: log-mel features without their mean, shape (n, frames, 80).

        Returns:
            Embeddings, not normalized, shape (n, 192).
        """
        x = self.front(features[:, None])
        found = []
        for block in self.blocks:
            x = block(x)
            found.append(x)
        parts = self.aggregate(torch.cat(found, dim=3))
        pooled = _joined(
            _moments(part, weights) for part, weights in zip(parts, self._attention(parts))
        )
        return self.last(pooled * self.scale + self.shift) * self.last.scale

    def _attention(self, parts: list[Tensor]) -> Iterator[Tensor]:
        """How much each frame counts in each channel, part by part; all of them add up to 1."""
        even = _joined(_moments(part, None) for part in parts)
        context = (self.context(even) * self.context.scale)[:, None, None]
        attended = self.attend(torch.cat(parts, dim=3)) * self.attend.scale
        hidden = torch.tanh(self.attention(attended + context))
        for spread in self.spread:
            logits = spread(hidden) * spread.scale
            powers = torch.exp(logits - logits.amax(dim=2, keepdim=True))
            yield powers / powers.sum(dim=2, keepdim=True)


def _in_halves(parts: Sequence[Tensor]) -> Tensor:
    """Channels side by side, shape (n, frames, channels), of parts with the frames third.

    The runtime's fast kernels join no more than five tensors at a time, and the converter makes
    one of two joints, unless the shape changes between them.
    """
    half = len(parts) // 2
    return torch.cat(
        [torch.cat(parts[:half], dim=3)[:, 0], torch.cat(parts[half:], dim=3)[:, 0]], dim=2
    )


def _joined(moments: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """The means of all parts and then their deviations, shape (n, 2 * channels)."""
    means, deviations = zip(*moments)
    return _in_halves([*means, *deviations])[:, 0]


def _moments(x: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over the frames, which count alike or by weights."""

    def mean_of(values: Tensor) -> Tensor:
        if weights is None:
            return values.mean(dim=2, keepdim=True)
        return (weights * values).sum(dim=2, keepdim=True)

    mean = mean_of(x)
    variance = torch.clamp(mean_of(torch.square(x - mean)), min=_LEAST_VARIANCE)
    return mean, torch.sqrt(variance)


def find_components(state: State, examples: Iterable[Tensor]) -> dict[str, Components]:
    """The main directions of what the wide layers give for examples of `Ecapa.forward`'s input.

    They are turned at random among themselves: in the order of what they tell, a few would be much
    louder than the others, and all share the scale of 8 bits.
    """
    network = Ecapa(state, {}).eval()
    sums: dict[str, list[Tensor]] = {}
    names = {module: name for name, module in _wide(network)}

    def note(module: nn.Module, inputs: tuple[Tensor, ...], _: object) -> None:
        given = module.given(inputs[0]).flatten(0, -2).double()
        found = [torch.tensor(float(len(given))), given.sum(dim=0), given.T @ given]
        former = sums.get(names[module])
        sums[names[module]] = found if former is None else [a + b for a, b in zip(former, found)]

    hooks = [module.register_forward_hook(note) for module in names]
    with torch.no_grad():
        for example in examples:
            network(example)
    for hook in hooks:
        hook.remove()
    return {name: _components(name, *found) for name, found in sums.items()}


def _wide(network: Ecapa) -> Iterator[tuple[str, _Wide]]:
    yield "mfa", network.aggregate
    for number, block in enumerate(network.blocks, start=1):
        yield f"blocks.{number}.tdnn1", block.enter
        yield f"blocks.{number}.tdnn2", block.leave


def _components(name: str, count: Tensor, total: Tensor, products: Tensor) -> Components:
    mean = total / count
    _, vectors = torch.linalg.eigh(products / count - torch.outer(mean, mean))
    directions = POOL_DIRECTIONS if name == "mfa" else BLOCK_DIRECTIONS
    draw = torch.randn(
        directions, directions, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    return Components(mean, vectors[:, -directions:] @ torch.linalg.qr(draw).Q)
