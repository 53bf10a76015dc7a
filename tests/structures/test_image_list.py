"""Axis orders, true shapes and standardising of padded batches."""

import pytest
import torch
from torch.testing import assert_close

from microtome.structures import ImageList
from microtome.structures.layout import arrange


def numbered(*shape):
    return torch.arange(torch.Size(shape).numel()).reshape(shape)


class TestLayout:
    def test_every_value_finds_its_axis(self):
        array = numbered(2, 3, 4, 5)  # ZYXC
        turned = arrange(array, "ZYXC", "CZYX")
        assert turned.shape == (5, 2, 3, 4) and turned[1, 0, 2, 3] == array[0, 2, 3, 1]
        assert arrange(turned, "CZYX", "ZYXC").equal(array)

    def test_axes_of_length_one_come_and_go(self):
        array = numbered(1, 2, 3, 4, 5)  # TCZYX
        assert arrange(array, "TCZYX", "CZYX").equal(array[0])
        assert arrange(array[0], "CZYX", "TZYXC").shape == (1, 3, 4, 5, 2)
        assert arrange(numbered(3, 4), "YX", "CYX").equal(numbered(1, 3, 4))
        assert arrange(numbered(1, 3, 4), "CYX", "YX").equal(numbered(3, 4))

    def test_nothing_is_dropped_silently(self):
        with pytest.raises(ValueError, match="choose one T of 3 first, 'CZYX' has no such axis"):
            arrange(numbered(3, 2, 4, 5, 6), "TCZYX", "CZYX")
        with pytest.raises(ValueError, match="'ZYXC' are 4 axes"):
            arrange(numbered(3, 4, 5), "ZYXC", "CZYX")
        with pytest.raises(ValueError, match="'ZYXX' repeats a letter"):
            arrange(numbered(3, 4, 5, 6), "ZYXX", "ZYX")


class TestBatch:
    @pytest.mark.parametrize(("layout", "channels"), [("ZYXC", 2), ("TCZYX", 2), ("ZYX", 1)])
    def test_volumes_of_any_layout(self, layout, channels):
        inside = [numbered(channels, *s).float() for s in ((2, 3, 4), (3, 3, 3))]
        images = ImageList.from_layout(
            [arrange(i, "CZYX", layout) for i in inside], layout, (2, 2, 2)
        )
        assert images.canvas == (4, 4, 4)
        for found, expected in zip(images.unpadded(), inside, strict=True):
            assert found.equal(expected)
        assert images.to_layout("BZYXC").shape == (2, 4, 4, 4, channels)

    def test_pictures_too(self):
        images = ImageList.from_layout([torch.rand(3, 5, 2)], "YXC", (1, 1))
        assert images.tensor.shape == (1, 2, 3, 5)
        assert images.to_layout("BYXC").shape == (1, 3, 5, 2)

    @pytest.mark.parametrize("dims", [2, 3])
    def test_padding_takes_no_part_in_standardising(self, dims):
        torch.manual_seed(0)
        pair = [torch.rand(2, *[n] * dims) * n + n for n in (3, 6)]
        images = ImageList.pad(pair, (4,) * dims).standardised()
        for found, image in zip(images.unpadded(), pair, strict=True):
            flat = image.flatten(1)
            expected = (flat - flat.mean(1, keepdim=True)) / flat.std(1, keepdim=True, correction=0)
            assert_close(found.flatten(1), expected)
        assert (images.tensor[~images.valid_mask[:, None].expand_as(images.tensor)] == 0).all()

    def test_given_statistics(self):
        images = ImageList.pad([torch.full((2, 3, 3), 5.0)], (4, 4))
        found = images.standardised([1.0, 5.0], [2.0, 1.0])
        assert found.tensor[0, :, 0, 0].tolist() == [2, 0] and found.tensor[0, :, 3, 3].eq(0).all()
        assert not images.standardised().tensor.any()  # no contrast, no division by zero
