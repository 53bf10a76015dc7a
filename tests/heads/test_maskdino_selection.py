"""Which places become queries of Mask DINO, and what they begin with."""

import pytest
import torch
from mask_heads import PLANE, VOLUME, other_padding
from maskdino_scenes import bars, setting

from microtome.heads.maskdino_selection import Places, boxes_of_masks
from microtome.structures import ImageList


@pytest.mark.parametrize("spec", [PLANE, VOLUME])
def test_fewer_places_than_queries_are_as_many_queries(spec):
    head, maps, images = setting(spec, num_queries=5000)
    targets = [bars(images.canvas, 2)] * 2
    prediction = head.train()(maps, images, targets)
    assert prediction.found.boxes.shape[2] == maps[-1][0, 0].numel()
    assert all(value.isfinite() for value in head.losses(prediction, targets).values())


@pytest.mark.parametrize("spec", [PLANE, VOLUME])
def test_queries_begin_with_boxes_of_masks_or_of_places(spec):
    head, maps, images = setting(spec)
    masks = head.decoder(head.pixels(maps, images), images)
    head.decoder.boxes_of_masks = False
    other = head.decoder(head.pixels(maps, images), images)
    assert other.found.boxes[0].equal(other.proposed.boxes[0])
    assert other.proposed.boxes.equal(masks.proposed.boxes)
    around = boxes_of_masks(masks.proposed.embeddings[0], masks.features, images)
    assert (around > 0).any(-1).all()
    torch.testing.assert_close(masks.found.boxes[0], around, rtol=0, atol=2e-5)


def test_padding_is_never_a_query():
    _, _, images = setting(PLANE)
    shapes = images.shapes // 2
    level = torch.randn(2, 32, 8, 8)
    places = Places.of([level], ImageList(images.tensor, shapes))
    usable = places.usable.view(2, 8, 8)
    assert usable[:, :4, :4].all() and usable.sum() == 32
    boxes = places.proposals.sigmoid().view(2, 8, 8, 4)[0, :4, :4]
    torch.testing.assert_close(boxes[..., 0], ((torch.arange(4) + 0.5) / 4)[:, None].expand(4, 4))
    torch.testing.assert_close(boxes[..., 2:], torch.full((4, 4, 2), 0.05))


@pytest.mark.parametrize("spec", [PLANE, VOLUME])
def test_padding_gives_nothing_to_the_decoder(spec):
    """Encoded maps and features that differ in padding alone give the same answers."""
    head, maps, images = setting(spec)
    half, pixels, other = other_padding(head.eval(), maps, images)
    first = head.decoder(pixels, half)
    second = head.decoder(other, half)
    for ours, theirs in zip(first.found, second.found, strict=True):
        torch.testing.assert_close(ours, theirs)
    whole = head.decoder(pixels, images)
    assert not torch.allclose(first.found.class_logits, whole.found.class_logits, atol=1e-3)
