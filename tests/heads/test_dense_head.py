"""The dense head over every kind of pyramid."""

import pytest
import torch
from torch.nn import functional as F

from microtome.heads.dense import Dense, DensePrediction
from microtome.structures import Classes, ImageList, PyramidSpec, Segmentation
from microtome.testing import HeadContract

CLASSES = Classes(("background", "gland", "nucleus"))


class DenseContract(HeadContract):
    def make(self):
        return Dense(self.spec, self.classes, channels=16)

    def perfect(self, targets, images):
        classes = torch.stack([t.classes for t in targets])
        return DensePrediction(
            50 * F.one_hot(classes, self.classes.num_classes).movedim(-1, 1).float()
        )


class TestOnAPyramid(DenseContract):
    pass


class TestOnAVolumeOfThickSlices(DenseContract):
    spec = PyramidSpec((8, 16), ((1.0, 2.0, 2.0), (2.0, 4.0, 4.0)), (2, 4, 4))


class TestOnAUNet(DenseContract):
    spec = PyramidSpec((8,), ((1.0, 1.0),), (4, 4))
    learning_rate = 0.1

    def truth(self, shape):
        """A single 1x1 convolution can only learn what its maps tell apart: one class."""
        return Segmentation(torch.ones(*shape, dtype=torch.long))


class TestOnAPlainViT(DenseContract):
    spec = PyramidSpec((32,), ((14.0, 14.0),), (14, 14))


def images(spec, factor=2):
    return ImageList.pad([torch.zeros(3, *[factor * m for m in spec.multiple])], spec.multiple)


@pytest.mark.parametrize(
    "strides, steps",
    [((2, 2), 0), ((4, 4), 0), ((8, 8), 1), ((14, 14), 2), ((16, 16), 2), ((1, 16, 16), 2)],
)
def test_coarse_maps_are_refined_by_twos(strides, steps):
    spec = PyramidSpec((8,), (strides,), strides)
    head, batch, shapes = Dense(spec, CLASSES, channels=8), images(spec), []
    head.classify.register_forward_hook(lambda _, __, out: shapes.append(out.shape[2:]))
    logits = head((torch.randn(1, 8, *[2] * len(strides)),), batch).logits
    assert len(head.steps) == steps and logits.shape == (1, 3, *batch.canvas)
    assert max(c / s for c, s in zip(batch.canvas, shapes[0], strict=True)) <= 4


def test_on_one_level_at_stride_one_it_is_a_1x1_convolution():
    head = Dense(PyramidSpec((8,), ((1.0, 1.0),), (4, 4)), CLASSES)
    assert sum(p.numel() for p in head.parameters()) == 8 * 3 + 3
    x = torch.randn(1, 8, 8, 8)
    logits = head((x,), images(PyramidSpec((8,), ((1.0, 1.0),), (4, 4)))).logits
    torch.testing.assert_close(logits, head.classify(x))


def test_a_level_too_many_is_an_error():
    head = Dense(PyramidSpec((8,), ((4.0, 4.0),), (4, 4)), CLASSES, channels=8)
    with pytest.raises(ValueError, match="zip"):
        head((torch.randn(1, 8, 2, 2),) * 2, images(PyramidSpec((8,), ((4.0, 4.0),), (4, 4))))


def test_weights_reach_the_losses():
    spec = PyramidSpec((8,), ((1.0, 1.0),), (4, 4))
    head = Dense(spec, CLASSES, weights={"dice": 0.5}, class_weights=[1.0, 0.0, 0.0])
    assert head.weights == {"cross_entropy": 1.0, "dice": 0.5}
    prediction = DensePrediction(torch.randn(1, 3, 4, 4))
    only_glands = [Segmentation(torch.ones(4, 4, dtype=torch.long))]
    assert head.losses(prediction, only_glands)["cross_entropy"] == 0
    assert head.blueprint["init_args"]["class_weights"] == [1.0, 0.0, 0.0]


def test_losses_are_chosen_by_weight_and_told_their_options():
    weights = {"dice": 0.0, "focal": 2.0, "boundary": 0.1}
    options = {"focal": {"gamma": 0.0}}
    spec = PyramidSpec((8,), ((1.0, 1.0),), (4, 4))
    head = Dense(spec, CLASSES, weights=weights, class_weights=[1.0, 2.0, 3.0], options=options)
    assert head.weights == {"cross_entropy": 1.0, "focal": 2.0, "boundary": 0.1}
    truth = [Segmentation(torch.arange(16).view(4, 4) % 3)]
    losses = head.losses(DensePrediction(torch.randn(1, 3, 4, 4)), truth)
    assert losses.keys() == head.weights.keys()
    torch.testing.assert_close(losses["focal"], losses["cross_entropy"])


def test_the_training_set_gives_the_class_weights():
    spec = PyramidSpec((8,), ((1.0, 1.0),), (4, 4))
    head, known = (
        Dense(spec, CLASSES, class_weights=given) for given in ("inverse", [0.5, 1.0, 2.0])
    )
    prediction = DensePrediction(torch.randn(1, 3, 4, 4))
    truth = [Segmentation(torch.arange(16).view(4, 4) % 3)]
    with pytest.raises(ValueError, match="inverse needs the training set's frequencies"):
        head.losses(prediction, truth)
    head.learn_frequencies([60, 30, 15], [105, 105, 105])
    head.class_weights *= 0.5 / head.class_weights[0].item()
    assert torch.equal(
        head.losses(prediction, truth)["cross_entropy"],
        known.losses(prediction, truth)["cross_entropy"],
    )
    again = Dense(spec, CLASSES, class_weights="inverse")
    again.load_state_dict(head.state_dict())  # a checkpoint knows them
    assert again.losses(prediction, truth) == head.losses(prediction, truth)
    assert "class_weights" not in known.state_dict()


def test_a_target_without_a_class_map_is_an_error():
    head = Dense(PyramidSpec((8,), ((1.0, 1.0),), (4, 4)), CLASSES)
    with pytest.raises(ValueError, match="1 targets have no `classes`"):
        head.losses(DensePrediction(torch.randn(1, 3, 4, 4)), [Segmentation()])


@pytest.mark.parametrize(
    "classes, options, message",
    [
        (CLASSES._replace(exclusive=False), {}, "exclusive"),
        (CLASSES, {"weights": {"vocal": 1.0}}, r"unknown losses \['vocal'\]"),
        (CLASSES, {"weights": {"cross_entropy": 0.0, "dice": 0.0}}, "every loss has weight 0"),
        (CLASSES, {"class_weights": [1.0] * 3, "weights": {"cross_entropy": 0.0}}, "both have"),
        (CLASSES, {"options": {"focal": {"gamma": 1.0}}}, "focal is not among the losses"),
        (CLASSES, {"class_weights": [1.0]}, "3 classes but 1 class_weights"),
        (CLASSES, {"class_weights": "rare"}, "class_weights: expected one of"),
        (CLASSES._replace(ignore_index=1), {}, "ignore_index 1 is also the class 'gland'"),
    ],
)
def test_impossible_heads_are_refused(classes, options, message):
    with pytest.raises(ValueError, match=message):
        Dense(PyramidSpec((8,), ((1.0, 1.0),), (4, 4)), classes, **options)
