"""Point sampling, against grid_sample's formula, transformers and SciPy."""

import numpy as np
import pytest
import torch
from hypothesis.strategies import integers, sampled_from
from scipy.ndimage import map_coordinates
from transformers.models.mask2former.modeling_mask2former import sample_point

from microtome.ops import using
from microtome.ops.point_sample import BACKENDS, point_sample, reference
from microtome.testing import OperatorContract

SHAPE = (3, 4, 5)


def arguments(dims, dtype=torch.float32, count=6):
    generator = torch.Generator().manual_seed(dims)
    maps = torch.randn(2, 3, *SHAPE[-dims:], generator=generator, dtype=torch.float64)
    points = torch.rand(2, count, dims, generator=generator, dtype=torch.float64) * 1.4 - 0.2
    return maps.to(dtype), points.to(torch.float64 if dtype == torch.float64 else torch.float32)


class TestPointSample(OperatorContract):
    name = "point_sample"
    backends = BACKENDS

    def call(self, *args):
        return point_sample(*args)

    def make(self, spatial_dims, dtype):
        return arguments(spatial_dims, dtype)

    def empty(self, spatial_dims):
        return arguments(spatial_dims, count=0)

    def drawn(self, draw, spatial_dims):
        """Channels beside whole vectors, points anywhere, no images or points among them."""
        random = torch.Generator().manual_seed(draw(integers(0, 9)))
        shape = [draw(integers(1, 5)) for _ in range(spatial_dims)]
        batch, channels = draw(integers(0, 3)), draw(sampled_from([1, 3, 8, 16, 17, 33, 70]))
        maps = torch.randn(batch, channels, *shape, generator=random)
        points = torch.rand(batch, draw(integers(0, 70)), spatial_dims, generator=random)
        return maps, 2 * points - 0.5

    def operations(self, maps, points):
        operator = torch.ops.microtome.point_sample
        return [(operator, (maps, points, False)), (operator, (maps, points, True))]


def test_in_two_dimensions_it_is_that_of_transformers():
    maps, points = arguments(2)
    theirs = sample_point(maps, points.flip(-1), align_corners=False)
    torch.testing.assert_close(point_sample(maps, points), theirs)


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("mode, order", [("linear", 1), ("nearest", 0)])
def test_it_is_scipys_interpolation(dims, mode, order):
    maps, points = arguments(dims)
    shape = torch.tensor(maps.shape[2:])
    ours = point_sample(maps, points, mode)
    for i in range(2):
        pixels = (points[i] * shape - 0.5).T.numpy()  # pixel i has its centre at i
        how = {"order": order, "mode": "grid-constant"}
        theirs = [map_coordinates(m.numpy(), pixels, **how) for m in maps[i]]
        np.testing.assert_allclose(ours[i].numpy(), np.stack(theirs), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("mode", ["linear", "nearest"])
def test_rows_give_the_same_where_gradients_need_one_order(dims, mode):
    """What GPUs compute under deterministic algorithms, run here."""
    maps, points = arguments(dims)
    points[0, 1, -1] = torch.nan
    leaves = maps.requires_grad_(), points.requires_grad_()
    pairs = []
    for run in (reference.by_rows, reference.run):
        out = run(*leaves, mode)
        pairs.append((out, *torch.autograd.grad(out[:, 0].nansum() + out[1].sum(), leaves)))
    for ours, theirs in zip(*pairs, strict=True):
        torch.testing.assert_close(ours, theirs, equal_nan=True)


def test_points_are_in_array_order():
    maps = torch.arange(20.0).view(1, 1, 4, 5)
    points = torch.tensor([[[2.5 / 4, 0.5 / 5], [0.5 / 4, 2.5 / 5], [1.5 / 4, 1 / 5]]])
    torch.testing.assert_close(point_sample(maps, points).flatten(), torch.tensor([10, 2, 5.5]))


def test_nearest_keeps_classes_whole():
    maps = torch.tensor([[[1.0, 7.0]]])
    points = torch.tensor([[[0.49], [0.51]]])
    assert point_sample(maps, points, "nearest").flatten().tolist() == [1, 7]
    assert point_sample(maps, points).flatten().tolist() == pytest.approx([3.88, 4.12])


@pytest.mark.parametrize("name", [b.name for b in BACKENDS])
@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("mode", ["linear", "nearest"])
@pytest.mark.parametrize("place", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("channels", [3, 40])
def test_a_point_that_is_not_finite_is_nan(name, dims, mode, place, channels):
    """On whichever axis, though another one lies beyond the border; its neighbours are as ever."""
    lacking = {b.name: b.lacking for b in BACKENDS}[name]
    if lacking:
        pytest.skip(lacking)
    maps, points = arguments(dims)
    maps = torch.cat([maps] * 14, 1)[:, :channels].requires_grad_()
    points[:, 1] = 9
    points[:, 1, -1] = place
    fine = point_sample(maps, points[:, [0, 2]], mode)
    points.requires_grad_()
    with using(point_sample=name):
        out = point_sample(maps, points, mode)
        by_maps, by_points = torch.autograd.grad(out.sum(), (maps, points))
    assert out[:, :, 1].isnan().all() and by_points[:, 1].isnan().all()
    torch.testing.assert_close(out[:, :, [0, 2]], fine)
    assert by_maps.isfinite().all() and by_points[:, [0, 2, 3, 4, 5]].isfinite().all()


def test_all_that_does_not_fit_is_listed():
    maps, points = arguments(2)
    wrong = r"`linear` or `nearest`, got 'cubic'; maps must be floating point, got torch\.int64"
    with pytest.raises(ValueError, match=wrong):
        point_sample(maps.long(), points, "cubic")
    with pytest.raises(ValueError, match=r"float32 or float64, got torch\.float16"):
        point_sample(maps, points.half())
    with pytest.raises(ValueError, match=r"are \[2, P, 2\], got \[2, 6, 3\]"):
        point_sample(maps, arguments(3)[1])
