"""Deformable attention and convolution beside transformers, torchvision and plain PyTorch.

Samples lie about two pixels (one standard deviation) from their query or tap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from math import prod
from typing import Any

import torch
from torch import Tensor
from torchvision.ops import deform_conv2d
from transformers.models.mask2former.modeling_mask2former import multi_scale_deformable_attention

from microtome.ops import using
from microtome.ops.deform_attn import deform_attn
from microtome.ops.deform_conv import deform_conv

from .harness import Case, peak_memory

HEADS, CHANNELS, POINTS, SIGMA = 8, 32, 4, 2.0
FLAT = ((64, 64), (32, 32), (16, 16))  # of 512²: strides 8, 16, 32
LARGE = ((128, 128), (64, 64), (32, 32))
VOLUME = ((16, 16, 16), (8, 8, 8), (4, 4, 4))  # of 128³
LONG = ((16, 32, 32), (8, 16, 16), (4, 8, 8))  # of 64 x 128 x 128: strides 4, 8, 16


def cases() -> Iterator[Case]:
    for shapes in (FLAT, LARGE, VOLUME, LONG):
        yield from _attention(shapes)
    yield _attention_in_one_cell()
    for shape, channels in (((64, 64), 128), ((16, 16, 16), 64)):
        yield from _convolution(shape, channels)
    yield _convolution_far_away((64, 64), 128)
    yield from _convolution_of_torchvision((64, 64), 128)


def memory() -> Iterator[dict[str, Any]]:
    """Of the forward pass at 1024²; the answer alone is 22 MB."""
    start = "import torch\nfrom benchmarks.operators import *\na = attention_arguments(LARGE)\n"
    start += "torch.set_grad_enabled(False)\nours, theirs = of_attention(LARGE)\n"
    yield {
        "case": "deform_attn 1024² forward",
        "answer": 21504 * HEADS * CHANNELS * 4,
        "ours": peak_memory(start + "work = lambda: ours(*a)"),
        "transformers": peak_memory(start + "work = lambda: theirs(*a)"),
    }


def attention_arguments(shapes: tuple[tuple[int, ...], ...]) -> list[Tensor]:
    """Value, locations and weights: a query at every cell."""
    random = torch.Generator().manual_seed(0)
    dims, levels = len(shapes[0]), len(shapes)
    cells = torch.cat([_centres(shape) for shape in shapes])
    count = len(cells)
    value = torch.randn(1, count, HEADS, CHANNELS, generator=random)
    offsets = SIGMA * torch.randn(1, count, HEADS, levels, POINTS, dims, generator=random)
    weights = torch.randn(1, count, HEADS, levels * POINTS, generator=random).softmax(-1)
    locations = cells[None, :, None, None, None] + offsets / torch.tensor(shapes)[:, None]
    return [value, locations, weights.unflatten(-1, (levels, POINTS))]


def of_attention(shapes: Any) -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
    """Ours, and transformers' or, in 3D, a composition of grid_sample."""

    def ours(value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
        return deform_attn(value, shapes, locations, weights)

    def composed(value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
        with using(deform_attn="reference"):
            return deform_attn(value, shapes, locations, weights)

    def theirs(value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
        out = multi_scale_deformable_attention(value, list(shapes), locations.flip(-1), weights)
        return out.unflatten(-1, (HEADS, CHANNELS))

    return ours, theirs if len(shapes[0]) == 2 else composed


def _attention(shapes: tuple[tuple[int, ...], ...]) -> Iterator[Case]:
    arguments = attention_arguments(shapes)
    name = f"deform_attn {len(shapes[0])}D, {arguments[0].shape[1]} queries"
    peer = "transformers" if len(shapes[0]) == 2 else "grid_sample"
    read = _reads(arguments[2], len(shapes[0]), CHANNELS)
    yield from _both_ways(name, arguments, *of_attention(shapes), peer, read)


def _attention_in_one_cell() -> Case:
    """The worst case: every sample in the same cell of its level."""
    value, locations, weights = attention_arguments(FLAT)
    arguments = [value, torch.full_like(locations, 0.5), weights]
    name = "deform_attn 2D, all samples in one cell"
    read = _reads(weights, 2, CHANNELS)
    return list(_both_ways(name, arguments, *of_attention(FLAT), "transformers", read))[1]


def _convolution(shape: tuple[int, ...], channels: int) -> Iterator[Case]:
    arguments = convolution_arguments(shape, channels)
    name = f"deform_conv {'x'.join(map(str, shape))}, {channels} channels"
    read = _reads(arguments[2], len(shape), 16)
    yield from _both_ways(name, arguments, *of_convolution(), "reference", read)


def _convolution_far_away(shape: tuple[int, ...], channels: int) -> Case:
    """The worst case: offsets of heavy tails, of which many end beyond the border."""
    value, offsets, modulation = convolution_arguments(shape, channels)
    random = torch.Generator().manual_seed(1)
    offsets = offsets / torch.rand(offsets.shape, generator=random).clamp(min=1e-3)
    name = f"deform_conv {'x'.join(map(str, shape))}, {channels} channels, heavy tails"
    read = _reads(modulation, len(shape), 16)
    arguments = [value, offsets, modulation]
    return list(_both_ways(name, arguments, *of_convolution(), "reference", read))[1]


def of_convolution() -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
    """Ours, and plain PyTorch; kernels of 3."""

    def ours(*args: Tensor) -> Tensor:
        return deform_conv(*args, 3, padding=1)

    def reference(*args: Tensor) -> Tensor:
        with using(deform_conv="reference"):
            return deform_conv(*args, 3, padding=1)

    return ours, reference


def _convolution_of_torchvision(shape: tuple[int, ...], channels: int) -> Iterator[Case]:
    """Equal work: its convolution of each channel by itself, with ones; its layout for it."""
    arguments = convolution_arguments(shape, channels)
    ones = torch.ones(channels, 1, 3, 3)
    ours, _ = of_convolution()

    def theirs(value: Tensor, offsets: Tensor, modulation: Tensor) -> Tensor:
        return deform_conv2d(value, offsets, ones, padding=1, mask=modulation)

    def channels_first(x: Tensor) -> Tensor:
        return x.flatten(3).permute(0, 3, 1, 2).contiguous()

    def check(a: list[Tensor], b: list[Tensor]) -> None:
        _close([channels_first(x) for x in a], b)

    name = f"deform_conv {'x'.join(map(str, shape))}, {channels} channels, equal work"
    for way, run in (("forward", _forward), ("forward and backward", _both)):
        first = run(ours, arguments), "torchvision"
        yield Case(f"{name}: {way}", *first, run(theirs, map(channels_first, arguments)), check)


def convolution_arguments(shape: tuple[int, ...], channels: int) -> list[Tensor]:
    """Groups of 16 channels, kernels of 3."""
    random = torch.Generator().manual_seed(0)
    taps = (1, *shape, channels // 16, 3 ** len(shape))
    value = torch.randn(1, *shape, channels // 16, 16, generator=random)
    offsets = SIGMA * torch.randn(*taps, len(shape), generator=random)
    return [value, offsets, torch.randn(taps, generator=random).softmax(-1)]


def _both_ways(
    name: str,
    arguments: list[Tensor],
    ours: Callable[..., Tensor],
    theirs: Callable[..., Tensor],
    peer: str,
    read: float,
) -> Iterator[Case]:
    """Forward alone, and with every gradient: it reads again, and adds to what it reads."""
    for way, run, times in (("forward", _forward, 1), ("forward and backward", _both, 4)):
        first = run(ours, arguments), peer
        work = {"cached": times * read}
        yield Case(f"{name}: {way}", *first, run(theirs, arguments), _close, work)


def _reads(samples: Tensor, dims: int, channels: int) -> float:
    """Bytes: a row of channels in float32 at every corner of every sample."""
    return 4.0 * channels * samples.numel() * 2**dims


def _forward(
    call: Callable[..., Tensor], arguments: Iterable[Tensor]
) -> Callable[[], list[Tensor]]:
    given = list(arguments)

    def run() -> list[Tensor]:
        with torch.no_grad():
            return [call(*given)]

    return run


def _both(call: Callable[..., Tensor], arguments: Iterable[Tensor]) -> Callable[[], list[Tensor]]:
    leaves = [x.detach().requires_grad_() for x in arguments]

    def run() -> list[Tensor]:
        out = call(*leaves)
        return [out.detach(), *torch.autograd.grad(out, leaves, torch.ones_like(out))]

    return run


def _close(ours: list[Tensor], theirs: list[Tensor]) -> None:
    """Nearly everywhere: where a sample lies on a cell's edge, rounding decides its slope."""
    for a, b in zip(ours, theirs, strict=True):
        wrong = (a - b).abs() > 1e-3 * (1 + b.abs())
        assert wrong.float().mean() < 1e-4, float(wrong.float().mean())


def _centres(shape: tuple[int, ...]) -> Tensor:
    return torch.cartesian_prod(*[(torch.arange(s) + 0.5) / s for s in shape]).view(
        prod(shape), len(shape)
    )
