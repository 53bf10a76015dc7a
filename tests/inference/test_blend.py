from __future__ import annotations

import pytest
import torch
from monai.data.utils import compute_importance_map
from monai.inferers import sliding_window_inference

from microtome.geometry import per_axis
from microtome.inference import predict, predict_scores
from microtome.inference.blend import BlendScores, gaussian_weights


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
    blend = BlendScores((8, 2), (4, 2), lambda region, values: seen.append((region[0], values)))
    for start in (0, 2, 4):
        scores = torch.zeros(2, 4, 2)
        scores[1] = start  # class 1 wins from the second tile on
        blend.add((slice(start, start + 4), slice(0, 2)), scores)
        assert sum(len(values) for _, values in seen) == start
    blend.finish()
    assert [r for r, _ in seen] == [slice(0, 2), slice(2, 4), slice(4, 8)]
    assert torch.equal(torch.cat([v for _, v in seen])[:, 0].long(), torch.tensor([0, 0, *[1] * 6]))


def test_memory_is_a_band_not_the_image():
    blend = BlendScores((10_000_000, 4), (8, 4), lambda *_: None)
    blend.add((slice(0, 8), slice(0, 4)), torch.zeros(3, 8, 4))
    assert blend.sums.shape == (3, 8, 4)


def test_wrong_shapes_orders_and_gaps_are_refused():
    region = (slice(0, 4), slice(0, 4))
    blend = BlendScores((12, 4), (4, 4), lambda *_: None)
    with pytest.raises(ValueError, match="expected scores"):
        blend.add(region, torch.zeros(2, 4, 3))
    blend.add((slice(0, 4), slice(0, 4)), torch.zeros(2, 4, 4))
    blend.add((slice(4, 8), slice(0, 4)), torch.zeros(2, 4, 4))
    with pytest.raises(ValueError, match="after row 4 was decided"):
        blend.add(region, torch.zeros(2, 4, 4))
    with pytest.raises(ValueError, match="not covered"):
        blend.finish()
