"""Mask DINO: contract, losses and their weights, decoding, in 2D and 3D."""

import pytest
import torch
from instance_contract import InstanceContract
from mask_heads import CLASSES, PLANE, VOLUME, losses_of_other_masks
from maskdino_scenes import SMALL, bars, certain, setting

from microtome.heads import mask_decoding
from microtome.heads.maskdino import MaskDINO
from microtome.heads.maskdino_prediction import Answers
from microtome.structures import ImageList, PyramidSpec


class MaskDINOContract(InstanceContract):
    learning_rate = 0.003
    steps = 250

    def make(self):
        return MaskDINO(self.spec, self.classes, noise=0.1, **SMALL)

    def certain(self, masks, labels, images):
        return certain(masks, labels, images)

    @pytest.mark.slow
    def test_it_learns_one_image(self, monkeypatch):
        """On whole images: boxes of objects beyond an image's end are no parts of it."""
        images, maps = self._batch()
        images.shapes[:] = torch.tensor(images.canvas)
        monkeypatch.setattr(self, "_batch", lambda: (images, maps))
        super().test_it_learns_one_image()


class TestInAPlane(MaskDINOContract):
    pass


class TestInAVolumeOfThickSlices(MaskDINOContract):
    spec = VOLUME

    @pytest.mark.slow
    def test_it_is_one_graph(self):
        super().test_it_is_one_graph()


class TestWithMasksOfBoxes(MaskDINOContract):
    test_it_learns_one_image = None  # as in test_maskdino_learns

    def make(self):
        return MaskDINO(self.spec, self.classes, masks_of_boxes=True, boxes_of_masks=False, **SMALL)

    @pytest.mark.slow
    def test_it_is_one_graph(self):
        super().test_it_is_one_graph()


class TestOnOneLevel(MaskDINOContract):
    spec = PyramidSpec((16,), ((14.0, 14.0),), (14, 14))
    test_it_is_one_graph = None  # the same graph as on two
    test_it_learns_one_image = None  # its objects are narrower than a cell


@pytest.mark.parametrize("spec", [PLANE, VOLUME])
def test_every_loss_is_weighted_and_every_weight_is_used(spec):
    """Of the layers, the selection and the noisy queries: each is there and moves the total."""
    head, maps, images = setting(spec, weights={"giou": 0.5})
    targets = [bars(images.canvas, 3)] * 2
    losses = head.train().losses(head(maps, images, targets), targets)
    terms = {"class": 4.0, "mask": 5.0, "dice": 5.0, "box": 5.0, "giou": 0.5}
    parts = ("", "proposed_", "denoised_")
    assert head.weights == {p + name: w for p in parts for name, w in terms.items()}
    assert losses.keys() == head.weights.keys()
    answers = {"class": head.decoder.classify, "box": head.decoder.correct.layers[-1]}
    answers |= {"giou": answers["box"]} | dict.fromkeys(("mask", "dice"), head.decoder.embed[-1])
    for name, value in losses.items():
        part = answers[name.rpartition("_")[2]]
        (slope,) = torch.autograd.grad(value, part.bias, retain_graph=True)
        assert value > 0 and slope.ne(0).any(), name


def test_losses_are_sums_over_layers():
    head, maps, images = setting(PLANE)
    targets = [bars(images.canvas, 2)] * 2
    prediction = head.train()(maps, images, targets)
    points = [torch.rand(3 * 128 + 32, 2)] * 2
    whole = head.losses(prediction, targets, points)
    single = []
    for layer in range(3):
        found, denoised = (
            Answers(*(part[layer : layer + 1] for part in answers))
            for answers in (prediction.found, prediction.denoised)
        )
        some = prediction._replace(found=found, denoised=denoised)
        single.append(head.losses(some, targets, points))
    for name in ("class", "mask", "box", "denoised_class", "denoised_dice", "denoised_giou"):
        torch.testing.assert_close(whole[name], sum(one[name] for one in single))


@pytest.mark.parametrize("spec", [PLANE, VOLUME])
def test_what_is_predicted_on_ignored_pixels_changes_nothing(spec):
    head, maps, images = setting(spec)
    prediction = head(maps, images)
    for ignored in (True, False):
        targets = [bars(images.canvas, 3, ignored)] * 2
        losses = losses_of_other_masks(head, prediction, targets)
        same = all(losses[0][name].equal(losses[1][name]) for name in head.weights)
        assert same == ignored


@pytest.mark.parametrize("dims", [2, 3])
def test_masks_are_sifted_before_they_are_made_large(dims, monkeypatch):
    """Of 300 queries three are sure: only these are resized, a few at a time."""
    shape, canvas = (4,) * dims, (16,) * dims
    masks = torch.zeros(300, *shape)
    for index in range(3):
        masks[index, index] = 1
    images = ImageList.pad([torch.zeros(1, *canvas)], (16,) * dims)
    prediction = certain(masks, torch.arange(300) % 3, images)
    prediction.found.class_logits[..., 3:, :] = -50.0
    held, resize = [], mask_decoding.resize_maps
    monkeypatch.setattr(
        mask_decoding, "resize_maps", lambda x, to: (held.append(x.shape[1]), resize(x, to))[1]
    )
    spec = PyramidSpec((8,), ((4.0,) * dims,), (16,) * dims)
    found = MaskDINO(spec, CLASSES, **SMALL).decode(prediction, images)[0].instances
    assert sum(held) <= 6 and max(held) <= mask_decoding.CHUNK
    assert sorted(found.labels.tolist()) == [0, 1, 2]  # classes, not scores
    for label, index in zip(found.labels.tolist(), range(1, 4), strict=True):
        assert (found.masks.maps[0] == index).nonzero()[:, 0].float().mean() // 4 == label


def test_defaults_are_the_papers():
    head = MaskDINO(PLANE, CLASSES)
    assert head.sampling == (12544, 3.0, 0.75)
    assert (head.decoder.num_queries, head.num_denoising, head.decoder.noise) == (300, 100, 0.4)
    assert (len(head.pixels.layers), len(head.decoder.layers)) == (6, 9)
    assert head.pixels.layers[0].ffn[0].out_features == 1024
    assert head.decoder.layers[0].ffn[0].out_features == 2048


@pytest.mark.parametrize(
    "options, message",
    [
        ({"num_queries": 0, "decoder_layers": 0}, "num_queries 0 .*decoder_layers 0 "),
        ({"num_denoising": -1}, "num_denoising -1"),
        ({"noise": 1.5}, "noise.*1.5"),
        ({"weights": {"focal": 1.0}}, r"unknown losses \['focal'\]"),
    ],
)
def test_impossible_heads_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        MaskDINO(PLANE, CLASSES, **options)


def test_a_diverged_training_says_where():
    head, maps, images = setting(PLANE)
    prediction = head(maps, images)
    broken = prediction._replace(features=prediction.features * float("nan"))
    with pytest.raises(FloatingPointError, match="not finite in mask"):
        head.losses(broken, [bars(images.canvas, 3)] * 2)
