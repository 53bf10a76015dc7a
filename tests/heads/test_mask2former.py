"""Mask2Former: contract, ignored pixels, padding, decoding, small trainings, in 2D and 3D."""

import pytest
import torch
from instance_contract import InstanceContract
from mask_heads import CLASSES, PLANE, VOLUME, batch, losses_of_other_masks, other_padding
from torch.nn import functional as F

from microtome.heads.mask2former import Mask2Former
from microtome.heads.mask_classification import MaskPrediction
from microtome.structures import ImageList, Instances, LabelLayers, PyramidSpec, Segmentation
from microtome.testing import HeadContract

SMALL = {"num_queries": 8, "hidden": 32, "encoder_layers": 1, "decoder_layers": 3, "num_heads": 4}


def certain(maps, labels, num_classes=3):
    """The prediction of masks [N, *S] and their classes, one query each, sure of both."""
    count = len(labels)
    classes = 50 * F.one_hot(labels, num_classes + 1).float()
    features = 100 * maps.float() - 50
    return MaskPrediction(classes[None, None], torch.eye(count)[None, None], features[None])


def batched(predictions):
    classes, embeddings, features = zip(*predictions, strict=True)
    return MaskPrediction(torch.cat(classes, 1), torch.cat(embeddings, 1), torch.cat(features))


class Mask2FormerContract(HeadContract):
    learning_rate = 0.003

    def make(self):
        return Mask2Former(self.spec, self.classes, **SMALL)

    def perfect(self, targets, images):
        kinds = torch.arange(3)
        return batched(certain(F.one_hot(t.classes, 3).movedim(-1, 0), kinds) for t in targets)


class TestSemanticInAPlane(Mask2FormerContract):
    pass


class TestSemanticInAVolumeOfThickSlices(Mask2FormerContract):
    spec = VOLUME


class TestSemanticOnOneLevel(Mask2FormerContract):
    spec = PyramidSpec((16,), ((14.0, 14.0),), (14, 14))


class Instances2FormerContract(InstanceContract):
    learning_rate = 0.003

    def make(self):
        return Mask2Former(self.spec, self.classes, task="instance", **SMALL)

    def certain(self, masks, labels, images):
        return batched([certain(masks, labels)] * len(images))


class TestInstanceInAPlane(Instances2FormerContract):
    pass


class TestInstanceInAVolumeOfThickSlices(Instances2FormerContract):
    spec = VOLUME


def setting(spec, task="semantic", seed=0):
    """A head, one batch of maps, and its images."""
    torch.manual_seed(seed)
    head = Mask2Former(spec, CLASSES, task=task, **SMALL)
    return head, *batch(spec)


@pytest.mark.parametrize("levels, encoded", [(1, 1), (2, 1), (3, 2), (4, 3), (5, 3)])
def test_any_number_of_levels_is_read(levels, encoded):
    strides = tuple((2.0**i, 2.0**i) for i in range(levels))
    head, maps, images = setting(PyramidSpec((4,) * levels, strides, (16, 16)))
    assert head.pixels.encoded == encoded and len(head.pixels.laterals) == levels - encoded
    maps = tuple(x[:, :, :32, :32].contiguous().requires_grad_() for x in maps)
    images = ImageList(torch.zeros(2, 1, 32, 32), torch.full((2, 2), 32))
    maps = tuple(F.adaptive_avg_pool2d(x, 32 // 2**i) for i, x in enumerate(maps))
    for x in maps:
        x.retain_grad()
    prediction = head(maps, images)
    assert prediction.mask_logits().shape == (2, 8, 32, 32)
    losses = head.losses(prediction, [stripes((32, 32), False)] * 2)
    sum(losses.values()).backward()
    assert all(x.grad.ne(0).any() for x in maps)


def stripes(canvas, ignored):
    """Three classes, the far half of the first axis ignored or not, and an object per stripe."""
    classes = (torch.arange(canvas[-1]) * 3 // canvas[-1]).expand(*canvas).clone()
    masks = LabelLayers(classes[None].int() + 1, torch.arange(1, 4))
    if ignored:
        classes[canvas[0] // 2 :] = CLASSES.ignore_index
    return Segmentation(classes, Instances(torch.tensor([0, 1, 2]), masks=masks))


@pytest.mark.parametrize("task", ["semantic", "instance"])
@pytest.mark.parametrize("spec", [PLANE, VOLUME])
def test_what_is_predicted_on_ignored_pixels_changes_nothing(spec, task):
    head, maps, images = setting(spec, task)
    prediction = head(maps, images)
    for ignored in (True, False):
        targets = [stripes(images.canvas, ignored)] * 2
        losses = losses_of_other_masks(head, prediction, targets)
        same = [losses[0][k].equal(losses[1][k]) for k in head.weights]
        assert same == [ignored] * 3 or (not ignored and not all(same))


def test_an_ignored_image_changes_nothing():
    head, maps, images = setting(PLANE)
    prediction = head(maps, images)
    one = MaskPrediction(*(p[:, :1] for p in prediction[:2]), prediction.features[:1])
    truth = stripes(images.canvas, False)
    nothing = Segmentation(torch.full_like(truth.classes, CLASSES.ignore_index))
    torch.manual_seed(1)
    both = head.losses(prediction, [truth, nothing])
    torch.manual_seed(1)
    alone = head.losses(one, [truth])
    for key, value in both.items():
        torch.testing.assert_close(value, alone[key])


@pytest.mark.parametrize("training", [True, False])
def test_processes_count_objects_together_only_while_they_train(training, monkeypatch):
    """In validation they have different numbers of tiles: one would wait for ever."""
    head, maps, images = setting(PLANE)
    prediction, targets = head(maps, images), [stripes(images.canvas, False)] * 2
    alone = seeded_losses(head, prediction, targets)
    calls = []

    def others_have_none(count):
        calls.append(count.item())  # summed over four processes it is what it was

    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 4)
    monkeypatch.setattr(torch.distributed, "all_reduce", others_have_none)
    together = seeded_losses(head.train(training), prediction, targets)
    assert calls == [6.0] * training  # three classes in each of two images
    assert together["class"].equal(alone["class"])
    for key in ("mask", "dice"):
        torch.testing.assert_close(together[key], alone[key] * (4 if training else 1))


def seeded_losses(head, prediction, targets):
    torch.manual_seed(1)
    return head.losses(prediction, targets)


@pytest.mark.parametrize("spec", [PLANE, VOLUME])
def test_padding_gives_nothing_to_the_decoder(spec):
    """Encoded maps and features that differ in padding alone give the same queries."""
    head, maps, images = setting(spec)
    half, pixels, other = other_padding(head.eval(), maps, images)
    first = head.decoder(pixels, half)
    second = head.decoder(other, half)
    torch.testing.assert_close(first.class_logits, second.class_logits)
    whole = head.decoder(pixels, images)
    assert not torch.allclose(first.class_logits, whole.class_logits, atol=1e-3)


def test_a_query_without_a_mask_looks_everywhere():
    from microtome.heads.masked_decoder import Level, _where_masks_are

    features = torch.tensor([[[1.0, -1.0, 1.0]]])
    valid = torch.tensor([[True, True, False]])
    level = Level(features, features, features, valid)
    embeddings = torch.tensor([[[1.0], [-1.0], [0.0]]])
    where = _where_masks_are(embeddings, level)
    assert where.tolist() == [[[True, False, False], [False, True, False], [True, True, False]]]
    empty = _where_masks_are(embeddings, level._replace(features=-torch.ones(1, 1, 3)))
    assert empty[0, 0].tolist() == [True, True, False]


def test_overlaps_go_to_the_better_object_and_copies_are_dropped():
    masks = torch.zeros(3, 8, 8)
    masks[0, :, :4] = 1  # less sure than the next, a third of it covered
    masks[1, :, 3:6] = 1
    masks[2, :, 4:7] = 1  # as sure, but two thirds of it are that one's
    prediction = certain(masks, torch.tensor([1, 2, 2]))
    prediction.class_logits[0, 0, :, 3] = torch.tensor([49.0, 0.0, 48.0])
    head = Mask2Former(PLANE, CLASSES, task="instance", **SMALL)
    images = ImageList.pad([torch.zeros(1, 8, 8)], (8, 8))
    found = head.decode(prediction, images)[0].instances
    assert found.labels.tolist() == [2, 1] and found.scores[0] > found.scores[1]
    assert found.masks.maps[0, 0].tolist() == [2, 2, 2, 1, 1, 1, 0, 0]
    assert found.boxes.tensor.tolist() == [[0, 3, 8, 6], [0, 0, 8, 3]]


def test_nothing_found_is_an_empty_result():
    head, maps, images = setting(PLANE, "instance")
    head.deciding = head.deciding._replace(min_score=1.1)
    for result in head.eval().decode(head(maps, images), images):
        assert len(result.instances) == 0 and result.instances.masks.maps.eq(0).all()


def test_defaults_are_the_papers():
    head = Mask2Former(PLANE, CLASSES)
    assert head.weights == {"class": 2.0, "mask": 5.0, "dice": 5.0}
    assert head.sampling == (12544, 3.0, 0.75) and head.no_object == 0.1
    assert head.decoder.queries.shape == (100, 256)
    assert (len(head.pixels.layers), len(head.decoder.layers)) == (6, 9)
    assert head.pixels.layers[0].ffn[0].out_features == 1024
    assert head.decoder.layers[0].ffn[0].out_features == 2048


@pytest.mark.parametrize(
    "classes, options, message",
    [
        (CLASSES, {"task": "amodal"}, "`semantic`, `instance` or `panoptic`, got 'amodal'"),
        (CLASSES, {"task": "panoptic"}, "of no class that it is a thing"),
        (CLASSES, {"mask_threshold": 1.0, "min_visible": 1.0}, "mask_threshold.*; min_visible"),
        (CLASSES, {"num_queries": 0, "decoder_layers": 0}, "num_queries 0 .*decoder_layers 0 "),
        (CLASSES, {"hidden": 30, "num_heads": 4}, "4 heads do not divide 30"),
        (CLASSES, {"weights": {"focal": 1.0}}, r"unknown losses \['focal'\]"),
        (CLASSES._replace(exclusive=False), {}, "exclusive"),
    ],
)
def test_impossible_heads_are_refused(classes, options, message):
    with pytest.raises(ValueError, match=message):
        Mask2Former(PLANE, classes, **options)


@pytest.mark.parametrize(
    "task, target, message",
    [
        ("semantic", Segmentation(), "task semantic: expected targets with `classes`"),
        ("instance", Segmentation(), "expected targets with `instances`"),
        ("semantic", Segmentation(torch.full((64, 64), 7)), r"classes \[7\]; expected 0 to 2"),
    ],
)
def test_targets_that_do_not_fit_are_refused(task, target, message):
    head, maps, images = setting(PLANE, task)
    with pytest.raises(ValueError, match=message):
        head.losses(head(maps, images), [target] * 2)


def test_a_diverged_training_says_where():
    head, maps, images = setting(PLANE)
    prediction = head(maps, images)
    broken = prediction._replace(features=prediction.features * float("nan"))
    with pytest.raises(FloatingPointError, match="not finite in mask"):
        head.losses(broken, [stripes(images.canvas, False)] * 2)
