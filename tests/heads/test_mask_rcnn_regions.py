"""Regions of Mask R-CNN: anchors, their code, which object a box is, where it is looked up."""

import pytest
import torch
from mask_rcnn_scenes import CLASSES, PLANE

from microtome.heads.mask_rcnn import MaskRCNN
from microtome.heads.mask_rcnn.anchors import Anchors
from microtome.heads.mask_rcnn.box_coding import BoxCoding
from microtome.heads.mask_rcnn.matching import BACKGROUND, IGNORED, Matching, Sampling
from microtome.heads.mask_rcnn.pooling import Pooling
from microtome.heads.mask_rcnn.truth import ObjectTruth


def test_anchors_are_cells_enlarged():
    anchors = Anchors(((1.0, 2.0, 2.0),), ratios=(1.0, 4.0), z_ratios=(1.0, 0.5))
    assert anchors.shapes == [[(8, 16, 16), (4, 16, 16), (8, 32, 8), (4, 32, 8)]]
    (level,) = anchors([(1, 2, 1)], (1, 4, 2), torch.device("cpu"))
    assert level[0].tolist() == [0.5 - 4, 1 - 8, 1 - 8, 0.5 + 4, 1 + 8, 1 + 8]
    assert (level[4:] - level[:4]).tolist() == [[0, 2, 0, 0, 2, 0]] * 4


def test_anchors_of_fractional_strides_cover_the_canvas():
    anchors = Anchors(((3.5, 3.5),), [[7.0]], ratios=(1.0,))
    (level,) = anchors([(4, 4)], (14, 14), torch.device("cpu"))
    assert level[0].tolist() == [-1.75, -1.75, 5.25, 5.25]
    assert level[-1].tolist() == [8.75, 8.75, 15.75, 15.75]


def test_sizes_are_for_every_level():
    with pytest.raises(ValueError, match="each of 3 levels"):
        MaskRCNN(PLANE, CLASSES, anchor_sizes=[[8.0], [16.0]])
    with pytest.raises(ValueError, match="above 0"):
        MaskRCNN(PLANE, CLASSES, ratios=())


@pytest.mark.parametrize("dims", [2, 3])
def test_boxes_come_back_from_their_code(dims):
    generator = torch.Generator().manual_seed(0)
    low = torch.rand(2, 50, dims, generator=generator) * 30
    pair = torch.cat([low, low + 0.5 + torch.rand(2, 50, dims, generator=generator) * 9], 2)
    coding = BoxCoding(10, 5)
    deltas = coding.encode(pair[0], pair[1])
    torch.testing.assert_close(coding.decode(deltas, pair[1]), pair[0], rtol=1e-5, atol=1e-4)
    far = coding.decode(torch.full((1, 2 * dims), 1e4), pair[1][:1])
    assert far.isfinite().all()


def test_a_code_is_what_the_paper_says():
    """Twice as high, half as wide, centre a box lower and half a box to the right."""
    around, box = torch.tensor([[0.0, 0, 10, 20]]), torch.tensor([[5.0, 15, 25, 25]])
    log2 = torch.tensor(2.0).log().item()
    found = BoxCoding().encode(box, around)[0].tolist()
    assert found == pytest.approx([1.0, 0.5, log2, -log2])


def matched(rows, objects, ignored=None, forced=True):
    truth = ObjectTruth(
        torch.tensor(objects, dtype=torch.float).reshape(-1, 4),
        torch.ones(len(objects), dtype=torch.long),
        torch.arange(1, len(objects) + 1),
        torch.zeros(1, 20, 20, dtype=torch.int32),
        ignored,
    )
    return Matching(0.7, 0.3, forced).match(torch.tensor(rows, dtype=torch.float), truth)


def test_boxes_are_matched_by_overlap():
    """IoU 1, 0.5, 0 with the first object; 0.25 with the second, which nobody overlaps more."""
    rows = [[0, 0, 4, 4], [0, 0, 4, 2], [10, 10, 12, 12], [6, 6, 8, 8]]
    objects = [[0, 0, 4, 4], [6, 6, 10, 10]]
    assert matched(rows, objects).tolist() == [0, IGNORED, BACKGROUND, 1]
    assert matched(rows, objects, forced=False).tolist() == [0, IGNORED, BACKGROUND, BACKGROUND]
    assert matched(rows, []).tolist() == [BACKGROUND] * 4


def test_an_object_far_from_every_box_forces_none():
    assert matched([[0, 0, 2, 2]] * 3, [[15, 15, 18, 18]]).tolist() == [BACKGROUND] * 3


def test_pairs_are_compared_a_few_at_a_time(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    low = torch.rand(300, 2, generator=generator) * 16
    rows = torch.cat([low, low + 1 + torch.rand(300, 2, generator=generator) * 6], 1)
    objects = rows[::40] + 0.3
    at_once = matched(rows.tolist(), objects.tolist())
    monkeypatch.setattr("microtome.heads.mask_rcnn.matching.AT_ONCE", 50)
    assert matched(rows.tolist(), objects.tolist()).equal(at_once)
    assert (at_once >= 0).sum() >= len(objects)


def test_ignored_pixels_are_no_background():
    """Of the second box three quarters are ignored, of the third a quarter."""
    ignored = torch.zeros(20, 20, dtype=torch.bool)
    ignored[:, :9] = True
    rows = [[0, 0, 4, 4], [0, 6, 4, 10], [0, 8, 4, 12]]
    assert matched(rows, [[0, 0, 4, 4]], ignored).tolist() == [0, IGNORED, BACKGROUND]


def test_objects_and_background_are_drawn_in_proportion():
    found = torch.tensor([0] * 10 + [BACKGROUND] * 100 + [IGNORED] * 50)
    chosen = Sampling(16, 0.25).draw(found)
    assert (found[chosen] == 0).sum() == 4 and (found[chosen] == BACKGROUND).sum() == 12
    assert len(Sampling(16, 0.25).draw(found[:3])) == 3
    assert len(Sampling(16, 0.5).draw(found[110:])) == 0


def test_a_box_is_looked_up_where_it_is_some_cells_long():
    """Fourteen cells of 4, 8 and 16 pixels: 56, 112, 224; along z a quarter."""
    pooling = Pooling(((1.0, 4.0, 4.0), (2.0, 8.0, 8.0), (4.0, 16.0, 16.0)), "areas")
    sides = torch.tensor([[1.0, 4, 4], [27, 111, 111], [28, 112, 112], [56, 224, 224], [999] * 3])
    assert pooling.levels(torch.cat([sides * 0, sides], 1)).tolist() == [0, 0, 1, 2, 2]
    flat = torch.tensor([[3.0, 5, 5, 3, 9, 9]])
    assert pooling.levels(flat).tolist() == [0]
