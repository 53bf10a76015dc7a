"""Masks judged at points: the same whatever is held and kept, and how much is kept."""

from weakref import WeakSet

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from microtome.heads import judged_points
from microtome.heads.judged_points import JudgedPoints, known_only
from microtome.heads.mask_targets import MaskTargets
from microtome.losses.masks import PointSampling, choose_uncertain
from microtome.ops.backend import using
from microtome.ops.point_sample import BACKENDS, point_sample

HERE = {b.name: b.lacking for b in BACKENDS}
MASKS, CHANNELS = 150, 8
SAMPLING = PointSampling(400)


def scene(shape=(40, 48), stride=2):
    """Truth of 30 objects in columns, and leaves: embeddings [R, E], features [E, *S], ids [R]."""
    generator = torch.Generator().manual_seed(0)
    ids = (torch.arange(shape[-1]) * 30 // shape[-1]).expand(*shape) + 1
    numbers = torch.arange(1, 31)
    valid = torch.ones(shape, dtype=torch.bool)
    truth = MaskTargets(ids[None], numbers, torch.zeros(30).long(), valid, valid.numel())
    coarse = [s // stride for s in shape]
    embeddings = torch.randn(MASKS, CHANNELS, generator=generator).requires_grad_()
    features = torch.randn(CHANNELS, *coarse, generator=generator).requires_grad_()
    return truth, embeddings, features, numbers.repeat(MASKS // 30)


class Kept:
    """A tensor as a graph keeps it, as long as the graph is there."""

    def __init__(self, tensor):
        self.tensor = tensor


def answered(shape, stride=2):
    """Losses and their gradients."""
    truth, *leaves, ids = scene(shape, stride)
    torch.manual_seed(0)
    judged = JudgedPoints.of(truth, SAMPLING)
    losses = judged.losses(*leaves, ids)
    return (*losses, *torch.autograd.grad(losses[0] + 3 * losses[1], leaves))


@pytest.mark.parametrize("shape", [(40, 48), (4, 20, 40)])
def test_how_many_masks_are_held_at_a_time_changes_nothing(shape, monkeypatch):
    expected = answered(shape)
    monkeypatch.setattr(judged_points, "LOGITS_AT_ONCE", 1)
    torch.testing.assert_close(answered(shape), expected)


@pytest.mark.parametrize("stride", [1, 2])  # sampled after the product and before it
def test_the_gradients_are_those_of_plain_pytorch(stride):
    truth, embeddings, features, ids = scene(stride=stride)
    torch.manual_seed(0)
    judged = JudgedPoints.of(truth, SAMPLING)
    logits = embeddings @ point_sample(features[None], judged.points[None])[0]
    columns = choose_uncertain(logits.detach(), judged.chosen, judged.candidates).long()
    target = (judged.values[0] == ids[:, None]).gather(1, columns).float()
    picked = logits.gather(1, columns)
    probs = picked.sigmoid()
    entropy = torch.nn.functional.binary_cross_entropy(probs, target) * MASKS
    shared, total = (probs * target).sum(1), (probs + target).sum(1)
    dice = (1 - (2 * shared + 1) / (total + 1)).sum()
    expected = torch.autograd.grad(entropy + 3 * dice, (embeddings, features))
    torch.testing.assert_close(answered((40, 48), stride), (entropy, dice, *expected))


@pytest.mark.parametrize("backend", HERE)
@pytest.mark.parametrize("stride", [1, 2])
def test_nothing_is_kept_of_a_mask(stride, backend):
    """For the way back: what was given, its gradients, and features at the points; no [R, P]."""
    if HERE[backend]:
        pytest.skip(HERE[backend])
    truth, embeddings, features, ids = scene(stride=stride)
    judged = JudgedPoints.of(truth, SAMPLING)
    kept = WeakSet()

    def keep(x):
        kept.add(one := Kept(x))
        return one

    with saved_tensors_hooks(keep, lambda one: one.tensor), using(point_sample=backend):
        losses = judged.losses(embeddings, features, ids)
    storages = [one.tensor.untyped_storage() for one in kept]
    size = sum({s.data_ptr(): s.nbytes() for s in storages}.values())
    columns = min(features[0].numel(), len(judged.points))
    expected = 2 * embeddings.nbytes + 2 * 4 * CHANNELS * columns
    if stride == 1:  # sampled before the product; plain PyTorch keeps what it samples from too
        expected += judged.points.nbytes + features.nbytes * (backend == "reference")
    assert size <= expected < MASKS * len(judged.points), (size, expected)
    with using(point_sample=backend):
        sum(losses).backward()
    assert embeddings.grad.ne(0).any() and features.grad.ne(0).any()


def test_features_are_kept_where_all_is_known():
    truth, _, features, _ = scene()
    assert known_only(features, truth) is features
    truth.valid_mask[:4] = False
    some = known_only(features, truth._replace(judged=int(truth.valid_mask.sum())))
    assert some[:, :2].eq(0).all() and some[:, 2:].equal(features[:, 2:])
