"""One Mask2Former twice, with equal weights: transformers' and ours, from pixels to losses.

`python tests/heads/mask2former_pair.py` prints the table of docs/methods/mask2former.md.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple
from unittest import mock

import torch
from torch import Tensor
from transformers import (
    Mask2FormerConfig,
    Mask2FormerForUniversalSegmentation,
    TimmBackboneConfig,
)
from transformers_padding import told_of_padding

from microtome.backbones.pretrained import PretrainedPyramid
from microtome.heads.mask2former import Mask2Former
from microtome.heads.mask2former_weights import FROM_TRANSFORMERS, transformers_state
from microtome.losses.masks import PointSampling
from microtome.models import Segmenter
from microtome.structures import (
    Classes,
    DataSample,
    ImageList,
    Instances,
    LabelLayers,
    Segmentation,
)
from microtome.weights import load_weights

CLASSES = Classes(("background", "gland", "nucleus"))
ENCODER = "model.pixel_level_module.encoder._backbone."
SHIFTS = ("bias", "mean")  # which begin at zero
LOSSES = {"class": "loss_cross_entropy", "mask": "loss_mask", "dice": "loss_dice"}


class Size(NamedTuple):
    """How large both are; decoder_layers are those of attention."""

    backbone: str = "resnet18"
    hidden: int = 128
    encoder_layers: int = 2
    decoder_layers: int = 4
    num_queries: int = 12
    num_points: int = 64


PUBLISHED = Size("resnet50", 256, 6, 9, 100, 12544)


class Pair(NamedTuple):
    """Both, in eval mode."""

    theirs: Any
    ours: Segmenter


class Case(NamedTuple):
    """Images of these shapes; whether padding is known to be padding, or taken for image."""

    size: Size
    shapes: tuple[tuple[int, int], ...]
    known: bool = False


CASES = (
    Case(Size(), ((64, 64), (64, 64))),
    Case(Size(), ((96, 160), (96, 160))),
    Case(Size(), ((128, 64), (128, 64))),
    Case(Size(), ((50, 70), (64, 90))),
    Case(Size(), ((64, 96), (96, 160)), known=True),
    Case(Size(), ((32, 64), (128, 64)), known=True),
    Case(PUBLISHED, ((128, 160),)),
    Case(PUBLISHED, ((128, 128), (128, 160)), known=True),
)


def make_pair(size: Size) -> Pair:
    """Random weights in transformers' model, the same in ours: every tensor has its partner."""
    torch.manual_seed(0)
    theirs = Mask2FormerForUniversalSegmentation(transformers_config(size)).eval()
    for name, value in theirs.state_dict().items():  # else queries sample alike, norms do nothing
        if "sampling_offsets" in name or "attention_weights" in name or name.endswith(SHIFTS):
            torch.nn.init.normal_(value, std=0.1)
        elif name.endswith("running_var"):
            torch.nn.init.uniform_(value, 0.5, 2)
    backbone = PretrainedPyramid(size.backbone, options={"out_indices": [1, 2, 3, 4]})
    head = partial(
        Mask2Former, task="instance", hidden=size.hidden, encoder_layers=size.encoder_layers,
        decoder_layers=size.decoder_layers, num_queries=size.num_queries,
        num_points=size.num_points,
    )  # fmt: skip
    ours = Segmenter(backbone, head, CLASSES).eval()
    state = theirs.state_dict()
    encoder = {k.removeprefix(ENCODER): v for k, v in state.items() if k.startswith(ENCODER)}
    reports = (
        load_weights(backbone.net, encoder, at_least=1.0),
        load_weights(ours.head, transformers_state(state), FROM_TRANSFORMERS, at_least=1.0),
    )
    assert not any(report.unused for report in reports)
    return Pair(theirs, ours)


def transformers_config(size: Size) -> Mask2FormerConfig:
    backbone = TimmBackboneConfig(
        backbone=size.backbone, out_indices=(1, 2, 3, 4), use_pretrained_backbone=False
    )
    return Mask2FormerConfig(
        backbone_config=backbone, feature_size=size.hidden, mask_feature_size=size.hidden,
        hidden_dim=size.hidden, encoder_feedforward_dim=4 * size.hidden,
        dim_feedforward=8 * size.hidden, encoder_layers=size.encoder_layers,
        decoder_layers=size.decoder_layers + 1, num_attention_heads=8,
        num_queries=size.num_queries, num_labels=CLASSES.num_classes, dropout=0.0,
        train_num_points=size.num_points, use_auxiliary_loss=True,
    )  # fmt: skip


def batch(shapes) -> list[DataSample]:
    """An image of each shape, with five objects in random pixels."""
    generator = torch.Generator().manual_seed(1)
    labels, samples = torch.tensor([0, 2, 1, 1, 2]), []
    for shape in shapes:
        ids = torch.randint(0, 6, tuple(shape), generator=generator)
        masks = LabelLayers(ids[None], torch.arange(1, 6))
        truth = Segmentation(torch.zeros_like(ids), Instances(labels, masks=masks))
        image = torch.rand(3, *shape, generator=generator)
        samples.append(DataSample(image, truth))
    return samples


def compared(pair: Pair, case: Case) -> dict[str, float]:
    """The largest difference of any layer by what is compared, as a part of the largest value."""
    images, targets = pair.ours.prepare(batch(case.shapes))
    with torch.no_grad():
        if case.known:
            with told_of_padding(pair.theirs, images):
                output = pair.theirs(images.tensor, output_auxiliary_logits=True)
        else:
            output = pair.theirs(images.tensor, output_auxiliary_logits=True)
        everything = torch.tensor([images.canvas] * len(images))
        seen = images if case.known else replace(images, shapes=everything)
        prediction = pair.ours(seen)
        return {
            **logit_differences(prediction, output),
            **loss_differences(pair, prediction, output, images, targets),
        }


def relative(value: Tensor, expected: Tensor) -> float:
    """The largest difference, as a part of the largest expected value."""
    return float((value - expected).abs().max() / expected.abs().max())


def logit_differences(prediction, output) -> dict[str, float]:
    """Of classes and masks, the worst of all layers."""
    layers = [*output.auxiliary_logits, output]
    assert len(prediction.class_logits) == len(layers)
    pairs = [
        (
            relative(prediction.class_logits[i], layer["class_queries_logits"]),
            relative(prediction.mask_logits(i), layer["masks_queries_logits"]),
        )
        for i, layer in enumerate(layers)
    ]
    classes, masks = zip(*pairs, strict=True)
    return {"class logits": max(classes), "mask logits": max(masks)}


def loss_differences(pair: Pair, prediction, output, images: ImageList, targets):
    """Of each loss, the worst of all layers; both sides see the same pool of points.

    Points are centres of pixels, where transformers' linear look-up of the truth is our nearest,
    and half a cell of the features away from padding, beyond which ours are zero.
    """
    pools = [_pool(pair.ours.head.sampling, shape, images.canvas) for shape in images.shapes]
    found = [pair.ours.head.losses(p, targets, pools) for p in _layers(prediction)]
    expected = _their_losses(pair.theirs, output, targets, pools)
    return {
        key: max(relative(o[key], e[name]) for o, e in zip(found, expected, strict=True))
        for key, name in LOSSES.items()
    }


def _pool(sampling: PointSampling, shape: Tensor, canvas) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    count, chosen, candidates = sampling.counts(int(shape.prod()))
    assert count == sampling.num_points
    chance = torch.rand(candidates + count - chosen, 2, generator=generator)
    away = 2 * (shape < torch.tensor(canvas))  # pixels
    return ((chance * (shape - away)).floor() + 0.5) / torch.tensor(canvas)


def _layers(prediction):
    for i in range(len(prediction.class_logits)):
        yield prediction._replace(
            class_logits=prediction.class_logits[i : i + 1],
            embeddings=prediction.embeddings[i : i + 1],
        )


def _their_losses(theirs, output, targets, pools) -> list[dict[str, Tensor]]:
    """By layer: of each image alone, since each has its points, brought together as the batch's.

    For the class loss that holds because all images have equally many objects.
    """
    criterion, results = theirs.criterion, []
    points, chosen = criterion.num_points, int(0.75 * criterion.num_points)
    total = sum(len(t.instances) for t in targets)
    for layer in [*output.auxiliary_logits, output]:
        sums = dict.fromkeys(LOSSES.values(), torch.tensor(0.0))
        for index, (target, pool) in enumerate(zip(targets, pools, strict=True)):
            first = {points: 0, 3 * points: 0, points - chosen: 3 * points}

            def chance(masks, count, axes, device=None, pool=pool, first=first):
                some = pool[first[count] :][:count].flip(-1)  # x, y
                return some.expand(masks, count, axes).clone()

            labels, masks = target.instances.labels, target.instances.masks.dense().tensor
            with torch.no_grad(), mock.patch.object(torch, "rand", chance):
                losses = criterion(
                    layer["masks_queries_logits"][index : index + 1],
                    layer["class_queries_logits"][index : index + 1],
                    [masks.to(layer["masks_queries_logits"])],
                    [labels],
                )
            for name, value in losses.items():
                share = 1 / len(targets) if name == LOSSES["class"] else len(labels) / total
                sums[name] = sums[name] + share * value
        results.append(sums)
    return results


def table() -> str:
    """Of all cases, in Markdown."""
    pairs = {size: make_pair(size) for size in dict.fromkeys(c.size for c in CASES)}
    rows = [["size", "images", "padding", "class logits", "mask logits", *LOSSES]]
    rows.append(["---"] * len(rows[0]))
    for case in CASES:
        name = "published" if case.size == PUBLISHED else "small"
        images = ", ".join(f"{y} x {x}" for y, x in case.shapes)
        bare = len(set(case.shapes)) == 1 and not any(s % 32 for s in case.shapes[0])
        padding = "none" if bare else "known" if case.known else "taken for image"
        figures = [f"{v:.0e}" for v in compared(pairs[case.size], case).values()]
        rows.append([name, images, padding, *figures])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    print(table())
