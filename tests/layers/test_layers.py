"""The N-D alphabet."""

import pytest
import torch
from torch.nn import functional as F

from microtome.layers import (
    conv,
    conv_block,
    drop_path_rates,
    group_norm,
    resize_cubic,
    resize_maps,
)


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_conv_keeps_the_shape(dims, kernel):
    x = torch.randn(2, 3, *(5, 6, 7)[:dims])
    assert conv(dims, 3, 4, kernel)(x).shape == (2, 4, *x.shape[2:])


def test_a_convolution_without_bias_has_none():
    assert len(list(conv(2, 3, 4, bias=False).parameters())) == 1


@pytest.mark.parametrize("channels, groups", [(256, 32), (64, 16), (48, 4), (6, 1), (7, 1)])
def test_group_norm_divides_any_number_of_channels(channels, groups):
    assert group_norm(channels).num_groups == groups
    assert group_norm(channels)(torch.randn(1, channels, 1, 1)).isfinite().all()


def test_conv_block_is_normalised_and_bounded_below():
    y = conv_block(3, 2, 8)(100 * torch.randn(2, 2, 4, 4, 4))
    assert y.shape == (2, 8, 4, 4, 4) and y.min() > -0.2 and y.max() < 20


def test_resize_aligns_pixel_areas():
    # Doubling [0, 1]: new centres lie at -0.25, 0.25, 0.75, 1.25 of the old grid, ends repeated.
    y = resize_maps(torch.tensor([[[0.0, 1.0]]]), (4,))
    assert y.flatten().tolist() == [0.0, 0.25, 0.75, 1.0]


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_resize_works_on_any_number_of_axes(dims):
    shape = (3, 8, 5)[:dims]
    y = resize_maps(torch.full((2, 3, *[4] * dims), 2.0), shape)
    assert y.shape == (2, 3, *shape)
    torch.testing.assert_close(y, torch.full_like(y, 2.0))


def test_resize_to_the_same_shape_is_the_input():
    x = torch.randn(1, 2, 4, 4)
    assert resize_maps(x, (4, 4)) is x


def test_cubic_resizing_is_pytorchs_and_works_on_any_number_of_axes():
    x = torch.randn(2, 3, 5, 7)
    expected = F.interpolate(x, (9, 4), mode="bicubic")
    torch.testing.assert_close(resize_cubic(x, (9, 4)), expected)
    deep = resize_cubic(x[:, :, None].expand(-1, -1, 2, -1, -1), (6, 9, 4))
    torch.testing.assert_close(deep, expected[:, :, None].expand_as(deep))


def test_drop_path_grows_from_block_to_block():
    rates = drop_path_rates(0.4, (2, 3))
    assert [[round(r, 6) for r in stage] for stage in rates] == [[0.0, 0.1], [0.2, 0.3, 0.4]]
    assert drop_path_rates(0.4, (1,)) == [[0.0]]
