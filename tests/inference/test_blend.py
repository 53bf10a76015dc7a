from __future__ import annotations

import pytest
import torch
from monai.data.utils import compute_importance_map
from monai.inferers import sliding_window_inference

from microtome.geometry import per_axis, window
from microtome.inference import predict, predict_scores
from microtome.inference.blend import BlendScores, blended, gaussian_weights, weight_sums
from microtome.inference.tiles import TileGrid


@pytest.mark.parametrize("tile", [(1,), (8,), (5, 9), (64, 64), (4, 16, 7), (1, 32, 32)])
def test_weights_are_those_of_monai(tile):
    torch.testing.assert_close(gaussian_weights(tile), compute_importance_map(tile, "gaussian"))


CASES = [
    ((40, 40), 16, 0.5),
    ((37, 61), 16, 0.25),
    ((23, 64), (16, 32), (0.75, 0.0)),
    ((64, 24), 64, 0.5),
    ((50,), 12, 0.5),
    ((9, 30, 21), 8, 0.5),
    ((12, 17, 33), (4, 16, 16), 0.6),
]


@pytest.mark.parametrize(("shape", "tile", "overlap"), CASES)
@pytest.mark.parametrize("batch_size", [1, 3])
def test_blend_equals_monais_sliding_window(memory, network, shape, tile, overlap, batch_size):
    torch.manual_seed(0)
    model, image = network(len(shape)), torch.rand(2, *shape)
    roi = [min(t, s) for t, s in zip(per_axis(tile, len(shape)), shape, strict=True)]
    with torch.no_grad():
        want = sliding_window_inference(
            image[None], roi, batch_size, lambda x: model.net(x).softmax(1), overlap, "gaussian"
        )[0]
    options = {"tile": tile, "overlap": overlap, "batch_size": batch_size}
    got = predict_scores(memory(image), model, **options)
    torch.testing.assert_close(got, want, atol=1e-5, rtol=0)
    classes = predict(memory(image), model, **options).classes
    top = want.topk(2, dim=0).values
    clear = top[0] - top[1] > 1e-4
    assert clear.float().mean() > 0.9
    assert torch.equal(classes[clear].long(), want.argmax(0)[clear])


def test_rows_are_decided_as_soon_as_no_tile_can_reach_them():
    seen = []
    grid = TileGrid.plan((8, 2), (4, 2), 0.5)
    blend = BlendScores(grid, lambda region, values, _: seen.append((region[0], values)))
    for number, tile in enumerate(grid):
        scores = torch.zeros(2, 4, 2)
        scores[1] = number  # class 1 wins from the second tile on
        blend.add(number, scores)
        assert sum(len(values) for _, values in seen) == tile[0].start
    blend.finish()
    assert [r for r, _ in seen] == [slice(0, 2), slice(2, 4), slice(4, 8)]
    assert torch.equal(torch.cat([v for _, v in seen])[:, 0].long(), torch.tensor([0, 0, *[1] * 6]))


def test_memory_is_a_band_not_the_image():
    blend = BlendScores(TileGrid.plan((100_000, 4), (8, 4), 0), lambda *_: None)
    blend.add(0, torch.zeros(3, 8, 4))
    assert blend.sums.shape == (3, 8, 4)


@pytest.mark.parametrize(("shape", "tile", "overlap"), CASES)
def test_weights_summed_along_axes_are_those_summed_by_tiles(shape, tile, overlap):
    grid = TileGrid.plan(shape, tile, overlap)
    weights, want = gaussian_weights(grid.tile), torch.zeros(shape, dtype=torch.float64)
    for region in grid:
        want[region] += weights
    found = weight_sums(grid, weights, window(shape))
    torch.testing.assert_close(found.double(), want)
    part = tuple(slice(size // 3, size - 1) for size in shape)
    assert torch.equal(weight_sums(grid, weights, part), found[part])


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_a_region_is_blended_without_the_tiles_that_are_missing(spatial_dims):
    torch.manual_seed(0)
    grid = TileGrid.plan((20,) * spatial_dims, 8, 0.5)
    weights = gaussian_weights(grid.tile)
    tiles = {n: torch.rand(2, *grid.tile) for n in range(len(grid)) if n not in (0, 5)}
    scores, covered = blended(grid, tiles.get, weights, window(grid.shape))
    sums, total = torch.zeros(2, *grid.shape), torch.zeros(grid.shape)
    for number, own in tiles.items():
        sums[(slice(None), *grid[number])] += own * weights
        total[grid[number]] += weights
    assert torch.equal(covered, total > 0)
    assert not covered.all()
    torch.testing.assert_close(scores[:, covered], (sums / total)[:, covered], atol=0, rtol=1e-3)
    assert blended(grid, lambda _: None, weights, window(grid.shape)) is None


def test_wrong_shapes_orders_and_gaps_are_refused():
    blend = BlendScores(TileGrid.plan((12, 4), (4, 4), 0), lambda *_: None)
    with pytest.raises(ValueError, match="expected scores"):
        blend.add(0, torch.zeros(2, 4, 3))
    blend.add(0, torch.zeros(2, 4, 4))
    with pytest.raises(ValueError, match="tile 1 is next to be blended, got 2"):
        blend.add(2, torch.zeros(2, 4, 4))
    with pytest.raises(ValueError, match="1 of 3 tiles"):
        blend.finish()
