"""Samples as dictionaries, ids of any size on every way, and what padding means for objects."""

import io
from dataclasses import replace

import pytest
import torch

from microtome.geometry import Placement
from microtome.structures import (
    Boxes,
    DataSample,
    Instances,
    Intensity,
    LabelLayers,
    Segmentation,
)

IDS = [70_001, 2**24 + 1, 2**53 + 1]


@pytest.fixture(params=[2, 3])
def dims(request):
    return request.param


def objects(dims):
    """Three objects of 2 pixels a side along the diagonal; the first two overlap."""
    masks = torch.zeros(3, *[8] * dims, dtype=torch.bool)
    for mask, start in zip(masks, (0, 1, 6), strict=True):
        mask[(slice(start, start + 2),) * dims] = True
    layers = LabelLayers.from_masks(masks, IDS)
    return Instances(torch.tensor([1, 2, 1]), Boxes(layers.boxes()), masks=layers)


def sample(dims, classes=None):
    return DataSample(
        torch.rand(2, *[8] * dims),
        Segmentation(classes, objects(dims)),
        spacing=(0.5,) * dims,
        channels=("nuclei", "membranes"),
        placement=Placement((1.0,) * dims, (2.0,) * dims, (30,) * dims),
        intensity=Intensity(
            ((0.0, 1.0),) * 2, True, (0.5,) * 2, (0.1,) * 2, (0.0,) * 2, (1.0,) * 2
        ),
        meta={"name": "it"},
    )


class TestDictionaries:
    def test_there_and_back_through_a_file(self, dims):
        """Saved as plain data, so that it is read without running code."""
        before = sample(dims, torch.ones([8] * dims, dtype=torch.long))
        file = io.BytesIO()
        torch.save(before.to_dict(), file)
        file.seek(0)
        after = DataSample.from_dict(torch.load(file, weights_only=True))
        assert after.image.equal(before.image) and after.truth.classes.equal(before.truth.classes)
        assert after.metainfo == before.metainfo and after.intensity.stated is True
        found, expected = after.truth.instances, before.truth.instances
        assert found.masks.ids.tolist() == IDS and found.masks.maps.equal(expected.masks.maps)
        assert found.boxes.tensor.equal(expected.boxes.tensor) and found.scores is None

    def test_what_is_unknown_is_left_out(self):
        bare = DataSample(torch.zeros(1, 2, 2))
        assert bare.to_dict().keys() == {"image", "channels", "meta"}
        assert DataSample.from_dict(bare.to_dict()).truth is None

    def test_wrong_names_are_refused(self):
        with pytest.raises(
            ValueError, match=r"DataSample: unknown \['masks'\], missing \['image'\]"
        ):
            DataSample.from_dict({"masks": 1})

    def test_data_by_name_and_metainfo_apart(self):
        one = sample(2)
        assert one.keys() == ["image", "truth"] and one["image"] is one.image
        assert dict(one) == {"image": one.image, "truth": one.truth}
        assert "truth" in one and "spacing" not in one
        assert one.metainfo.keys() == {"spacing", "channels", "placement", "intensity", "meta"}
        with pytest.raises(KeyError, match=r"'spacing'.*metainfo"):
            one["spacing"]
        assert DataSample(one.image).keys() == ["image"]


class TestTensors:
    def test_everything_moves(self):
        moved = sample(2).to("meta")
        inside = moved.truth.instances
        parts = (moved.image, inside.labels, inside.boxes.tensor, inside.masks.ids)
        assert moved.device.type == "meta" and all(p.device.type == "meta" for p in parts)
        assert moved.spacing == (0.5, 0.5)

    def test_a_copy_stands_alone(self):
        one = sample(2)
        copy = one.clone()
        one.image.zero_()
        one.truth.instances.masks.maps.zero_()
        assert copy.image.any() and copy.truth.instances.masks.maps.any()


class TestObjectsWithoutAClassMap:
    """`classes` alone can say that nothing is known of a pixel, so padding makes one."""

    def test_padding_is_not_background(self, dims):
        padded = Segmentation(None, objects(dims)).pad((10,) * dims, ignore_index=255)
        inside = padded.classes[(slice(0, 8),) * dims]
        assert (padded.classes == 255).sum() == 10**dims - 8**dims and (inside != 255).all()
        assert inside.equal(Segmentation(None, objects(dims)).with_classes().classes)

    def test_classes_of_pixels_are_those_of_their_objects(self, dims):
        made = Segmentation(None, objects(dims)).with_classes().classes
        assert made.dtype == torch.int64 and made.shape == (8,) * dims
        corner, shared, last, free = (made[(i,) * dims].item() for i in (0, 1, 6, 4))
        assert (corner, shared, last, free) == (1, 2, 1, 0)

    def test_scores_of_pixels_are_those_of_their_best_objects(self, dims):
        inside = replace(objects(dims), scores=torch.tensor([0.9, 0.75, 0.25]))
        made = Segmentation(None, inside).with_scores(3).scores
        assert made.dtype == torch.float32 and made.shape == (3, *[8] * dims)
        corner, shared, last, free = (made[(slice(None), *[i] * dims)] for i in (0, 1, 6, 4))
        expected = [[0.1, 0.9, 0], [0.1, 0.9, 0.75], [0.75, 0.25, 0], [1, 0, 0]]
        torch.testing.assert_close(
            torch.stack([corner, shared, last, free]), torch.tensor(expected)
        )
        alike = replace(inside, labels=torch.tensor([1, 1, 2]))
        shared = Segmentation(None, alike).with_scores(3).scores[(slice(None), *[1] * dims)]
        torch.testing.assert_close(shared, torch.tensor([0.1, 0.9, 0]))
        sure = Segmentation(None, objects(dims)).with_scores(3)
        there = objects(dims).masks.maps.any(0)
        assert sure.scores[1:].amax(0).equal(there.float())
        assert sure.with_scores(3) is sure and Segmentation().with_scores(3).scores is None

    def test_what_is_known_stays(self, dims):
        known = torch.full([8] * dims, 3)
        assert Segmentation(known, objects(dims)).with_classes().classes is known
        boxes_only = Instances(torch.tensor([1]), Boxes(torch.zeros(1, 2 * dims)))
        assert Segmentation(None, boxes_only).pad((10,) * dims, 255).classes is None
        assert Segmentation(None, objects(dims)).crop((slice(0, 3),) * dims).classes is None

    def test_boxes_alone_follow_a_crop(self, dims):
        boxes = Boxes(torch.tensor([[0, 1], [2, 8], [6, 7]]).repeat_interleave(dims, 1))
        truth = Segmentation(None, Instances(torch.tensor([3, 4, 5]), boxes))
        cut = truth.crop((slice(1, 5),) * dims).instances
        assert cut.labels.tolist() == [4] and cut.boxes.tensor.tolist() == [[1] * dims + [4] * dims]

    def test_ids_survive_every_way(self, dims):
        whole = Segmentation(None, objects(dims))
        cut = whole.pad((10,) * dims, 255).crop((slice(1, 9),) * dims).to("cpu").instances
        chosen = Instances.cat([cut[[2]], cut[[0, 1]]])
        resized = chosen.follow(chosen.masks.resize((16,) * dims))
        assert resized.masks.ids.tolist() == [IDS[2], IDS[0], IDS[1]]
        assert resized.labels.tolist() == [1, 1, 2]
        again = DataSample.from_dict(
            DataSample(torch.zeros(1), Segmentation(None, resized)).to_dict()
        )
        assert sorted(again.truth.instances.masks.id_maps().unique().tolist()) == [0, *IDS]
