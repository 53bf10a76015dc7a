import monai.transforms as mt
import numpy as np
import pytest
import torch
from drawn_samples import CLASSES, IDS, KEYS, assert_consistent, chance, make_sample, recipe

from microtome.data.transforms import MonaiTransforms
from microtome.structures import (
    Boxes,
    DataSample,
    Instances,
    LabelLayers,
    Segmentation,
)


def elastic(dims):
    if dims == 2:
        return mt.Rand2DElasticd(KEYS, (8, 8), (1, 2), prob=1.0, mode="nearest")
    return mt.Rand3DElasticd(KEYS, (1, 2), (1, 2), prob=1.0, mode="nearest")


NEAREST = ["nearest", "bilinear", "bilinear"]  # what the user says for the truth does not count
GEOMETRIC = {
    "flip": lambda d: mt.RandFlipd(KEYS, prob=1.0, spatial_axis=-1),
    "axis_flip": lambda d: mt.RandAxisFlipd(KEYS, prob=1.0),
    "rot90": lambda d: mt.RandRotate90d(KEYS, prob=1.0, spatial_axes=(-2, -1)),
    "crop": lambda d: mt.RandSpatialCropd(KEYS, (9,) * d, random_size=False),
    "crop_objects": lambda d: mt.RandCropByPosNegLabeld(KEYS, "labels", (9,) * d, num_samples=1),
    "pad": lambda d: mt.SpatialPadd(KEYS, (30,) * d),
    "pad_edge": lambda d: mt.SpatialPadd(KEYS, (30,) * d, mode="edge"),
    "zoom": lambda d: mt.RandZoomd(
        KEYS, prob=1.0, min_zoom=0.6, max_zoom=1.5, mode="nearest-exact"
    ),
    "resize": lambda d: mt.Resized(KEYS, (18, 31, 17)[-d:], mode=["nearest-exact", "area", "area"]),
    "affine": lambda d: mt.RandAffined(KEYS, prob=1.0, rotate_range=0.4, mode=NEAREST),
    "affine_spline": lambda d: mt.RandAffined(
        KEYS, prob=1.0, translate_range=3, mode=[0, 3, 3], padding_mode="constant"
    ),
    "rotate": lambda d: mt.RandRotated(KEYS, prob=1.0, range_x=0.4, mode=NEAREST),
    "elastic": elastic,
    "grid": lambda d: mt.RandGridDistortiond(KEYS, prob=1.0, mode=NEAREST),
    "spacing": lambda d: mt.Spacingd(KEYS, (0.5,) * d, mode=NEAREST),
}


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("name", GEOMETRIC)
def test_image_and_truth_move_together(name, dims):
    transform = MonaiTransforms([GEOMETRIC[name](dims)])
    for number in range(3):
        out = transform(make_sample(dims), chance(number), CLASSES)
        assert_consistent(out)
        assert type(out.image) is torch.Tensor
        assert out.image.dtype == torch.float32
        assert out.meta == {"name": "it"}


@pytest.mark.parametrize(
    ("transform", "expected"),
    [
        (mt.Flipd(KEYS, 0), (2.0, 0.5, 0.25)),
        (mt.Rotate90d(KEYS, 1, (0, 1)), (0.5, 2.0, 0.25)),
        (mt.SpatialCropd(KEYS, roi_start=(1, 2, 3), roi_end=(9, 9, 9)), (2.0, 0.5, 0.25)),
        (mt.Zoomd(KEYS, 0.5, keep_size=False), (4.0, 1.0, 0.5)),
        (mt.Resized(KEYS, (24, 24, 10)), (1.0, 0.5, 0.5)),
        (mt.Spacingd(KEYS, (1.0, 1.0, 1.0)), (1.0, 1.0, 1.0)),
        (mt.Affined(KEYS, scale_params=(0.5, 1, 1)), (1.0, 0.5, 0.25)),
        (mt.RandGaussianNoised(["image"], prob=1.0), (2.0, 0.5, 0.25)),
    ],
    ids=lambda v: type(v).__name__,
)
def test_spacing_follows(transform, expected):
    out = MonaiTransforms([transform])(make_sample(3), chance(), CLASSES)
    assert out.spacing == pytest.approx(expected, rel=0.05)  # MONAI keeps the field, not the pixel
    assert (
        MonaiTransforms([mt.Flipd(KEYS, 0)])(
            make_sample(3, spacing=None), chance(), CLASSES
        ).spacing
        is None
    )


def test_what_is_uncovered_is_ignored_and_holds_no_object():
    """Moved right by 5 pixels: 5 new columns on the left, the right ones gone."""
    move = mt.Affined(KEYS, translate_params=(0, -5), padding_mode="reflection")
    before = make_sample(2)
    out = MonaiTransforms([move])(before, chance(), CLASSES)
    assert (out.truth.classes[:, :5] == 255).all()
    assert torch.equal(out.truth.classes[:, 5:], before.truth.classes[:, :-5])
    assert (out.truth.instances.masks.maps[0, :, :5] == 0).all()
    assert out.truth.instances.boxes.tensor.tolist() == [[2, 8, 6, 14], [7, 16, 11, 20]]


def test_another_ignore_index_comes_back():
    classes = CLASSES._replace(ignore_index=-1)
    sample = make_sample(2)
    sample.truth.classes[sample.truth.classes == 255] = -1
    out = MonaiTransforms([mt.SpatialPadd(KEYS, (30, 30))])(sample, chance(), classes)
    assert out.truth.classes.unique().tolist() == [-1, 0, 1, 2]
    assert (out.truth.classes == -1).sum() == 900 - 24 * 19


def test_objects_that_are_cut_away_are_dropped():
    crop = mt.SpatialCropd(KEYS, roi_start=(6, 10), roi_end=(12, 20))
    out = MonaiTransforms([crop])(make_sample(2), chance(), CLASSES).truth.instances
    assert out.labels.tolist() == [2]
    assert out.masks.ids.tolist() == [IDS[1]]
    assert out.boxes.tensor.tolist() == [[1, 1, 5, 8]]
    assert out.masks.maps.unique().tolist() == [0, 1]


def test_several_layers_move_together():
    sample = make_sample(2)
    maps = torch.zeros(2, 24, 20, dtype=torch.int32)
    maps[0, 2:6, 2:6], maps[1, 4:9, 4:9] = 1, 2  # they overlap
    masks = LabelLayers(maps, torch.tensor([5, 6]))
    sample = DataSample(
        sample.image, Segmentation(None, Instances(torch.tensor([1, 1]), masks=masks))
    )
    out = MonaiTransforms([mt.Flipd(KEYS, 0)])(sample, chance(), CLASSES)
    assert out.truth.classes is None
    assert torch.equal(out.truth.instances.masks.maps, maps.flip(1))
    move = mt.Affined(KEYS, translate_params=(0, -5))
    moved = MonaiTransforms([move])(sample, chance(), CLASSES).truth.classes
    assert (moved[:, :5] == 255).all(), "what is uncovered is no background"
    assert moved[5, 12] == 1 and moved[0, 6] == 0


def test_the_image_is_what_monai_makes_of_it():
    """The same transforms, seeded alike, without us."""
    own = [mt.RandAffined(["image"], prob=1.0, rotate_range=0.4), mt.RandGaussianNoised(["image"])]
    out = MonaiTransforms(own)(DataSample(make_sample(2).image), chance(7), CLASSES)
    theirs = mt.Compose(
        [mt.RandAffined(["image"], prob=1.0, rotate_range=0.4), mt.RandGaussianNoised(["image"])]
    )
    theirs.set_random_state(seed=int(chance(7).generate_state(1)[0]))
    assert torch.allclose(out.image, theirs({"image": make_sample(2).image})["image"].as_tensor())


def test_a_sample_without_truth_passes():
    sample = DataSample(torch.rand(1, 8, 8))
    out = MonaiTransforms([mt.Flipd(KEYS, 1)])(sample, chance(), CLASSES)
    assert torch.equal(out.image, sample.image.flip(2))
    assert out.truth is None
    assert out.spacing is None


def test_colour_of_torchvision_is_seeded_and_leaves_others_chance_alone():
    jitter = MonaiTransforms([mt.TorchVisiond(["image"], "ColorJitter", brightness=0.9)])
    sample = DataSample(torch.rand(3, 8, 8))
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    one, same, other = (jitter(sample, chance(n), CLASSES).image for n in (1, 1, 2))
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_chance_reaches_nested_transforms():
    nested = MonaiTransforms(
        [mt.OneOf([mt.RandFlipd(KEYS, 0.5, 0), mt.RandGaussianNoised(["image"], prob=1.0)])]
    )
    outs = [nested(make_sample(2), chance(n), CLASSES).image for n in range(6)]
    again = [nested(make_sample(2), chance(n), CLASSES).image for n in range(6)]
    assert all(torch.equal(a, b) for a, b in zip(outs, again, strict=True))
    assert len({o.numpy().tobytes() for o in outs}) > 1


REFUSED = {
    "Transposed": mt.Transposed(KEYS, (1, 0)),
    "RandomResizedCrop": mt.TorchVisiond(KEYS, "RandomResizedCrop", size=8),
    "keys must be [image]": mt.TorchVisiond(KEYS, "ColorJitter"),
    "Flipd": mt.Flip(0),
    "['clases']": mt.Flipd(["image", "clases"], 0),
    "lazy": mt.Flipd(KEYS, 0, lazy=True),
}


def test_refused_by_name_all_at_once():
    with pytest.raises(ValueError, match="cannot be used") as error:
        MonaiTransforms([mt.OneOf(list(REFUSED.values())[:2]), *list(REFUSED.values())[2:]])
    assert all(words in str(error.value) for words in REFUSED)
    assert str(error.value).count("\n- ") == len(REFUSED)


@pytest.mark.parametrize(
    ("transform", "words"),
    [
        (
            mt.RandGaussianNoised(["classes"], prob=1.0),
            "RandGaussianNoised.*classes.*mode: nearest",
        ),
        (mt.Lambdad(["labels"], lambda x: x / 2), "Lambdad.*labels.*mode: nearest"),
        (mt.Lambdad(["labels"], lambda x: x * 2), "Lambdad.*labels.*mode: nearest"),
        (
            mt.SpatialCropd(["image"], roi_center=(9, 9), roi_size=(4, 4)),
            "SpatialCropd.*all the keys",
        ),
        (mt.DeleteItemsd(["labels"]), "DeleteItemsd removed labels"),
        (mt.Flipd(["image"], 0), "Flipd moved image and (classes|labels) differently"),
        (mt.RandCropByPosNegLabeld(KEYS, "labels", (4, 4), num_samples=2), "num_samples to 1"),
    ],
    ids=lambda v: type(v).__name__,
)
def test_what_parts_image_and_truth_is_an_error(transform, words):
    chain = MonaiTransforms([mt.Flipd(KEYS, 1), transform, mt.Flipd(KEYS, 1)])
    with pytest.raises(ValueError, match=words):
        chain(make_sample(2), chance(), CLASSES)


def test_missing_facts_are_errors():
    resample = MonaiTransforms([mt.Spacingd(KEYS, (1.0, 1.0))])
    with pytest.raises(ValueError, match="Spacingd needs the spacing of it"):
        resample(make_sample(2, spacing=None), chance(), CLASSES)
    boxes_only = Instances(torch.tensor([1]), Boxes(torch.tensor([[0.0, 0, 1, 1]])))
    sample = DataSample(torch.rand(1, 8, 8), Segmentation(None, boxes_only))
    with pytest.raises(ValueError, match="without masks"):
        MonaiTransforms([mt.Flipd(KEYS, 0)])(sample, chance(), CLASSES)


@pytest.mark.parametrize("dims", [2, 3])
def test_light_recipe_from_yaml(dims):
    (light,) = recipe("light")
    before = make_sample(dims)
    images = set()
    for number in range(20):
        out = light(before, chance(number), CLASSES)
        images.add(out.image.numpy().tobytes())
        assert out.spacing in (before.spacing, (*before.spacing[:-2], *before.spacing[:-3:-1]))
        assert (out.truth.classes == 255).sum() == (before.truth.classes == 255).sum()
        sizes = [(out.truth.classes == k).sum() for k in range(3)]
        assert sizes == [(before.truth.classes == k).sum() for k in range(3)]
        shift = out.image.mean((1, 2, 3)[:dims]) - before.image.mean((1, 2, 3)[:dims])
        assert shift.abs().max() < 0.2
    assert len(images) > 10


def test_scenes_recipe_mirrors_left_to_right_and_changes_colours():
    (scenes,) = recipe("scenes")
    before = make_sample(2)
    mirrored, images = set(), set()
    for number in range(20):
        out = scenes(before, chance(number), CLASSES)
        images.add(out.image.numpy().tobytes())
        same = torch.equal(out.truth.classes, before.truth.classes)
        assert same or torch.equal(out.truth.classes, before.truth.classes.flip(-1))
        assert out.image.min() >= 0 and out.image.max() <= 1
        mirrored.add(not same)
    assert mirrored == {False, True} and len(images) == 20


@pytest.mark.parametrize("dims", [2, 3])
def test_volumes_recipe_from_yaml(dims):
    """Ids that no float32 holds, boxes and spacing stay true; every draw is another image."""
    (volumes,) = recipe("volumes")
    before = make_sample(dims)
    images = set()
    for number in range(20):
        out = volumes(before, chance(number), CLASSES)
        objects = out.truth.instances
        images.add(out.image.numpy().tobytes())
        assert out.spacing == before.spacing and out.shape == before.shape
        assert objects.masks.ids.tolist() == [IDS[i - 1] for i in objects.labels.tolist()]
        assert objects.boxes.tensor.equal(objects.masks.boxes())
        known = out.truth.classes[out.truth.classes != 255]
        assert set(known.tolist()) <= {0, *objects.labels.tolist()}
    assert len(images) > 15


def test_none_recipe_is_empty():
    assert not recipe("none")


def test_light_recipe_reaches_all_eight_orientations():
    (light,) = recipe("light")
    sample = DataSample(torch.zeros(1, 8, 8), Segmentation(torch.zeros(8, 8, dtype=torch.int64)))
    sample.truth.classes[1, 3] = 1
    seen = {
        tuple(np.argwhere(light(sample, chance(n), CLASSES).truth.classes.numpy() == 1)[0])
        for n in range(80)
    }
    assert len(seen) == 8
