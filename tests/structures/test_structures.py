"""What passes through the walls."""

import pytest
import torch

from microtome.structures import (
    Boxes,
    Classes,
    DataSample,
    ImageList,
    Instances,
    LabelLayers,
    PyramidSpec,
    Segmentation,
)

BIG = 20_000_001  # float32 would make it 20,000,000


def ids(dims=2):
    """Two objects: 7 in the first corner, BIG in the last."""
    made = torch.zeros((4, 5, 6)[-dims:], dtype=torch.int64)
    made[(slice(0, 2),) * dims] = 7
    made[(slice(-1, None),) * dims] = BIG
    return made


def truth(dims=2):
    layers = LabelLayers.from_ids(ids(dims))
    boxes = Boxes(layers.boxes())
    return Segmentation(
        (ids(dims) > 0).long(), Instances(torch.tensor([1, 2]), boxes, None, layers)
    )


class TestClasses:
    def test_count_is_of_classes_not_of_fields(self):
        assert Classes(("a", "b")).num_classes == 2

    def test_a_palette_is_the_given_one_or_distinct_colours(self):
        assert Classes(("a",), colours=((1, 2, 3),)).palette == ((1, 2, 3),)
        palette = Classes(tuple("abcdefghijkl")).palette
        assert len(set(palette)) == 12 and palette[0] == (0, 0, 0)
        assert all(0 <= v <= 255 for colour in palette for v in colour)

    def test_everything_wrong_is_listed(self):
        with pytest.raises(ValueError) as e:
            Classes(("a", "a"), things=(True,), colours=((0, 0, 0),) * 3, ignore_index=1).checked()
        for part in (
            "names repeat",
            "1 things",
            "3 colours",
            "ignore_index 1 is also the class 'a'",
        ):
            assert part in str(e.value)

    def test_a_table_needs_a_class_and_may_ignore_negative_values(self):
        assert Classes(("a",), ignore_index=-100).checked().ignore_index == -100
        with pytest.raises(ValueError, match="no class"):
            Classes(()).checked()


class TestImageList:
    @pytest.mark.parametrize("dims", [2, 3])
    def test_images_of_any_size_share_a_canvas(self, dims):
        small, large = torch.ones(1, *[3] * dims), torch.ones(1, *[5] * dims)
        images = ImageList.pad([small, large], (4,) * dims)
        assert images.canvas == (8,) * dims and len(images) == 2
        assert images.shapes.tolist() == [[3] * dims, [5] * dims] and images.spacing is None
        assert images.tensor.flatten(1).sum(1).tolist() == [3**dims, 5**dims]
        assert images.valid_mask.equal(images.tensor[:, 0] > 0)

    def test_spacing_is_known_of_all_or_of_none(self):
        pair = [torch.ones(1, 4, 4)] * 2
        known = ImageList.pad(pair, (4, 4), [(0.5, 0.25), (1.0, 1.0)])
        assert known.spacing.tolist() == [[0.5, 0.25], [1.0, 1.0]]
        assert ImageList.pad(pair, (4, 4), [None, None]).spacing is None
        with pytest.raises(ValueError, match="with and without spacing"):
            ImageList.pad(pair, (4, 4), [(0.5, 0.5), None])


class TestLabelLayers:
    @pytest.mark.parametrize("dims", [2, 3])
    def test_ids_stand_aside_exactly(self, dims):
        layers = LabelLayers.from_ids(ids(dims))
        assert layers.ids.tolist() == [7, BIG] and len(layers) == 2
        assert layers.maps.unique().tolist() == [0, 1, 2]
        assert layers.dense().tensor.equal(torch.stack([ids(dims) == 7, ids(dims) == BIG]))

    def test_an_image_without_background_or_objects(self):
        full = LabelLayers.from_ids(torch.tensor([[3, 9]]))
        assert full.ids.tolist() == [3, 9] and full.maps.tolist() == [[[1, 2]]]
        assert len(LabelLayers.from_ids(torch.zeros(2, 2, dtype=torch.long))) == 0

    def test_boxes_follow_the_pixels(self):
        assert LabelLayers.from_ids(ids()).boxes().tolist() == [[0, 0, 2, 2], [4, 5, 5, 6]]

    def test_crop_and_pad(self):
        layers = LabelLayers.from_ids(ids()).crop((slice(1, 3), slice(0, 3)))
        assert layers.maps.tolist() == [[[1, 1, 0], [0, 0, 0]]] and len(layers) == 2
        assert layers.pad((3, 4)).maps.sum() == 2 and layers.pad((3, 4)).maps.shape == (1, 3, 4)

    def test_what_lost_its_last_pixel_can_be_dropped(self):
        cut = LabelLayers.from_ids(ids()).crop((slice(3, 5), slice(3, 6)))
        present, kept = cut.present()
        assert kept.tolist() == [1] and present.ids.tolist() == [BIG]
        assert present.maps.max() == 1 and present.dense().tensor.sum() == 1


class TestInstances:
    def test_lengths_agree(self):
        with pytest.raises(ValueError, match="2 labels but 1 scores"):
            Instances(torch.tensor([1, 2]), scores=torch.ones(1))

    def test_boxes_overlap_by_their_share(self):
        boxes, others = Boxes(torch.tensor([[0, 0, 2, 2]])), Boxes(torch.tensor([[0.0, 1, 2, 3]]))
        torch.testing.assert_close(boxes.iou(others), torch.tensor([[1 / 3]]))

    def test_boxes_are_clipped_to_the_image(self):
        boxes = Boxes(torch.tensor([[-1.0, 2.0, 9.0, 5.0]])).clip(torch.tensor([4.0, 8.0]))
        assert boxes.tensor.tolist() == [[0.0, 2.0, 4.0, 5.0]]

    def test_moving_keeps_what_is_there(self):
        moved = truth().to("cpu").instances
        assert len(moved) == 2 and len(moved.masks) == 2 and moved.scores is None
        empty = Instances(torch.zeros(0, dtype=torch.long), Boxes(torch.zeros(0, 4))).to("cpu")
        assert len(empty.boxes) == 0


class TestSegmentation:
    @pytest.mark.parametrize("dims", [2, 3])
    def test_a_crop_keeps_the_objects_that_are_left(self, dims):
        cut = truth(dims).crop((slice(1, 4),) * dims)
        assert cut.classes.sum() == 1 and cut.instances.labels.tolist() == [1]
        assert cut.instances.masks.ids.tolist() == [7]
        assert cut.instances.boxes.tensor.tolist() == [[0] * dims + [1] * dims]

    def test_padding_is_ignored(self):
        padded = truth().pad((8, 8), ignore_index=255)
        assert (padded.classes == 255).sum() == 64 - 30
        assert padded.instances.masks.maps.shape == (1, 8, 8) and len(padded.instances) == 2

    def test_deciding_takes_the_highest_score(self):
        scores = torch.tensor([[[0.2, 0.9]], [[0.8, 0.1]]])
        decided = Segmentation(scores=scores).decided()
        assert decided.classes.tolist() == [[1, 0]] and decided.scores is None
        already = Segmentation(torch.zeros(1, 2))
        assert already.decided() is already


class TestDataSample:
    def test_its_shape_is_spatial(self):
        assert DataSample(torch.zeros(3, 4, 5)).shape == (4, 5)

    def test_moving_takes_the_truth_along(self):
        moved = DataSample(torch.zeros(1, 4, 4), truth(), meta={"name": "x"}).to("meta")
        assert moved.image.device.type == "meta" and moved.truth.classes.device.type == "meta"
        assert moved.truth.instances.masks.maps.device.type == "meta"
        assert moved.meta == {"name": "x"}


def test_a_pyramid_knows_its_number_of_axes():
    assert PyramidSpec((8,), ((3.5, 3.5),), (14, 14)).spatial_dims == 2
