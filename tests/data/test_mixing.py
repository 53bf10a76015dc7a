"""MixUp and CutMix in numbers a person can check."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from microtome.data.mixing import CutMix, MixUp, box
from microtome.data.sampling import dice
from microtome.losses import cross_entropy
from microtome.structures import ImageList, Instances, LabelLayers, Segmentation

SHAPES = {2: (12, 16), 3: (6, 12, 16)}


def batch(dims, count=3):
    """Image i is i everywhere and of class i, but for a corner to ignore."""
    shape = SHAPES[dims]
    images = [torch.full((2, *shape), float(i)) for i in range(count)]
    classes = [torch.full(shape, i) for i in range(count)]
    for one in classes:
        one[(slice(0, 2),) * dims] = 255
    return ImageList.pad(images, (1,) * dims), [Segmentation(one) for one in classes]


@pytest.mark.parametrize("dims", [2, 3])
def test_cutmix_pastes_image_and_classes_alike(dims):
    images, targets = batch(dims)
    parts = set()
    for number in range(20):
        mixed = CutMix(1.0)(images, targets, dice(0, number))
        ((share, found),) = mixed.judgements
        assert share == 1.0
        for own, (image, target) in enumerate(zip(mixed.images.tensor, found, strict=True)):
            known = target.classes != 255
            assert torch.equal(image[0][known], target.classes[known].float())
            assert torch.equal(image[0], image[1])
            others = set(image[0].unique().tolist()) - {own}
            assert len(others) <= 1, "of one other image"
            corner = (slice(0, 2),) * dims
            assert (target.classes[corner] == 255).all(), "what both ignore stays ignored"
            foreign = image[0] != own
            parts.add(round(float(foreign.float().mean()), 3))
            where = foreign.nonzero()
            if len(where):
                sides = where.max(0).values - where.min(0).values + 1
                assert sides.prod() == len(where), "a box"
    assert len(parts) > 10 and max(parts) > 0.3
    assert images.tensor[0].unique().tolist() == [0], "the batch itself is left alone"
    assert targets[1].classes.unique().tolist() == [1, 255]


def test_cutmix_takes_what_the_other_ignores():
    images, targets = batch(2, 2)
    targets[1].classes[:] = 255
    pasted = 0
    for number in range(9):
        mixed = CutMix(1.0)(images, targets, dice(0, number))
        inside = mixed.images.tensor[0, 0] == 1
        assert (mixed.judgements[0].targets[0].classes[inside] == 255).all()
        pasted += int(inside.sum())
    assert pasted > 0


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_boxes_have_their_part_of_the_canvas(dims):
    shape, rng = (400,) * dims, np.random.default_rng(0)
    volumes = []
    for _ in range(50):
        region = box(shape, 0.09, rng)
        assert all(0 <= s.start <= s.stop <= 400 for s in region)
        volumes.append(np.prod([s.stop - s.start for s in region]) / 400**dims)
    assert max(volumes) == pytest.approx(0.09, rel=0.02), "unless cut off at the border"


def test_boxes_lie_in_what_all_images_have():
    small, large = torch.zeros(1, 6, 6), torch.ones(1, 12, 12)
    images = ImageList.pad([small, large], (1, 1))
    targets = [Segmentation(torch.zeros(6, 6).long()), Segmentation(torch.ones(12, 12).long())]
    targets = [t.pad((12, 12), 255) for t in targets]
    for number in range(20):
        mixed = CutMix(1.0)(images, targets, dice(0, number))
        first, second = mixed.judgements[0].targets
        assert (first.classes[6:] == 255).all() and (first.classes[:, 6:] == 255).all()
        assert (second.classes[6:] == 1).all() and (mixed.images.tensor[1, 0, 6:] == 1).all()


def test_mixup_of_cross_entropy_is_that_of_mixed_labels():
    """The oracle is PyTorch's cross-entropy of probabilities."""
    images, targets = batch(2)
    for target in targets:
        target.classes[:2, :2] = 0  # mixed labels know no ignored pixels
    mixed = MixUp(1.0)(images, targets, dice(0, 4))
    logits = torch.randn(3, 3, 12, 16)
    found = sum(
        share * cross_entropy(logits, torch.stack([t.classes for t in truths]), 255)
        for share, truths in mixed.judgements
    )
    soft = sum(
        share * F.one_hot(torch.stack([t.classes for t in truths]), 3).movedim(-1, 1).float()
        for share, truths in mixed.judgements
    )
    assert torch.allclose(soft.sum(1), torch.ones(3, 12, 16))
    assert float(found) == pytest.approx(float(F.cross_entropy(logits, soft)), rel=1e-5)


@pytest.mark.parametrize("dims", [2, 3])
def test_mixup_weighs_images_as_truths(dims):
    images, targets = batch(dims)
    shares = []
    for number in range(30):
        mixed = MixUp(1.0, alpha=0.4)(images, targets, dice(0, number))
        (share, own), (rest, other) = mixed.judgements
        assert share + rest == pytest.approx(1) and own is targets
        for i, image in enumerate(mixed.images.tensor):
            partner = int(other[i].classes.flatten()[-1])
            assert partner != i
            assert float(image.mean()) == pytest.approx(share * i + rest * partner, abs=1e-5)
        shares.append(share)
    assert min(shares) < 0.1 and max(shares) > 0.9, "a small alpha keeps to one of the two"


@pytest.mark.parametrize("kind", [MixUp, CutMix])
def test_chance_is_a_function_of_the_key(kind):
    images, targets = batch(2)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    one, same, other = (kind(1.0)(images, targets, dice(0, n)).images.tensor for n in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)
    kept = [kind(0.3)(images, targets, dice(0, n)).images is images for n in range(200)]
    assert 0.6 < sum(kept) / 200 < 0.8


def test_classes_of_objects_are_mixed_and_mistakes_refused():
    ids = torch.zeros(12, 16).long()
    ids[3:9, 3:9] = 7
    objects = Segmentation(None, Instances(torch.tensor([2]), masks=LabelLayers.from_ids(ids)))
    images, _ = batch(2, 2)
    mixed = CutMix(1.0)(images, [objects, objects], dice(0, 1))
    assert mixed.judgements[0].targets[0].classes.unique().tolist() == [0, 2]
    with pytest.raises(ValueError, match="CutMix mixes class maps"):
        CutMix(1.0)(images, [Segmentation(), Segmentation()], dice(0, 1))
    with pytest.raises(ValueError, match="MixUp mixes the images of a batch, and this has 1"):
        MixUp(1.0)(*batch(2, 1), dice(0))
    for options in ({"prob": 1.1}, {"alpha": 0.0}):
        with pytest.raises(ValueError, match="expected prob within"):
            MixUp(**options)
