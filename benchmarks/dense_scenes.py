"""Mask2Former where objects are many: 3,000 in an image, 3,500 queries, 1024 x 1024 pixels.

ResNet-50, float32, random weights: one training step with AdamW, and one prediction in which every
query is decoded. Each is a process of its own, and all that it holds counts, from the imports on.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

from microtome.backbones.pretrained import PretrainedPyramid
from microtome.heads.mask2former import Mask2Former
from microtome.models import Segmenter
from microtome.structures import Classes, DataSample, Instances, LabelLayers, Segmentation

from .harness import TINY, Case, peak_memory

SIZE, OBJECTS, QUERIES = (128, 60, 70) if TINY else (1024, 3000, 3500)
CLASSES = Classes(("background", "nucleus"), things=(False, True))


def cases() -> Iterator[Case]:
    """None: no peer takes such a step in the memory there is."""
    yield from ()


def memory() -> Iterator[dict[str, Any]]:
    for work in ("step", "prediction"):
        code = f"def work():\n    from benchmarks import dense_scenes\n    dense_scenes.{work}()\n"
        begin = time.perf_counter()
        peak = peak_memory(code)
        seconds = f"{time.perf_counter() - begin:.0f} s"
        name = f"Mask2Former {SIZE}², {OBJECTS} objects, {QUERIES} queries: {work}"
        yield {"case": name, "whole process": peak, "time with imports": seconds}


def step() -> None:
    """Forward, losses, gradients and an update of every parameter."""
    model = _model().train()
    optimizer = torch.optim.AdamW(model.parameters())
    images, targets = model.prepare([_scene()])
    assert targets is not None
    model.total(model.losses(model(images, targets), targets)).backward()
    optimizer.step()


def prediction() -> None:
    """As `predict` takes a tile, every query taken for an object."""
    (found,) = _model().predict_samples([_scene()])
    assert found.instances is not None and found.instances.masks is not None


def _model() -> Segmenter:
    torch.manual_seed(0)
    head = partial(Mask2Former, task="instance", num_queries=QUERIES, min_score=0.0)
    backbone = PretrainedPyramid("resnet50", options={"out_indices": [1, 2, 3, 4]})
    return Segmenter(backbone, head, CLASSES)


def _scene() -> DataSample:
    """Discs on a grid, all apart."""
    across = int(OBJECTS**0.5) + 1
    step = SIZE / across
    place = torch.arange(SIZE)
    cell = (place / step).long()
    off = place - (cell + 0.5) * step
    numbers = cell[:, None] * across + cell + 1
    inside = (off[:, None] ** 2 + off**2 < (0.4 * step) ** 2) & (numbers <= OBJECTS)
    ids = numbers.where(inside, 0).int()
    masks = LabelLayers(ids[None], torch.arange(1, OBJECTS + 1))
    labels = torch.ones(OBJECTS, dtype=torch.int64)
    image = torch.rand(3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    return DataSample(image, Segmentation(inside.long(), Instances(labels, masks=masks)))
