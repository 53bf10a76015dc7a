"""How often each class was taken for each other: the matrix all semantic numbers follow from.

K classes, *S any shape. Rows are the truth, columns the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

BYTES = 256


class PixelSums(NamedTuple):
    """Pixels of each class; those of images add up.

    Attributes:
        hits: [K] in truth and result.
        true: [K] in the truth.
        found: [K] in the result.
    """

    hits: Tensor
    true: Tensor
    found: Tensor


class ConfusionMatrix(Metric):  # type: ignore[misc]  # torchmetrics is not followed by mypy
    """The confusion matrix [K, K] int64 of all images so far, summed over processes.

    Args:
        count: K.
        ignore_index: the value of true pixels that are not judged.
    """

    full_state_update = False
    matrix: Tensor

    def __init__(self, count: int, ignore_index: int = 255) -> None:
        super().__init__()
        self.count, self.ignore_index = count, ignore_index
        zeros = torch.zeros(count, count, dtype=torch.int64)
        self.add_state("matrix", zeros, dist_reduce_fx="sum")

    def update(self, result: Tensor, truth: Tensor) -> None:
        """Count the pixels of class maps [*S] of equal shape."""
        found = confusion(result, truth, self.count, self.ignore_index)
        self.matrix += found.to(self.matrix.device)

    def compute(self) -> Tensor:
        """[K, K] int64, rows the truth."""
        return self.matrix


def confusion(result: Tensor, truth: Tensor, count: int, ignore_index: int = 255) -> Tensor:
    """Count pixels by (true class, resulting class).

    Args:
        result: [*S] integers in 0…K-1 (anything where the truth is ignored).
        truth: [*S] integers in 0…K-1, or `ignore_index`.
        count: K.
        ignore_index: the value of true pixels that are not judged.

    Returns [K, K] int64, rows the truth. Raises ValueError for maps of different shapes and for
    values that are no class.
    """
    if result.shape != truth.shape:
        raise ValueError(
            f"result {tuple(result.shape)} and truth {tuple(truth.shape)} differ in shape"
        )
    small, small_truth = _as_bytes(result), _as_bytes(truth)
    if small is None or small_truth is None or count > BYTES:
        return _counted_wide(result, truth, count, ignore_index)
    # All 65,536 pairs of bytes are counted in one pass; the checks then cost nothing per pixel.
    pairs = small_truth.to(torch.int32).mul_(BYTES).add_(small)
    joint = torch.bincount(pairs.flatten(), minlength=BYTES * BYTES).view(BYTES, BYTES)
    if 0 <= ignore_index < BYTES:
        joint[ignore_index] = 0
    _check("truth", joint.sum(1).nonzero().flatten(), count)
    _check("result", joint.sum(0).nonzero().flatten(), count)
    return joint[:count, :count].clone()


def scores(matrix: Tensor, names: Sequence[str]) -> dict[str, float]:
    """Turn a confusion matrix [K, K] (rows the truth) into numbers, the higher the better.

    A class absent from truth and result is nan and left out of the means; recall (and so
    `mean_accuracy`) is nan for a class absent from the truth alone, specificity for a class that
    is all of the truth. Dice is the F1 score of pixels, `mean_accuracy` the mean recall, also
    called balanced accuracy, and `fwiou` weighs the IoU by true pixels. `kappa` (Cohen, 1960) and
    `mcc` (Matthews, 1975; Gorodkin, 2004) reach from -1 to 1, 0 being chance; both are nan where
    truth and result are the same one class.

    Returns `miou, mean_dice, pixel_accuracy, mean_accuracy, mean_precision, mean_specificity,
    fwiou, kappa, mcc` and for each class `iou/NAME, dice/NAME, precision/NAME, recall/NAME,
    specificity/NAME`. Raises ValueError when the matrix and the names differ in number.
    """
    if matrix.shape != (len(names), len(names)):
        raise ValueError(f"{len(names)} classes but a matrix of shape {tuple(matrix.shape)}")
    counts = matrix.to("cpu", torch.float64)
    numbers = class_scores(PixelSums(counts.diagonal(), counts.sum(1), counts.sum(0)), names)
    return {key: float(value) for key, value in numbers.items()}


def class_scores(sums: PixelSums, names: Sequence[str]) -> dict[str, Tensor]:
    """The numbers of `scores`, each [...], from sums [..., K]."""
    hits, true, found = (one.double() for one in sums)
    nan = torch.full_like(hits, float("nan"))
    either = true + found - hits
    others = true.sum(-1, keepdim=True) - true
    per_class = {
        "iou": hits / either,
        "dice": 2 * hits / (true + found),
        "precision": torch.where(either > 0, hits / found.clamp(min=1), nan),
        "recall": hits / true,
        "specificity": torch.where(either > 0, 1 - (found - hits) / others, nan),
    }
    numbers = {
        "miou": per_class["iou"].nanmean(-1),
        "mean_dice": per_class["dice"].nanmean(-1),
        "pixel_accuracy": hits.sum(-1) / true.sum(-1),
        "mean_accuracy": per_class["recall"].nanmean(-1),
        "mean_precision": per_class["precision"].nanmean(-1),
        "mean_specificity": per_class["specificity"].nanmean(-1),
        "fwiou": (true * per_class["iou"]).nansum(-1) / true.sum(-1),
        **_agreement(hits, true, found),
    }
    return numbers | {
        f"{key}/{name}": values[..., index]
        for key, values in per_class.items()
        for index, name in enumerate(names)
    }


def _agreement(hits: Tensor, true: Tensor, found: Tensor) -> dict[str, Tensor]:
    """Cohen's kappa and Matthews' correlation, for which rows and columns are all it takes."""
    pixels = true.sum(-1)
    true, found = true / pixels[..., None], found / pixels[..., None]
    by_chance = (true * found).sum(-1)
    beyond = hits.sum(-1) / pixels - by_chance
    spread = (1 - true.square().sum(-1)) * (1 - found.square().sum(-1))
    kappa = beyond / (1 - by_chance)
    # One class alone in the truth, or in the result, is right as often as chance is.
    constant = torch.where(by_chance < 1, torch.zeros_like(kappa), kappa)
    return {"kappa": kappa, "mcc": torch.where(spread > 0, beyond / spread.sqrt(), constant)}


def _as_bytes(values: Tensor) -> Tensor | None:
    """The same values as uint8, or None where they do not fit."""
    if values.dtype == torch.uint8 or values.numel() == 0:
        return values.to(torch.uint8)
    if values.dtype == torch.bool or values.dtype.is_floating_point:
        raise TypeError(f"class maps hold integers, got {values.dtype}")
    low, high = torch.aminmax(values)
    return values.to(torch.uint8) if low >= 0 and high < BYTES else None


def _counted_wide(result: Tensor, truth: Tensor, count: int, ignore_index: int) -> Tensor:
    judged = truth != ignore_index
    result, truth = result[judged].long(), truth[judged].long()
    _check("truth", truth.unique(), count)
    _check("result", result.unique(), count)
    pairs = truth.mul_(count).add_(result)
    return torch.bincount(pairs, minlength=count * count).view(count, count)


def _check(what: str, values: Tensor, count: int) -> None:
    wrong = values[(values < 0) | (values >= count)].tolist()
    if wrong:
        listed = ", ".join(str(v) for v in wrong[:10])
        raise ValueError(f"{what}: expected classes 0 to {count - 1}, found also {listed}")
