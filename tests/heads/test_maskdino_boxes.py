"""Boxes of Mask DINO: around masks, filled by ellipses, exact."""

import pytest
import torch
from mask_heads import PLANE, VOLUME
from maskdino_scenes import bars, setting

from microtome.heads import maskdino_selection
from microtome.heads.maskdino_boxes import ellipses, parabolas
from microtome.heads.maskdino_selection import boxes_of_masks
from microtome.structures import ImageList


@pytest.mark.parametrize("dims", [2, 3])
def test_boxes_are_around_masks_within_the_image(dims):
    """One query per mask: a block, nothing, everything; half of the first axis is padding."""
    shape = (4, 8, 6)[-dims:]
    masks = torch.zeros(3, *shape)
    masks[(0, *([slice(1, 3)] * dims))] = 1
    masks[2] = 1
    images = ImageList(torch.zeros(1, 1, *(2 * s for s in shape)), torch.tensor([shape]))
    images.shapes[:, 1:] *= 2
    boxes = boxes_of_masks(torch.eye(3)[None], 2 * masks[None] - 1, images)[0]
    half = shape[0] // 2
    low, high = [1 / half], [min(3, half) / half]
    low, high = low + [1 / s for s in shape[1:]], high + [3 / s for s in shape[1:]]
    centre = [(a + b) / 2 for a, b in zip(low, high, strict=True)]
    sizes = [b - a for a, b in zip(low, high, strict=True)]
    torch.testing.assert_close(boxes[0], torch.tensor(centre + sizes))
    assert boxes[1].eq(0).all()
    assert boxes[2].tolist() == [0.5] * dims + [1.0] * dims


def test_masks_of_which_boxes_are_made_are_held_a_few_at_a_time(monkeypatch):
    embeddings, features = torch.randn(2, 10, 4), torch.randn(2, 4, 8, 8)
    images = ImageList(torch.zeros(2, 1, 8, 8), torch.full((2, 2), 8))
    held, edges = [], maskdino_selection._edges
    monkeypatch.setattr(
        maskdino_selection, "_edges", lambda masks: (held.append(masks.numel()), edges(masks))[1]
    )
    whole = boxes_of_masks(embeddings, features, images)
    monkeypatch.setattr(maskdino_selection, "_CELLS_AT_ONCE", 400)
    assert boxes_of_masks(embeddings, features, images).equal(whole)
    assert held[0] == 1280 and max(held[1:]) <= 400


@pytest.mark.parametrize("dims", [2, 3])
def test_ellipses_fill_their_boxes(dims):
    """The logit is highest in the middle and zero where the ellipse meets the box; no padding."""
    shape = (20, 40, 80)[-dims:]
    images = ImageList(torch.zeros(1, 1, *shape), torch.tensor([shape]) // 2)
    box = torch.tensor([0.5] * dims + [0.4, 0.6, 0.8][-dims:])
    logits = torch.tensordot(ellipses(box), parabolas(shape, images)[0], dims=1)
    half = box[dims:] / 2 + 0.01
    for axis in range(dims):
        middle = [s // 4 for s in shape]
        middle[axis] = slice(None)
        at = (torch.arange(shape[axis]) + 0.5) / (shape[axis] / 2)
        across = [((1 / (s / 2)) / 2 / half[i]) ** 2 for i, s in enumerate(shape) if i != axis]
        expected = 2 * (1 - ((at - 0.5) / half[axis]) ** 2 - sum(across))
        torch.testing.assert_close(logits[tuple(middle)], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("spec", [PLANE, VOLUME])
def test_masks_begin_as_ellipses_in_boxes(spec):
    head, maps, images = setting(spec, masks_of_boxes=True, boxes_of_masks=False)
    last = head.decoder.embed[-1]
    with torch.no_grad():
        last.weight.zero_(), last.bias.zero_()
        prediction = head(maps, images)
    shape, boxes = prediction.features.shape[2:], prediction.found.boxes[-1]
    expected = torch.einsum("bqe,be...->bq...", ellipses(boxes), parabolas(shape, images))
    torch.testing.assert_close(prediction.mask_logits(), expected)
    losses = head.losses(prediction, [bars(images.canvas, 3)] * 2)
    assert all(value.isfinite() for value in losses.values())
    assert head.state_dict().keys() == setting(spec)[0].state_dict().keys()


def test_coordinates_stay_exact_under_autocast():
    head, maps, images = setting(PLANE)
    head.eval()
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        prediction = head(maps, images)
    assert prediction.found.class_logits.dtype == torch.bfloat16
    assert prediction.found.boxes.dtype == prediction.proposed.boxes.dtype == torch.float32
    tiny = prediction.found.boxes * 4096
    assert not tiny.equal(prediction.found.boxes.bfloat16().float() * 4096)
