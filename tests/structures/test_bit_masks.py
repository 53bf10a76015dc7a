"""One bit map per object, beside the same objects as label layers."""

import pytest
import torch

from microtome.structures import BitMasks, LabelLayers


@pytest.fixture(params=[2, 3])
def masks(request):
    """Of shape 6 x 7 (x 8): a block, all, nothing, and one pixel."""
    made = torch.zeros(4, *(6, 7, 8)[: request.param], dtype=torch.bool)
    made[(0, *[slice(1, 4)] * request.param)] = True
    made[1] = True
    made[(3, *[2] * request.param)] = True
    return BitMasks(made)


def test_as_label_layers_say(masks):
    layers = LabelLayers.from_masks(masks)
    assert layers.dense().tensor.equal(masks.tensor)
    assert masks.boxes().equal(layers.boxes()) and masks.areas().equal(layers.areas())
    assert masks.nonempty().tolist() == [True, True, False, True]
    region = (slice(2, 5),) * (masks.tensor.ndim - 1)
    assert masks.crop(region).boxes().equal(layers.crop(region).boxes())
    shape = (9, 3, 5)[: masks.tensor.ndim - 1]
    assert masks.resize(shape).tensor.equal(layers.resize(shape).dense().tensor)


def test_sets_are_joined_and_cut(masks):
    block, everything, nothing = masks[0], masks[1], masks[2]
    pixels = block.areas()
    assert (block & everything).areas() == pixels and (block | nothing).areas() == pixels
    assert (everything - block).areas() == everything.areas() - pixels
    assert (everything ^ block).tensor.equal((~block).tensor)
    assert (masks & block).areas().tolist() == [pixels, pixels, 0, 1]  # one against each
    assert masks[[0, 3]].any().sum() == pixels


def test_nothing_has_no_boxes():
    assert BitMasks(torch.zeros(0, 3, 4, dtype=torch.bool)).boxes().shape == (0, 4)


def test_what_counts_as_inside_is_said():
    with pytest.raises(ValueError, match="float32"):
        BitMasks(torch.zeros(1, 2, 2))
