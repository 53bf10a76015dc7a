"""The head of insides and boundaries: its targets, its flooding, and that it learns."""

from functools import partial

import pytest
import torch
from instance_contract import InstanceContract
from torch import nn
from torch.nn import functional as F

from microtome.backbones.unet import UNet
from microtome.data.synthetic import SyntheticNuclei, SyntheticTissue
from microtome.evaluation import InstanceEvaluator
from microtome.heads.boundary_watershed import BoundaryWatershed, boundary
from microtome.heads.dense import DensePrediction
from microtome.heads.flooding import flooded
from microtome.models import Segmenter
from microtome.structures import Classes, Instances, LabelLayers, PyramidSpec, Segmentation

KINDS = Classes(("background", "gland", "nucleus"), things=(False, True, True))


class ObjectsContract(InstanceContract):
    classes = KINDS

    def make(self):
        return BoundaryWatershed(self.spec, self.classes, channels=16, min_size=1)

    def truth(self, shape):
        """Bars of glands and nuclei in turn, that touch."""
        width = shape[-1] // 4
        ids = (torch.arange(shape[-1]) // width).expand(*shape).clone()
        labels = torch.tensor([1, 2, 1])
        classes = torch.cat([torch.zeros(1, dtype=torch.long), labels])[ids]
        return Segmentation(classes, Instances(labels, masks=LabelLayers.from_ids(ids)))

    def test_the_decoded_truth_is_the_truth(self):
        head = self.make().eval()
        images, _ = self._batch()
        truth = self.truth(images.canvas)
        parts = F.one_hot(head._parts(truth), 4).movedim(-1, 0).float()
        results = head.decode(DensePrediction(50 * torch.stack([parts] * 2)), images)
        for result, shape in zip(results, images.shapes.tolist(), strict=True):
            found, window = result.instances, tuple(slice(s) for s in shape)
            expected = truth.instances.masks.maps[0][window]
            kinds = torch.cat([torch.zeros(1, dtype=torch.long), truth.instances.labels])
            maps = found.masks.maps[0]
            assert (maps > 0).equal(expected > 0)
            assert found.scores.min() > 0.99 and found.scores.dtype == torch.float32
            there = expected[parts[1:-1].sum(0)[window] > 0].unique()
            assert len(found) == len(there)
            for number in there:
                most = maps[expected == number].mode().values
                both = ((maps == most) & (expected == number)).sum()
                either = ((maps == most) | (expected == number)).sum()
                assert both / either > 0.7 and found.labels[most - 1] == kinds[number]


class TestInAPlane(ObjectsContract):
    pass


class TestInAVolumeOfThickSlices(ObjectsContract):
    spec = PyramidSpec((8, 16), ((1.0, 2.0, 2.0), (2.0, 4.0, 4.0)), (2, 4, 4))


def test_boundaries_by_hand():
    ids = torch.tensor([[1, 1, 1, 2, 2, 2], [1, 1, 1, 2, 2, 2], [1, 1, 1, 0, 0, 3]])
    everywhere = torch.ones_like(ids, dtype=torch.bool)
    want = [[0, 0, 1, 1, 0, 0], [0, 0, 1, 1, 1, 1], [0, 0, 1, 0, 0, 0]]
    assert boundary(ids, everywhere).int().tolist() == want, "3 is too thin to have an inside"
    judged = everywhere.clone()
    judged[:, 3:] = False
    assert not boundary(ids, judged).any(), "what is beyond is not known"
    deep = ids.expand(5, 3, 6)
    assert boundary(deep, torch.ones_like(deep, dtype=torch.bool)).equal(
        torch.tensor(want).bool().expand(5, 3, 6)
    )


def test_targets_name_kinds_boundaries_and_what_is_ignored():
    head = BoundaryWatershed(PyramidSpec((8,), ((1.0, 1.0),), (4, 4)), KINDS)
    assert head.dense.classes.names == ("nothing", "inside gland", "inside nucleus", "boundary")
    ids = torch.tensor([[0, 7, 7, 7, 9, 9, 9, 0]]).expand(1, 8)
    classes = torch.tensor([[0, 1, 1, 1, 2, 2, 2, 255]])
    objects = Instances(torch.tensor([1, 2]), masks=LabelLayers.from_ids(ids))
    assert head._parts(Segmentation(classes, objects)).tolist() == [[0, 3, 1, 3, 3, 2, 2, 255]]
    with pytest.raises(ValueError, match="learns from objects with masks"):
        head.losses(DensePrediction(torch.zeros(1, 4, 1, 8)), [Segmentation(classes)])
    with pytest.raises(ValueError, match="boundary_weight > 0"):
        BoundaryWatershed(PyramidSpec((8,), ((1.0, 1.0),), (4, 4)), KINDS, boundary_weight=0)


def test_flooding_by_hand():
    """Two insides with a boundary between, a part without an inside, and a speck."""
    parts = torch.tensor([[1, 1, 3, 3, 2, 2, 0, 3, 3, 3, 0, 1], [0] * 12])
    probs = F.one_hot(parts, 4).movedim(-1, 0).float().numpy()
    ids, kinds, scores = flooded(probs, min_size=2)
    assert ids[0].tolist() == [1, 1, 1, 2, 2, 2, 0, 3, 3, 3, 0, 0]
    assert kinds[:2].tolist() == [0, 1] and scores.tolist() == [1, 1, 1]
    nothing = F.one_hot(torch.zeros(3, 4, dtype=torch.long), 4).movedim(-1, 0).float().numpy()
    ids, kinds, scores = flooded(nothing)
    assert not ids.any() and len(kinds) == len(scores) == 0


def learnt(data, net, steps, per_step):
    torch.manual_seed(0)
    samples = [data.load(i) for i in range(len(data))]
    head = partial(BoundaryWatershed, min_size=4)
    model = Segmenter(net, head, data.classes, normalisation="zscore").train()
    optimiser = torch.optim.AdamW(model.parameters(), 5e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 5e-3, steps)
    for step in range(steps):
        batch = [samples[(step * per_step + i) % len(samples)] for i in range(per_step)]
        images, targets = model.prepare(batch)
        optimiser.zero_grad()
        model.total(model.losses(model(images, targets), targets)).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
        schedule.step()
    evaluator = InstanceEvaluator(data.classes)
    evaluator.process(model.eval().predict_samples(samples), [s.truth for s in samples])
    return evaluator.evaluate()


@pytest.mark.slow
@pytest.mark.parametrize("dims", [2, 3])
def test_objects_of_eight_images_are_learnt(dims):
    if dims == 2:
        data = SyntheticTissue(8, size=64)
        net = UNet(out_channels=16, options={"strides": [1, 2, 2], "filters": [16, 32, 32]})
    else:
        data = SyntheticNuclei(8, shape=(8, 32, 32))
        options = {"strides": [1, [1, 2, 2], 2], "filters": [16, 32, 32]}
        net = UNet(out_channels=16, in_channels=1, spatial_dims=3, options=options)
    numbers = learnt(data, net, 160, 4)
    assert numbers["coco_ap50"] >= 0.95, numbers
