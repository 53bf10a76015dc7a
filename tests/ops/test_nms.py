"""Non-maximum suppression: the very indices of torchvision in 2D, of plain loops in 3D."""

import pytest
import torch
import torchvision

from microtome.ops import using
from microtome.ops.nms import BACKENDS, batched_nms, nms

HERE = {b.name: b.lacking for b in BACKENDS if b.name != "gpu"}  # tensors lie on CPUs


@pytest.fixture(params=HERE)
def backend(request):
    if HERE[request.param]:
        pytest.skip(HERE[request.param])
    with using(nms=request.param):
        yield request.param


def scene(dims, count, seed=0, extent=100.0, side=25.0, levels=None):
    """Random boxes and scores; `levels` rounds scores to so many values, so that there are ties."""
    generator = torch.Generator().manual_seed(seed)
    low = torch.rand(count, dims, generator=generator) * extent
    size = torch.rand(count, dims, generator=generator) * side
    scores = torch.rand(count, generator=generator)
    if levels:
        scores = (scores * levels).floor() / levels
    return torch.cat([low, low + size], 1), scores


def tailed(count, seed=0):
    """Sizes over five powers of ten, some in clusters, some of no size."""
    generator = torch.Generator().manual_seed(seed)
    size = 10 ** (torch.rand(count, 2, generator=generator) * 5 - 2)
    low = torch.rand(count, 2, generator=generator) * 10 ** torch.randint(
        4, (count, 1), generator=generator
    )
    size[::9] = 0
    return torch.cat([low, low + size], 1), torch.rand(count, generator=generator)


def torchvision_nms(boxes, scores, threshold):
    return torchvision.ops.nms(boxes[:, [1, 0, 3, 2]], scores, threshold)


def by_loops(boxes, scores, threshold):
    """The definition, in Python's own numbers."""
    dims = boxes.shape[1] // 2
    kept = []
    for i in sorted(range(len(boxes)), key=lambda i: (-scores[i].item(), i)):
        if all(_iou(boxes[i].tolist(), boxes[j].tolist(), dims) <= threshold for j in kept):
            kept.append(i)
    return kept


def _iou(a, b, dims):
    shared = volume_a = volume_b = 1.0
    for axis in range(dims):
        low, high = max(a[axis], b[axis]), min(a[dims + axis], b[dims + axis])
        shared *= max(0.0, high - low)
        volume_a *= a[dims + axis] - a[axis]
        volume_b *= b[dims + axis] - b[axis]
    return shared / (volume_a + volume_b - shared) if shared else 0.0


@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.3, 0.5, 0.7, 0.95, 1.0])
@pytest.mark.parametrize("levels", [None, 5])
def test_in_two_dimensions_it_keeps_what_torchvision_keeps(backend, threshold, levels):
    for seed in range(5):
        boxes, scores = scene(2, 80, seed, levels=levels)
        assert nms(boxes, scores, threshold).equal(torchvision_nms(boxes, scores, threshold))


@pytest.mark.parametrize("threshold", [0.0, 0.4, 0.6])
def test_however_sizes_are_spread(backend, threshold):
    for seed in range(4):
        boxes, scores = tailed(120, seed)
        assert nms(boxes, scores, threshold).equal(torchvision_nms(boxes, scores, threshold))


def test_an_iou_equal_to_the_threshold_stays(backend):
    """Overlaps of small integers are exact fractions, and equal the threshold often."""
    for seed in range(5):
        boxes, scores = scene(2, 100, seed, extent=6, side=4, levels=3)
        boxes = boxes.round()
        for threshold in (0.2, 0.25, 1 / 3, 0.5):
            assert nms(boxes, scores, threshold).equal(torchvision_nms(boxes, scores, threshold))


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_it_is_what_loops_compute(backend, dims):
    boxes, scores = scene(dims, 60, extent=12, side=12, levels=20)
    for threshold in (0.05, 0.3, 0.6):
        assert nms(boxes, scores, threshold).tolist() == by_loops(boxes, scores, threshold)


def test_an_image_is_a_volume_of_one_layer(backend):
    boxes, scores = scene(2, 80)
    zero = torch.zeros(80)
    deep = torch.stack([zero, *boxes[:, :2].T, zero + 1, *boxes[:, 2:].T], 1)
    assert nms(deep, scores, 0.3).equal(nms(boxes, scores, 0.3))


def test_groups_do_not_touch_each_other(backend):
    boxes, scores = scene(2, 120, levels=30)
    groups = torch.randint(-2, 3, (120,), generator=torch.Generator().manual_seed(0)) * 2**40
    kept = batched_nms(boxes, scores, groups, 0.2)
    alone = [
        some[nms(boxes[some], scores[some], 0.2)]
        for some in ((groups == g).nonzero().flatten() for g in groups.unique())
    ]
    union = torch.cat(alone).sort().values
    assert kept.equal(union[scores[union].sort(descending=True, stable=True).indices])


def test_groups_are_those_of_torchvision(backend):
    boxes, scores = scene(2, 150)
    groups = torch.randint(4, (150,), generator=torch.Generator().manual_seed(0))
    theirs = torchvision.ops.batched_nms(boxes[:, [1, 0, 3, 2]], scores, groups, 0.3)
    assert batched_nms(boxes, scores, groups, 0.3).equal(theirs)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_no_boxes_and_one_box(backend, dims):
    assert nms(torch.zeros(0, 2 * dims), torch.zeros(0), 0.5).shape == (0,)
    assert nms(torch.zeros(1, 2 * dims), torch.zeros(1), 0.5).tolist() == [0]


def test_boxes_without_content_stay(backend):
    """Flat, the wrong way round in one axis, in both: they overlap nothing."""
    boxes = torch.tensor([[0, 0, 9, 9.0], [4, 4, 4, 6], [6, 2, 3, 5], [5, 5, 1, 1], [4, 4, 4, 6]])
    scores = torch.arange(5.0)
    assert nms(boxes, scores, 0.0).equal(torchvision_nms(boxes, scores, 0.0))
    assert len(nms(boxes, scores, 0.0)) == 5


def test_memory_layout_and_number_formats(backend):
    boxes, scores = scene(2, 60)
    boxes, scores = boxes.round(), (scores * 50).round().bfloat16()
    kept = nms(boxes, scores.float(), 0.3)
    assert nms(boxes.T.contiguous().T, scores.repeat_interleave(2)[::2], 0.3).equal(kept)
    for dtype in (torch.float64, torch.int64, torch.int32):
        assert nms(boxes.to(dtype), scores.to(torch.float64), 0.3).equal(kept)
    assert nms(boxes, scores, 0.3).equal(kept)


def test_infinite_scores_are_an_order_like_any_other(backend):
    boxes, _ = scene(2, 4, extent=1000)
    scores = torch.tensor([-torch.inf, 3.0, torch.inf, -0.0])
    assert nms(boxes, scores, 0.5).tolist() == [2, 1, 3, 0]
    assert nms(boxes, torch.tensor([-0.0, 0.0, 0.0, -0.0]), 0.5).tolist() == [0, 1, 2, 3]


def test_values_without_an_order_are_refused(backend):
    boxes, scores = scene(2, 5)
    boxes[0, 1], boxes[3, 3], scores[2] = torch.inf, torch.nan, torch.nan
    with pytest.raises(
        RuntimeError, match="nms: 1 scores are not a number; 2 boxes hold infinities"
    ):
        nms(boxes, scores, 0.5)


def test_all_that_does_not_fit_is_listed():
    boxes, scores = scene(2, 5)
    with pytest.raises(ValueError, match=r"nms: boxes are \[N, 2D\].*scores are \[5\], got \[4\]"):
        nms(boxes[:, :3], scores[:4], 0.5)
    with pytest.raises(ValueError, match=r"scores must be floating.*threshold is an IoU.*got 1\.5"):
        nms(boxes, scores.long(), 1.5)
    with pytest.raises(ValueError, match=r"batched_nms: groups are \[5\].*groups must be integers"):
        batched_nms(boxes, scores, scores[:3], 0.5)


def test_it_is_one_graph_for_any_number_of_boxes(backend):
    torch.compiler.reset()
    compiled = torch.compile(
        lambda boxes, scores: boxes[nms(boxes, scores, 0.3)],
        fullgraph=True,
        dynamic=True,
        backend="aot_eager",
    )
    for count in (50, 70, 3):
        boxes, scores = scene(2, count)
        assert compiled(boxes, scores).equal(boxes[nms(boxes, scores, 0.3)])


def test_torch_finds_no_fault_in_the_operators():
    args = *scene(2, 20), torch.zeros(20, dtype=torch.int64), 0.5
    for backend in BACKENDS:
        if backend.name in HERE and not backend.reasons(*args):
            name = "nms_reference" if backend.name == "reference" else "nms"
            torch.library.opcheck(getattr(torch.ops.microtome, name).default, args)
