"""Losses of mixed batches, by any head."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from ..data.mixing import Judgement, Mix, Mixed
from ..models import Segmenter
from ..structures import ImageList, Segmentation


def check_mix(mix: Mix | None, model: Segmenter, batch_size: int | str) -> None:
    """Raise ValueError where batches cannot be mixed: objects, and batches of one image."""
    if mix is None:
        return
    name = type(mix).__name__
    if not model.head.scored:
        raise ValueError(
            f"mix: {name} is for heads that answer with classes; objects that are laid over each "
            "other or cut by a box are no objects: leave `mix` out"
        )
    if batch_size == 1:
        raise ValueError(f"mix: {name} mixes the images of a batch: take batch_size 2 or more")


def mixed_losses(
    model: Segmenter,
    images: ImageList,
    targets: Sequence[Segmentation],
    mix: Mix | None,
    chance: np.random.SeedSequence,
) -> dict[str, Tensor]:
    """Named losses, unweighted: of one forward pass, judged by every truth that is mixed in."""
    batch = Mixed(images, [Judgement(1.0, targets)])
    if mix is not None:
        batch = mix(images, targets, chance)
    (share, first), *rest = batch.judgements
    prediction = model(batch.images, first)
    if not rest:
        return model.losses(prediction, first)
    total = {name: loss * share for name, loss in model.losses(prediction, first).items()}
    for share, more in rest:
        for name, loss in model.losses(prediction, more).items():
            total[name] = total[name] + loss * share
    return total
