"""Matching and losses of mask classification against transformers' Mask2FormerLoss.

Ten layers, 12,544 points, 50 objects in each of two images of 512 x 512. Both go from the same
class logits, embeddings and features of the pixels to the gradients; the peer is also timed from
masks that are there already, which leaves out its product of embeddings and features.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from transformers import Mask2FormerConfig
from transformers.models.mask2former.modeling_mask2former import Mask2FormerLoss

from microtome.heads.mask_classification import MaskClassification, MaskPrediction
from microtome.structures import Classes, Instances, LabelLayers, Segmentation

from .harness import Case, peak_memory

LAYERS, BATCH, QUERIES, KINDS, CHANNELS, OBJECTS = 10, 2, 100, 3, 256, 50
SIZE, STRIDE, POINTS = 512, 4, 12544


class _Head(MaskClassification):
    """Losses only."""

    fullgraph = False

    def forward(self, *args: Any, **kwargs: Any) -> MaskPrediction:
        raise NotImplementedError


def cases() -> Iterator[Case]:
    yield _case(from_masks=False)
    yield _case(from_masks=True)


def memory() -> Iterator[dict[str, Any]]:
    """Of one call, gradients included."""
    start = "from benchmarks.matching import *\ncase = list(cases())[{}]\n"
    yield {
        "case": "matching and losses, 10 layers, 50 objects",
        "ours": peak_memory(start.format(0) + "work = case.ours"),
        "transformers, embeddings": peak_memory(start.format(0) + "work = case.peer"),
        "transformers, masks": peak_memory(start.format(1) + "work = case.peer"),
    }


def _case(from_masks: bool) -> Case:
    leaves, maps, labels = _prediction(), _objects(), _labels()
    head = _Head(Classes(tuple("abc"), things=("a", "b", "c")), "instance")
    targets = [
        Segmentation(instances=Instances(of, masks=LabelLayers(m[None], torch.arange(OBJECTS))))
        for m, of in zip(maps, labels, strict=True)
    ]
    config = Mask2FormerConfig(num_labels=KINDS, train_num_points=POINTS)
    criterion = Mask2FormerLoss(config, {})
    dense = [torch.stack([m == n + 1 for n in range(OBJECTS)]).float() for m in maps]
    finished = [_masks(leaves, layer).detach().requires_grad_() for layer in range(LAYERS)]

    def ours() -> float:
        torch.manual_seed(0)
        losses = head.losses(MaskPrediction(*leaves), targets)
        total = sum(losses[name] * weight for name, weight in head.weights.items())
        torch.autograd.grad(total, leaves)
        return total.item()

    def peer() -> float:
        torch.manual_seed(0)
        masks = finished if from_masks else [_masks(leaves, layer) for layer in range(LAYERS)]
        layers = [
            {"masks_queries_logits": m, "class_queries_logits": c}
            for m, c in zip(masks, leaves[0], strict=True)
        ]
        last = layers.pop()
        losses = criterion(
            last["masks_queries_logits"], last["class_queries_logits"], dense, labels, layers
        )
        weights = {"cross_entropy": 2.0, "mask": 5.0, "dice": 5.0}
        total = sum(loss * weights[_kind(name)] for name, loss in losses.items())
        torch.autograd.grad(total, finished if from_masks else leaves[1:])
        return total.item()

    def check(a: float, b: float) -> None:
        assert abs(a - b) < 0.02 * b, (a, b)  # each draws its own points
        _same_assignment(head, criterion, leaves, targets, dense, labels)

    whence = "masks" if from_masks else "embeddings"
    name = "matching and losses, 10 layers, 50 objects"
    return Case(name, ours, f"transformers, {whence}", peer, check, {"matmul": _operations()})


def _operations() -> float:
    """Of the products of embeddings and features at points.

    Of all queries for the matching; of the matched ones at three times as many points, to choose
    the uncertain, and at these, with two products more on the way back.
    """
    products = QUERIES * POINTS + OBJECTS * (3 * POINTS + 3 * POINTS)
    return 2.0 * CHANNELS * BATCH * LAYERS * products


def _same_assignment(
    head: _Head, criterion: Any, leaves: list[Tensor], targets: Any, dense: Any, labels: Any
) -> None:
    """The same pairs at the same points, in the last layer of every image."""
    points = (torch.randint(SIZE, (POINTS, 2)) + 0.5) / SIZE  # centres: no mask is in between
    with mock.patch("torch.rand", lambda *args, **kwargs: points[None].flip(-1)):
        theirs = criterion.matcher(_masks(leaves, -1), leaves[0][-1], dense, labels)
    found: list[Any] = []
    assign = head._assign

    def keep(*args: Any) -> Any:
        found.append(assign(*args))
        return found[-1]

    last = MaskPrediction(leaves[0][-1:], leaves[1][-1:], leaves[2])
    with mock.patch.object(head, "_assign", keep), torch.no_grad():
        head.losses(last, targets, [points.repeat(4, 1)] * BATCH)
    for (_, queries, objects), of_peer in zip(found, theirs, strict=True):
        assert _pairs(queries, objects) == _pairs(*of_peer)


def _pairs(queries: Tensor, objects: Tensor) -> set[tuple[int, int]]:
    return set(zip(queries.tolist(), objects.tolist(), strict=True))


def _prediction() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = (
        (LAYERS, BATCH, QUERIES, KINDS + 1),
        (LAYERS, BATCH, QUERIES, CHANNELS),
        (BATCH, CHANNELS, SIZE // STRIDE, SIZE // STRIDE),
    )
    scales = 1, 0.2, 1
    return [
        (torch.randn(shape, generator=generator) * scale).requires_grad_()
        for shape, scale in zip(shapes, scales, strict=True)
    ]


def _masks(leaves: list[Tensor], layer: int) -> Tensor:
    return torch.einsum("bqe,behw->bqhw", leaves[1][layer], leaves[2])


def _objects() -> Tensor:
    """Discs of different sizes, at least part of each to be seen: [B, H, W]."""
    generator = torch.Generator().manual_seed(1)
    maps = torch.zeros(BATCH, SIZE, SIZE, dtype=torch.int32)
    y, x = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    for number in range(1, OBJECTS + 1):
        row, column = divmod(number - 1, 8)
        centre = (
            torch.rand(BATCH, 2, generator=generator) * 20 + 60 * torch.tensor([row, column]) + 25
        )
        radius = torch.rand(BATCH, generator=generator) * 20 + 8
        for image in range(BATCH):
            far = (y - centre[image, 0]) ** 2 + (x - centre[image, 1]) ** 2
            maps[image][far < radius[image] ** 2] = number
    return maps


def _labels() -> list[Tensor]:
    generator = torch.Generator().manual_seed(2)
    return list(torch.randint(KINDS, (BATCH, OBJECTS), generator=generator))


def _kind(name: str) -> str:
    return name.removeprefix("loss_").rstrip("0123456789_")
