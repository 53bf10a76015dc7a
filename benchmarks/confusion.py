"""The confusion matrix against torchmetrics' MeanIoU on class maps."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torchmetrics.segmentation import MeanIoU

from microtome.evaluation import ConfusionMatrix, scores

from .harness import Case


def cases() -> Iterator[Case]:
    yield _case(batch=4, size=512, count=19)


def _case(batch: int, size: int, count: int) -> Case:
    random = torch.Generator().manual_seed(0)
    truth = torch.randint(count, (batch, size, size), generator=random)
    result = torch.where(
        torch.rand(truth.shape, generator=random) < 0.7, truth, truth.roll(1, dims=-1)
    )
    names = [f"class {i}" for i in range(count)]

    def ours() -> float:
        matrix = ConfusionMatrix(count)
        matrix.update(result, truth)
        return scores(matrix.compute(), names)["miou"]

    def peer() -> float:
        metric = MeanIoU(num_classes=count, input_format="index")
        metric.update(result, truth)
        return float(metric.compute())

    def check(a: float, b: float) -> None:
        assert abs(a - b) < 0.02, (a, b)  # ours pools pixels, the peer averages over images

    return Case(f"mIoU of {batch}x{size}^2, {count} classes", ours, "torchmetrics", peer, check)
