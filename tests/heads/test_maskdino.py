"""Mask DINO: contract, selection, denoising, losses and their weights, decoding, in 2D and 3D."""

import math

import pytest
import torch
from instance_contract import InstanceContract
from torch.nn import functional as F

from microtome.heads import mask_decoding, maskdino_selection
from microtome.heads.mask_targets import MaskTargets
from microtome.heads.maskdino import MaskDINO
from microtome.heads.maskdino_boxes import ellipses, parabolas
from microtome.heads.maskdino_denoising import Known, noisy, who_sees_whom
from microtome.heads.maskdino_prediction import Answers, BoxMaskPrediction
from microtome.heads.maskdino_selection import Places, boxes_of_masks
from microtome.structures import (
    Classes,
    ImageList,
    Instances,
    LabelLayers,
    PyramidSpec,
    Segmentation,
)

CLASSES = Classes(("background", "gland", "nucleus"))
SMALL = {"num_queries": 8, "hidden": 32, "encoder_layers": 1, "decoder_layers": 2, "num_heads": 4}
SMALL |= {"num_denoising": 12, "num_points": 128}
PLANE = PyramidSpec((8, 16), ((4.0, 4.0), (8.0, 8.0)), (8, 8))
VOLUME = PyramidSpec((8, 16), ((1.0, 2.0, 2.0), (2.0, 4.0, 4.0)), (2, 4, 4))


def certain(masks, labels, images):
    """The prediction of masks [N, *S] and their classes, one query each, sure of both."""
    count, batch = len(labels), len(images)
    classes = (100 * F.one_hot(labels, 3).float() - 50).expand(1, batch, -1, -1)
    embeddings = torch.eye(count).expand(1, batch, -1, -1)
    features = (100 * masks.float() - 50).expand(batch, *masks.shape)
    boxes = torch.rand(1, batch, count, 2 * (masks.ndim - 1))
    found = Answers(classes, embeddings, boxes)
    nobody = Answers(*(part[:, :, :0] for part in found))
    return BoxMaskPrediction(found, found, nobody, Known.nothing(boxes[0]), features, images.shapes)


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


def setting(spec, seed=0, **options):
    """A head, one batch of maps, and its images."""
    torch.manual_seed(seed)
    head = MaskDINO(spec, CLASSES, **{**SMALL, **options})
    canvas = [8 * m for m in spec.multiple]
    images = ImageList.pad([torch.zeros(1, *canvas)] * 2, spec.multiple)
    maps = [
        torch.randn(2, c, *(int(n / s) for n, s in zip(canvas, strides, strict=True)))
        for c, strides in zip(spec.channels, spec.strides, strict=True)
    ]
    return head, tuple(maps), images


def bars(canvas, count, ignored=False):
    """`count` objects side by side; the far half of the first axis ignored or not."""
    ids = (torch.arange(canvas[-1]) * count // canvas[-1] + 1).expand(*canvas).clone()
    if not count:
        ids = torch.zeros(canvas, dtype=torch.long)
    classes = torch.zeros_like(ids)
    if ignored:
        classes[canvas[0] // 2 :] = CLASSES.ignore_index
    labels = torch.arange(count) % 3
    return Segmentation(classes, Instances(labels, masks=LabelLayers.from_ids(ids)))


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


@pytest.mark.parametrize(
    "count, groups, places", [(0, 12, 0), (1, 12, 12), (5, 2, 10), (40, 1, 12)]
)
def test_any_number_of_objects_is_denoised(count, groups, places):
    """None; as often as there is room; more than there is room for, of which some are drawn."""
    head, maps, images = setting(PLANE)
    targets = [bars(images.canvas, count), bars(images.canvas, 0)]
    prediction = head.train()(maps, images, targets)
    assert prediction.known.groups == groups
    assert prediction.denoised.boxes.shape == (3, 2, places, 4)
    assert prediction.known.there[0].all() and not prediction.known.there[1].any()
    assert len(prediction.known.ids[0].unique()) == min(count, 12)
    losses = head.losses(prediction, targets)
    assert all(value.isfinite() for value in losses.values())
    assert (losses["denoised_mask"] > 0) == (count > 0)


def test_without_noisy_queries_their_losses_are_zero():
    head, maps, images = setting(PLANE, num_denoising=0)
    targets = [bars(images.canvas, 2)] * 2
    losses = head.train().losses(head(maps, images, targets), targets)
    assert all((v == 0) == name.startswith("denoised_") for name, v in losses.items())


@pytest.mark.parametrize("spec", [PLANE, VOLUME])
def test_fewer_places_than_queries_are_as_many_queries(spec):
    head, maps, images = setting(spec, num_queries=5000)
    targets = [bars(images.canvas, 2)] * 2
    prediction = head.train()(maps, images, targets)
    assert prediction.found.boxes.shape[2] == maps[-1][0, 0].numel()
    assert all(value.isfinite() for value in head.losses(prediction, targets).values())


def known_in_a_plane():
    """Two groups of two; the second image has but one object."""
    ids, labels = torch.tensor([[1, 2] * 2, [1, 0] * 2]), torch.tensor([[2, 0] * 2, [1, 0] * 2])
    boxes = torch.tensor([[0.5, 0.5, 0.2, 0.4], [0.9, 0.5, 0.2, 1.0]]).repeat(2, 2, 1)
    return Known(ids, labels, boxes, 2)


def test_groups_do_not_see_each_other_and_nobody_sees_a_gap():
    first, second = who_sees_whom(known_in_a_plane(), 2).int().tolist()
    assert first == [
        [1, 1, 0, 0, 1, 1],
        [1, 1, 0, 0, 1, 1],
        [0, 0, 1, 1, 1, 1],
        [0, 0, 1, 1, 1, 1],
        [0, 0, 0, 0, 1, 1],
        [0, 0, 0, 0, 1, 1],
    ]
    assert second[0] == [1, 0, 0, 0, 1, 1] and second[2] == [0, 0, 1, 0, 1, 1]


def test_noise_is_bounded():
    torch.manual_seed(0)
    known = known_in_a_plane()
    drawn = [noisy(known, 3, 0.4) for _ in range(300)]
    labels, boxes = (torch.stack(parts) for parts in zip(*drawn, strict=True))
    off = (boxes - known.boxes)[:, 0, 0].abs().amax(0)
    assert (off <= torch.tensor([0.04, 0.08, 0.08, 0.16]) + 1e-6).all() and (off > 0.03).all()
    assert boxes.min() >= 0 and boxes.max() == 1  # the second one is cut at the image's border
    other = (labels != known.labels).float().mean()
    assert 0.1 < other < 0.17  # a fifth is drawn anew, a third of that as it was
    labels, boxes = noisy(known, 3, 0.0)
    assert labels.equal(known.labels) and boxes.equal(known.boxes)


def test_known_objects_have_the_boxes_of_their_judged_pixels():
    target = bars((8, 8), 2, ignored=True)
    truth = MaskTargets.of(target, "instance", CLASSES)
    known = Known.of([truth], torch.tensor([[8, 16]]), 2)
    assert known.ids.tolist() == [[1, 2]] and known.labels.tolist() == [[0, 1]]
    assert known.boxes[0].tolist() == [[0.25, 0.125, 0.5, 0.25], [0.25, 0.375, 0.5, 0.25]]


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
    head.eval()
    shapes = images.shapes.clone()
    shapes[:, 0] //= 2
    images = ImageList(images.tensor, shapes)
    pixels = head.pixels(maps, images)
    levels, features = [x.clone() for x in pixels.levels], pixels.features.clone()
    for x in (*levels, features):
        x[:, :, math.ceil(x.shape[2] / 2) :] = 7.0
    first = head.decoder(pixels, images)
    second = head.decoder(pixels._replace(levels=levels, features=features), images)
    for ours, theirs in zip(first.found, second.found, strict=True):
        torch.testing.assert_close(ours, theirs)
    whole = head.decoder(pixels, ImageList(images.tensor, 2 * shapes))
    assert not torch.allclose(first.found.class_logits, whole.found.class_logits, atol=1e-3)


@pytest.mark.parametrize("spec", [PLANE, VOLUME])
def test_what_is_predicted_on_ignored_pixels_changes_nothing(spec):
    head, maps, images = setting(spec)
    prediction = head(maps, images)
    half = prediction.features.shape[2] // 2
    other = prediction.features.detach().clone()
    other[:, :, half:] = 30 * torch.randn_like(other[:, :, half:])
    for ignored in (True, False):
        targets, losses = [bars(images.canvas, 3, ignored)] * 2, []
        for features in (prediction.features, other):
            torch.manual_seed(1)
            losses.append(head.losses(prediction._replace(features=features), targets))
        same = all(losses[0][name].equal(losses[1][name]) for name in head.weights)
        assert same == ignored


def test_coordinates_stay_exact_under_autocast():
    head, maps, images = setting(PLANE)
    head.eval()
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        prediction = head(maps, images)
    assert prediction.found.class_logits.dtype == torch.bfloat16
    assert prediction.found.boxes.dtype == prediction.proposed.boxes.dtype == torch.float32
    tiny = prediction.found.boxes * 4096
    assert not tiny.equal(prediction.found.boxes.bfloat16().float() * 4096)


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
