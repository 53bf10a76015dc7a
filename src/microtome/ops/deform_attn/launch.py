"""Launches the Triton kernels of deformable attention and convolution, which share them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from . import kernels

_ELEMENTS = 1024  # of a program's tile of rows and channels


class Samples(NamedTuple):
    """What to sum: letters as in `deform_attn`; a convolution has one level, its taps are points.

    `lattice` of a convolution is *O, then its kernel size, stride, padding and dilation.
    """

    value: Tensor  # [B, N, H, C]
    shapes: Sequence[int]  # L * D
    places: Tensor  # [B, Q, H, L, P, D]
    weights: Tensor  # [B, Q, H, L, P]
    around: Tensor | None = None  # [B or 1, Q, L, D]
    lattice: Sequence[Sequence[int]] | None = None
    softmax: bool = False

    def contiguous(self) -> Samples:
        """As the kernels read them."""
        return self._replace(
            value=self.value.contiguous(),
            places=self.places.contiguous(),
            weights=self.weights.contiguous(),
            around=None if self.around is None else self.around.contiguous(),
        )


def forward(samples: Samples) -> Tensor:
    """-> [B, Q, H, C]."""
    samples = samples.contiguous()
    value, places = samples.value, samples.places
    out = value.new_empty(*places.shape[:3], value.shape[3])
    if out.numel():
        tensors = value, places, samples.weights, _points(samples), out
        _launch(kernels.forward, tensors, samples)
    return out


def backward(grad: Tensor, samples: Samples) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of value, places and weights.

    Many samples add to one cell in no fixed order. Where deterministic algorithms are asked for,
    they add integers, whose sum does not depend on it.
    """
    samples = samples.contiguous()
    value, _, places, weights = samples[:4]
    exact = torch.are_deterministic_algorithms_enabled()
    by_value = torch.zeros(
        value.shape, dtype=torch.int64 if exact else torch.float32, device=value.device
    )
    by_places = torch.zeros_like(places)
    by_weights = torch.zeros(weights.shape, dtype=torch.float32, device=value.device)
    scale = _scale(grad, samples) if exact else by_weights
    if grad.numel():
        inputs = grad.contiguous(), value, places, weights, _points(samples)
        tensors = *inputs, by_value, by_places, by_weights, scale
        _launch(kernels.backward, tensors, samples, EXACT=exact)
    if samples.softmax:
        by_weights = _through_softmax(by_weights, weights)
    summed = by_value / scale if exact else by_value
    return summed.to(value.dtype), by_places, by_weights.to(weights.dtype)


def _launch(kernel: Any, tensors: Sequence[Tensor], samples: Samples, **constants: Any) -> None:
    value, shapes, places, _, around, lattice, softmax = samples
    batch, queries, heads, levels, points, dims = places.shape
    channels = value.shape[3]
    pad = _power_of_two(channels)
    rows = max(1, min(128, _ELEMENTS // pad))
    count = batch * queries * heads
    with torch.cuda.device_of(value):
        kernel[(-(-count // rows),)](
            *tensors,
            count,
            queries,
            value.shape[1],
            queries if around is not None and around.shape[0] > 1 else 0,
            tuple(shapes),
            tuple(size for sizes in lattice or ((1,) * dims,) * 5 for size in sizes),
            H=heads,
            C=channels,
            L=levels,
            P=points,
            D=dims,
            KIND=2 if lattice is not None else int(around is not None),
            SOFTMAX=softmax,
            ROWS=rows,
            PAD_C=pad,
            PAD_S=_power_of_two(levels * points),
            enable_fp_fusion=True,  # said, since Triton's default is about to change
            **constants,
        )


def _points(samples: Samples) -> Tensor:
    return samples.places if samples.around is None else samples.around


def _power_of_two(count: int) -> int:
    return 1 << max(count - 1, 0).bit_length()


def _scale(grad: Tensor, samples: Samples) -> Tensor:
    """The power of two by which sums fit into 62 bits; nan where they are not finite."""
    weights = samples.weights.float()
    largest = weights.new_ones(()) if samples.softmax else _largest(weights)
    count = samples.places.shape[1] * samples.places.shape[3] * samples.places.shape[4]
    bound = _largest(grad.double()) * largest.double() * max(count, 1)
    exponent = torch.frexp(bound).exponent
    scale = torch.ldexp(torch.ones_like(bound), (62 - exponent).clamp(max=1000))
    return torch.where(bound.isfinite(), scale, torch.nan)


def _largest(x: Tensor) -> Tensor:
    return x.abs().amax() if x.numel() else x.new_zeros(())


def _through_softmax(by_weights: Tensor, logits: Tensor) -> Tensor:
    """Gradients of softmax weights -> of logits, over the samples of a query and head."""
    weights = logits.flatten(3).float().softmax(3)
    grad = by_weights.flatten(3)
    return (weights * (grad - (weights * grad).sum(3, keepdim=True))).view(logits.shape)
