"""The linear, the upsampling and the UPerNet head, on any pyramid."""

from collections.abc import Callable

import pytest
import torch
from jsonargparse import ArgumentError, ArgumentParser

from microtome.blueprint import build
from microtome.cli.compose import PACKAGED, compose
from microtome.heads import Head
from microtome.heads.dense import Dense, DensePrediction
from microtome.heads.linear import Linear
from microtome.heads.upernet import UPerNet
from microtome.heads.upsampling import Upsampling
from microtome.layers import resize_maps as resized
from microtome.losses import weighted_sum
from microtome.structures import Classes, ImageList, PyramidSpec, Segmentation, members
from microtome.testing import HeadContract


class Semantic(HeadContract):
    def perfect(self, targets, images):
        classes = torch.stack([t.classes for t in targets])
        certain = torch.nn.functional.one_hot(classes, self.classes.num_classes)
        return DensePrediction(certain.movedim(-1, 1).float() * 100)


class TestLinear(Semantic):
    spec = PyramidSpec((64, 64), ((4.0, 4.0), (8.0, 8.0)), (8, 8))
    learning_rate = 0.1

    def make(self):
        return Linear(self.spec, self.classes)


class TestLinearInAVolume(Semantic):
    spec = PyramidSpec((64,), ((2.0, 4.0, 4.0),), (2, 4, 4))
    learning_rate = 0.1

    def make(self):
        return Linear(self.spec, self.classes)


class TestUpsampling(Semantic):
    def make(self):
        return Upsampling(self.spec, self.classes, channels=(16, 8))


class TestUpsamplingOfPatch14(Semantic):
    spec = PyramidSpec((8, 16), ((4.0, 4.0), (14.0, 14.0)), (28, 28))
    steps = 60

    def make(self):
        return Upsampling(self.spec, self.classes, channels=(16, 8))


class TestUpsamplingInAVolume(Semantic):
    spec = PyramidSpec((8, 16), ((1.0, 2.0, 2.0), (2.0, 8.0, 8.0)), (2, 8, 8))
    steps = 60

    def make(self):
        return Upsampling(self.spec, self.classes, channels=(8, 8))


class TestUPerNet(Semantic):
    def make(self):
        return UPerNet(self.spec, self.classes, channels=16)


class TestUPerNetInAVolume(Semantic):
    spec = PyramidSpec((8, 16), ((1.0, 4.0, 4.0), (2.0, 8.0, 8.0)), (2, 8, 8))

    def make(self):
        return UPerNet(self.spec, self.classes, channels=8, bins=(1, 2))


@pytest.mark.parametrize(
    "strides, steps, joining",
    [
        ([(14.0,)], [7, 3.5, 1.75, 1], [[], [], [], []]),
        ([(16.0,)], [8, 4, 2, 1], [[], [], [], []]),
        ([(8.0,)], [4, 2, 1], [[], [], []]),
        ([(2.0,), (4.0,), (8.0,), (16.0,)], [8, 4, 2, 1], [[2], [1], [0], []]),
        ([(2.0,), (4.0,), (8.0,), (14.0,)], [7, 3.5, 1.75, 1], [[2], [1], [0], []]),
        ([(3.5,), (7.0,), (14.0,), (28.0,)], [14, 7, 3.5, 1.75, 1], [[2], [1], [0], [], []]),
        ([(1.0,), (1.0,)], [1], [[0]]),
    ],
)
def test_upsampling_halves_any_stride_and_takes_levels_as_skips(strides, steps, joining):
    multiple = (int(max(s[0] for s in strides)),)
    spec = PyramidSpec((4,) * len(strides), tuple(strides), multiple)
    head = Upsampling(spec, Classes(("a", "b")), channels=(8,))
    assert [s[0] for s in head.steps] == steps and head.joining == joining


def test_a_linear_head_is_linear():
    """Logits of a sum of maps are the sum of their logits, but for the bias."""
    spec = PyramidSpec((8, 16), ((4.0, 4.0), (8.0, 8.0)), (8, 8))
    head = Linear(spec, Classes(("a", "b", "c"))).eval()
    images = ImageList.pad([torch.zeros(3, 32, 48)], (8, 8))
    one = (torch.randn(1, 8, 8, 12), torch.randn(1, 16, 4, 6))
    other = (torch.randn(1, 8, 8, 12), torch.randn(1, 16, 4, 6))
    none = tuple(torch.zeros_like(x) for x in one)
    with torch.no_grad():
        both = head(tuple(x + y for x, y in zip(one, other, strict=True)), images).logits
        apart = head(one, images).logits + head(other, images).logits - head(none, images).logits
    torch.testing.assert_close(both, apart, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("head", [Dense, Linear, Upsampling, UPerNet])
def test_another_number_of_classes_is_told_with_both(head):
    spec = PyramidSpec((8,), ((4.0, 4.0),), (4, 4))
    with pytest.raises(ValueError, match=r"num_classes: 4 given, the data has 2 \(a, b\)"):
        head(spec, Classes(("a", "b")), num_classes=4)
    assert head(spec, Classes(("a", "b")), num_classes=2).classes.num_classes == 2


PRESETS = sorted(p.stem for p in (PACKAGED / "loss").glob("*.yaml") if p.stem != "mask2former")


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_of_losses_takes_a_step(preset):
    config = compose("pfm_linear", [f"loss={preset}", "data.init_args.manifest=x.json"])
    given = config["model"]["segmenter"]["init_args"]["head"]["init_args"]
    torch.manual_seed(0)
    spec = PyramidSpec((8,), ((4.0, 4.0),), (4, 4))
    head = Linear(spec, Classes(("background", "gland")), **given)
    head.learn_frequencies([200, 56], [256, 256])
    wanted = {name: weight for name, weight in given["weights"].items() if weight}
    assert head.weights == wanted  # what the file says, and none of the defaults besides
    maps, images = (torch.randn(1, 8, 4, 4),), ImageList.pad([torch.zeros(3, 16, 16)], (4, 4))
    truth = [Segmentation((resized(maps[0][:, :1], (16, 16))[0, 0] > 0.5).long())]
    optimiser, totals = torch.optim.SGD(head.parameters(), 0.05), []
    for _ in range(2):
        totals.append(weighted_sum(head.losses(head(maps, images), truth), head.weights))
        optimiser.zero_grad()
        totals[-1].backward()
        optimiser.step()
    assert totals[1] < totals[0]
    nothing = [Segmentation(torch.full((16, 16), head.classes.ignore_index))]
    losses = head.losses(head(maps, images), nothing)
    assert all(value.item() == 0 and value.requires_grad for value in losses.values())


def test_a_config_says_the_losses_of_any_semantic_head_and_a_blueprint_repeats_it():
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--head", type=Callable[[PyramidSpec, Classes], Head])
    losses = {"weights": {"focal": 1.0}, "class_weights": [1.0, 2.0], "num_classes": 2}
    losses["options"] = {"focal": {"gamma": 1.0}}
    for path, own in [("dense.Dense", {"channels": 8}), ("linear.Linear", {})]:
        named = {"class_path": f"microtome.heads.{path}", "init_args": own | losses}
        make = parser.instantiate(parser.parse_object({"head": named})).head
        head = make(PyramidSpec((8,), ((4.0, 4.0),), (4, 4)), Classes(("background", "gland")))
        told = head.blueprint["init_args"]
        assert {key: told[key] for key in own | losses} == own | losses
        assert build(head.blueprint).terms.keys() == head.weights.keys() >= {"focal"}
        named["init_args"] = {"class_wieghts": "median"}
        with pytest.raises(ArgumentError, match="class_wieghts"):
            parser.parse_object({"head": named})


class Overlapping(HeadContract):
    classes = Classes.overlapping(("gland", "tumour"))

    def perfect(self, targets, images):
        sets = torch.stack([t.classes for t in targets])
        return DensePrediction(100.0 * members(sets, 2, 255).movedim(-1, 1) - 50)


class TestOfClassesThatOverlap(Overlapping):
    def make(self):
        return Dense(self.spec, self.classes, channels=16)


class TestOfClassesThatOverlapInAVolume(Overlapping):
    spec = PyramidSpec((8, 16), ((1.0, 2.0, 2.0), (2.0, 4.0, 4.0)), (2, 4, 4))

    def make(self):
        return Dense(self.spec, self.classes, channels=16, weights={"dice": 0.0})


def test_classes_that_overlap_have_losses_of_their_own():
    spec, classes = PyramidSpec((8,), ((4.0, 4.0),), (4, 4)), Overlapping.classes
    assert Linear(spec, classes).weights == {"dice": 1.0, "binary_cross_entropy": 1.0}
    assert Linear(spec, classes, num_classes=2).outputs == 2
    with pytest.raises(ValueError, match=r"cross_entropy, focal: .* \(loss=bce_dice\)"):
        Linear(spec, classes, weights={"cross_entropy": 1.0, "focal": 1.0})
