"""Mask R-CNN beside torchvision's, with equal weights and images; volumes on naive operators."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from microtome.backbones.resnet import ResNet
from microtome.heads.mask_rcnn import MaskRCNN
from microtome.models import Segmenter
from microtome.necks.fpn import FPN
from microtome.ops import using
from microtome.structures import DataSample, Instances, LabelLayers, Segmentation

from .harness import TINY, Case, peak_memory

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "heads"))
from mask_rcnn_pair import CLASSES, Pair, batch, make_pair, theirs_of

FLOAT, HALF = torch.float32, torch.bfloat16
SIZE, DEPTH = (96, 18) if TINY else (320, 50)
SHAPE = (8, 32, 32) if TINY else (32, 96, 96)
NAIVE = {"roi_align": "reference", "nms": "reference", "box_iou": "reference"}


def cases() -> Iterator[Case]:
    """In float32; then ours under autocast against the peer without it and with it; volumes."""
    for ours_in, theirs_in in ((FLOAT, FLOAT), (HALF, FLOAT), (HALF, HALF)):
        name = f"Mask R-CNN {SIZE}²{', bf16' if ours_in == HALF else ''}"
        peer = f"torchvision{', bf16' if theirs_in == HALF else ''}"
        yield Case(
            f"{name}: predict", partial(ours, ours_in), peer, partial(theirs, theirs_in), _alike
        )
        yield Case(
            f"{name}: step",
            partial(our_step, ours_in),
            peer,
            partial(their_step, theirs_in),
            _near,
        )
    size = "x".join(map(str, SHAPE))
    for what, work in (("predict", volume), ("step", volume_step)):
        yield Case(
            f"Mask R-CNN {size}: {what}", work, "naive operators", partial(naively, work), _near
        )


def memory() -> Iterator[dict[str, Any]]:
    """Beyond the model itself."""
    start = "from benchmarks.instances import *\npair(), models()\n"
    for what, mine, other in (
        ("predict", "ours(FLOAT)", "theirs(FLOAT)"),
        ("step", "our_step(FLOAT)", "their_step(FLOAT)"),
    ):
        yield {
            "case": f"Mask R-CNN {SIZE}² {what}",
            "ours": peak_memory(f"{start}work = lambda: {mine}"),
            "peer": peak_memory(f"{start}work = lambda: {other}"),
            "peer_name": "torchvision",
        }
    yield {
        "case": f"Mask R-CNN {'x'.join(map(str, SHAPE))} step",
        "ours": peak_memory(f"{start}work = volume_step"),
        "peer": peak_memory(f"{start}work = lambda: naively(volume_step)"),
        "peer_name": "naive operators",
    }


@cache
def pair() -> Pair:
    with TemporaryDirectory() as folder:
        return make_pair(Path(folder), SIZE, SIZE, DEPTH)


@cache
def images() -> list[DataSample]:
    return batch([(SIZE, SIZE)], objects=20)


@torch.no_grad()
def ours(dtype: torch.dtype) -> torch.Tensor:
    """From the image to pasted masks; the scores are the answer."""
    model = pair().ours.eval()
    with _precision(dtype):
        prepared, _ = model.prepare(images())
        prediction = model(prepared)
    model.decode(prediction, prepared)
    return prediction.found.objects.scores


@torch.no_grad()
def theirs(dtype: torch.dtype) -> torch.Tensor:
    with _precision(dtype):
        (found,) = pair().theirs.eval()(theirs_of(images())[0])
    return found["scores"].float()


def our_step(dtype: torch.dtype) -> torch.Tensor:
    """Losses and gradients; the total is the answer."""
    pair().train()
    model = pair().ours
    torch.manual_seed(0)
    with _precision(dtype):
        prepared, targets = model.prepare(images())
        total = model.total(model.losses(model(prepared, targets), targets))
    total.backward()
    model.zero_grad()
    return total.detach()


def their_step(dtype: torch.dtype) -> torch.Tensor:
    pair().train()
    model = pair().theirs
    torch.manual_seed(0)
    with _precision(dtype):
        total = torch.stack(list(model(*theirs_of(images())).values())).sum()
    total.backward()
    model.zero_grad()
    return total.detach()


@cache
def models() -> tuple[Segmenter, list[DataSample]]:
    """A narrow 3D model, and a volume with twenty balls."""
    torch.manual_seed(0)
    strides = ((1, 2, 2), 2, 2, 2, 2)
    backbone = ResNet(18, 1, 16, "frozen", strides=strides, spatial_dims=3)
    options = {"box_cells": 5, "mask_cells": 7, "hidden": 256, "mask_channels": 64}
    head = partial(MaskRCNN, **options, min_score=0.05, max_objects=100)
    model = Segmenter(backbone, head, CLASSES, partial(FPN, out_channels=64))
    grid = torch.stack(torch.meshgrid(*map(torch.arange, SHAPE), indexing="ij"))
    ids = torch.zeros(SHAPE, dtype=torch.long)
    for number, centre in enumerate(torch.rand(20, 3) * torch.tensor(SHAPE), start=1):
        ids[(grid - centre.view(3, 1, 1, 1)).square().sum(0) < 36] = number
    layers = LabelLayers.from_ids(ids)
    truth = Segmentation(instances=Instances(torch.ones_like(layers.ids), masks=layers))
    return model, [DataSample(torch.rand(1, *SHAPE) * 0.3 + 0.5 * (ids > 0), truth)]


@torch.no_grad()
def volume() -> torch.Tensor:
    model, samples = models()
    prepared, _ = model.eval().prepare(samples)
    prediction = model(prepared)
    model.decode(prediction, prepared)
    return prediction.found.objects.scores.sum()


def volume_step() -> torch.Tensor:
    model, samples = models()
    torch.manual_seed(0)
    prepared, targets = model.train().prepare(samples)
    total = model.total(model.losses(model(prepared, targets), targets))
    total.backward()
    model.zero_grad()
    return total.detach()


def naively(work: Any) -> Any:
    """On operators written to be read."""
    with using(**NAIVE):
        return work()


def _precision(dtype: torch.dtype) -> Any:
    return torch.autocast("cpu", dtype, enabled=dtype != FLOAT)


def _alike(a: torch.Tensor, b: torch.Tensor) -> None:
    """As many objects, as sure of them; half precision sees some others."""
    few = min(len(a), len(b), 20)
    away = (a.sort(descending=True).values[:few] - b.sort(descending=True).values[:few]).abs()
    assert few and away.max() < 0.1, away


def _near(a: torch.Tensor, b: torch.Tensor) -> None:
    assert abs(a - b) < 0.1 * abs(b), (a, b)
