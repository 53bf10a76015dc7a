"""Operators on boxes against torchvision and plain PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
import torchvision
from torch import Tensor
from torch.nn import functional as F

from microtome.ops import using
from microtome.ops.box_iou import box_giou, box_iou
from microtome.ops.nms import nms
from microtome.ops.roi_align import roi_align

from .harness import Case, peak_memory


def cases() -> Iterator[Case]:
    for count in (1000, 5000, 20000):
        yield _nms(f"uniform, {count}", *_scattered(count, 2), 0.5)
    yield _nms("all in one place, 1000", *_scattered(1000, 2, extent=5, least=30), 0.5)
    yield _nms("all in one place, 20000", *_scattered(20000, 2, extent=5, least=30), 0.5)
    yield _nms("all the same, 20000", *_same(20000), 0.5)
    yield _nms("sizes over four powers of ten, 20000", *_tailed(20000), 0.1)
    yield _nms_in_volumes(2000)
    yield _nms_growth()
    for backward in (False, True):
        yield _roi_align("512 RoIs, 7x7, 256 channels", backward)
        yield _roi_align("the same, channels last", backward, last=True)
        yield _roi_align("2 RoIs on 200x200", backward, size=200, count=2)
        yield _roi_align("100 RoIs as large as the map", backward, count=100, sides=(300, 400))
        yield align_in_volumes(backward)
    for count, others in ((50, 100), (1000, 1000)):
        yield from _overlaps(count, others)


def memory() -> Iterator[dict[str, Any]]:
    """Of RoIs in a volume; the answer alone is 5.6 MB."""
    for way in ("", ", and back"):
        start = f"from benchmarks.boxes import *\ncase = align_in_volumes({bool(way)})\n"
        yield {
            "case": f"roi_align: 64 RoIs, 7x7x7{way}",
            "ours": peak_memory(start + "work = case.ours"),
            "grid_sample + pooling": peak_memory(start + "work = case.peer"),
        }


def _same_tensors(ours: Any, theirs: Any) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


def _scattered(
    count: int, dims: int, extent: float = 1000, least: float = 10, most: float = 50
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    low = torch.rand(count, dims, generator=generator) * extent
    size = least + torch.rand(count, dims, generator=generator) * (most - least)
    return torch.cat([low, low + size], 1), torch.rand(count, generator=generator)


def _same(count: int) -> tuple[Tensor, Tensor]:
    return torch.tensor([[5.0, 5, 30, 30]]).repeat(count, 1), _scattered(count, 2)[1]


def _tailed(count: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    size = 10 ** (torch.rand(count, 2, generator=generator) * 4 - 1)
    far = 10 ** torch.randint(5, (count, 1), generator=generator)
    low = torch.rand(count, 2, generator=generator) * far
    return torch.cat([low, low + size], 1), torch.rand(count, generator=generator)


def _nms(name: str, boxes: Tensor, scores: Tensor, threshold: float) -> Case:
    theirs = boxes[:, [1, 0, 3, 2]].contiguous()

    def check(a: Tensor, b: Tensor) -> None:
        assert a.equal(b), "other boxes are kept"

    return Case(
        f"nms: {name}",
        lambda: nms(boxes, scores, threshold),
        "torchvision",
        lambda: torchvision.ops.nms(theirs, scores, threshold),
        check,
        {"sort": len(boxes)},
    )


def _nms_in_volumes(count: int) -> Case:
    boxes, scores = _scattered(count, 3, extent=200, most=30)

    def loop() -> Tensor:
        with using(nms="reference"):
            return nms(boxes, scores, 0.3)

    def check(a: Tensor, b: Tensor) -> None:
        assert a.equal(b), "other boxes are kept"

    return Case(
        f"nms in volumes, {count}",
        lambda: nms(boxes, scores, 0.3),
        "loop in PyTorch",
        loop,
        check,
        {"sort": count},
    )


def _nms_growth() -> Case:
    """Ten times as many boxes at the same density; the ratio is 1 over the growth."""
    few = _scattered(2000, 3, extent=200, most=30)
    many = _scattered(20000, 3, extent=200 * 10 ** (1 / 3), most=30)
    return Case(
        "nms in volumes, 20000",
        lambda: nms(*many, 0.3),
        "itself, 2000",
        lambda: nms(*few, 0.3),
        lambda a, b: None,
        {"sort": 20_000},
    )


def _overlaps(count: int, others: int) -> Iterator[Case]:
    """Of every box with every other; GIoU as a loss has it, with both gradients."""
    a, b = _scattered(count, 2)[0], _scattered(others, 2, most=90)[0]
    x, y = (boxes[:, [1, 0, 3, 2]].contiguous() for boxes in (a, b))
    name, work = f"{count} x {others}", {"copy": 4.0 * count * others}
    pair = torchvision.ops.box_iou, torchvision.ops.generalized_box_iou
    for kind, ours, theirs in zip(("iou", "giou"), (box_iou, box_giou), pair, strict=True):
        calls = partial(ours, a, b), "torchvision", partial(theirs, x, y)
        yield Case(f"box_{kind}: {name}", *calls, _same_tensors, work)
    calls = _with_gradients(box_giou, a, b), "torchvision", _with_gradients(pair[1], x, y)

    def check(ours: list[Tensor], theirs: list[Tensor]) -> None:
        _same_tensors(ours, [theirs[0], *(grad[:, [1, 0, 3, 2]] for grad in theirs[1:])])

    yield Case(f"box_giou: {name}, and back", *calls, check, work)


def _with_gradients(call: Callable[..., Tensor], *args: Tensor) -> Callable[[], list[Tensor]]:
    leaves = [x.clone().requires_grad_() for x in args]
    size = args[0].shape[0], args[1].shape[0]
    grad = torch.randn(size, generator=torch.Generator().manual_seed(1))

    def run() -> list[Tensor]:
        out = call(*leaves)
        return [out.detach(), *torch.autograd.grad(out, leaves, grad)]

    return run


def _maybe_backward(call: Callable[[], Tensor], maps: Tensor, backward: bool) -> Callable[[], Any]:
    if not backward:
        return torch.no_grad()(call)
    grad = torch.randn(call().shape, generator=torch.Generator().manual_seed(1))
    return lambda: torch.autograd.grad(call(), maps, grad)[0]


def _roi_align(
    name: str,
    backward: bool,
    size: int = 100,
    count: int = 512,
    sides: tuple[float, float] = (20, 200),
    last: bool = False,
) -> Case:
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(1, 256, size, size, generator=generator)
    if last:
        maps = maps.contiguous(memory_format=torch.channels_last)
    maps.requires_grad_()
    low = torch.rand(count, 2, generator=generator) * size * 4 * 0.8
    side = sides[0] + torch.rand(count, 2, generator=generator) * (sides[1] - sides[0])
    boxes, index = torch.cat([low, low + side], 1), torch.zeros(count, dtype=torch.int64)
    theirs = torch.cat([index[:, None].float(), boxes[:, [1, 0, 3, 2]]], 1)
    ways = (
        lambda: roi_align(maps, boxes, index, (7, 7), 4),
        lambda: torchvision.ops.roi_align(maps, theirs, (7, 7), 0.25, 2, True),
    )
    ours, peer = (_maybe_backward(way, maps, backward) for way in ways)
    name = f"roi_align: {name}{', and back' if backward else ''}"
    work = _reads(count * (7 * 2) ** 2, 2, 256, backward)
    return Case(name, ours, "torchvision", peer, _same_tensors, work)


def align_in_volumes(backward: bool) -> Case:
    """64 RoIs of 7^3 in 64 channels, against grid_sample of every sample and pooling."""
    generator = torch.Generator().manual_seed(0)
    shape, count = torch.tensor([16, 64, 64]), 64
    maps = torch.randn(1, 64, *shape.tolist(), generator=generator).requires_grad_()
    size = shape * (0.2 + 0.4 * torch.rand(count, 3, generator=generator))
    low = torch.rand(count, 3, generator=generator) * (shape - size)
    boxes, index = torch.cat([low, low + size], 1), torch.zeros(count, dtype=torch.int64)
    steps = (torch.arange(14) + 0.5) / 14
    at = low[:, :, None] + size[:, :, None] * steps  # [N, 3, 14]
    at = at.clamp(min=0.5).minimum(shape[:, None] - 0.5) / shape[:, None] * 2 - 1
    axes = [
        at[:, axis].view(count, *[14 if i == axis else 1 for i in range(3)]).expand(-1, 14, 14, 14)
        for axis in range(3)
    ]
    grid = torch.stack(axes[::-1], -1)

    def composed() -> Tensor:
        sampled = F.grid_sample(maps.expand(count, -1, -1, -1, -1), grid, align_corners=False)
        return F.avg_pool3d(sampled, 2)

    ways = lambda: roi_align(maps, boxes, index, (7, 7, 7), 1), composed
    ours, peer = (_maybe_backward(way, maps, backward) for way in ways)
    name = f"roi_align: 64 RoIs, 7x7x7{', and back' if backward else ''}"
    work = _reads(count * (7 * 2) ** 3, 3, 64, backward)
    return Case(name, ours, "grid_sample + pooling", peer, _same_tensors, work)


def _reads(samples: int, dims: int, channels: int, backward: bool) -> dict[str, float]:
    """Bytes of a row of channels at every corner of every sample; the way back adds to them."""
    return {"cached": 4.0 * channels * samples * 2**dims * (3 if backward else 1)}
