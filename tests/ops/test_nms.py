"""Non-maximum suppression: the very indices of torchvision in 2D, of plain loops in 3D."""

from fractions import Fraction

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis.strategies import booleans, composite, data, integers, sampled_from

from microtome.ops import using
from microtome.ops.nms import BACKENDS, batched_nms, nms
from microtome.testing import BackendContract

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


def by_loops(boxes, scores, threshold, groups=None):
    """The definition, in fractions: nothing is rounded."""
    exact = [[Fraction(x) for x in box] for box in boxes.tolist()]
    groups = [0] * len(boxes) if groups is None else groups.tolist()
    kept = []
    for i in sorted(range(len(boxes)), key=lambda i: (-scores[i].item(), i)):
        rivals = [exact[j] for j in kept if groups[j] == groups[i]]
        if all(_iou(exact[i], rival) <= threshold for rival in rivals):
            kept.append(i)
    return kept


def _iou(a, b):
    dims = len(a) // 2
    shared = volume_a = volume_b = 1
    for axis in range(dims):
        low, high = max(a[axis], b[axis]), min(a[dims + axis], b[dims + axis])
        shared *= max(0, high - low)
        volume_a *= a[dims + axis] - a[axis]
        volume_b *= b[dims + axis] - b[axis]
    return Fraction(shared, volume_a + volume_b - shared) if shared else 0


@composite
def scenes(draw, dims):
    """Boxes between small integers, so that IoUs are ties, too; few scores, some infinite.

    Some lie all over each other, some are flat or the wrong way round; in any layout and dtype.
    """
    random = torch.Generator().manual_seed(draw(integers(0, 99)))
    count, extent = draw(integers(0, 90)), draw(sampled_from([1, 4, 30]))
    low = torch.randint(extent, (count, dims), generator=random)
    high = low + torch.randint(draw(sampled_from([-1, 0, 1, 5])), 6, low.shape, generator=random)
    some = torch.tensor([-torch.inf, -1.0, -0.0, 0.0, 0.5, 2.0, torch.inf])
    some = some[: draw(integers(1, len(some)))]
    scores = some[torch.randint(len(some), (count,), generator=random)]
    groups = torch.randint(-2, draw(integers(-1, 3)), (count,), generator=random) * 2**40
    boxes = torch.cat([low, high], 1).to(draw(sampled_from([torch.float32, torch.float64])))
    if draw(booleans()):
        boxes, scores = boxes.T.contiguous().T, scores.repeat_interleave(2)[::2]
    threshold = draw(sampled_from([0.0, 0.125, 0.25, 0.5, 0.75, 1.0]))  # fractions of two
    return boxes, scores, groups, threshold


class TestNms(BackendContract):
    name = "nms"
    backends = BACKENDS
    dtypes = (torch.float32, torch.float64)

    def call(self, *args):
        return batched_nms(*args)

    def make(self, spatial_dims, dtype):
        boxes, scores = scene(spatial_dims, 80, levels=30)
        groups = torch.arange(80) % 3
        return boxes.to(dtype), scores.to(dtype), groups, 0.2

    def empty(self, spatial_dims):
        return *scene(spatial_dims, 0), torch.zeros(0, dtype=torch.int64), 0.5

    def drawn(self, draw, spatial_dims):
        return draw(scenes(spatial_dims))

    def operations(self, *args):
        return [(torch.ops.microtome.nms, args)]


@pytest.mark.parametrize("name", HERE)
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_whatever_is_drawn_it_is_what_loops_compute(name, dims):
    if HERE[name]:
        pytest.skip(HERE[name])

    @settings(max_examples=25, deadline=None, derandomize=True, database=None)
    @given(data())
    def agree(drawn):
        boxes, scores, groups, threshold = drawn.draw(scenes(dims))
        with using(nms=name):
            ours = nms(boxes, scores, threshold), batched_nms(boxes, scores, groups, threshold)
        assert ours[0].tolist() == by_loops(boxes, scores, threshold)
        assert ours[1].tolist() == by_loops(boxes, scores, threshold, groups)

    agree()


def test_more_boxes_than_fit_are_refused_with_a_reason():
    """Without the memory: in C++ they are counted in 32 bits, on GPUs in a table of all pairs."""
    many = torch.empty(2**31, 4, device="meta"), torch.empty(2**31, device="meta"), None, 0.5
    gpu, cpu, _ = BACKENDS
    assert "2147483648 boxes are 2^31 or more" in cpu.refusals(*many)
    assert "2147483648 boxes are more than 131072" in gpu.refusals(*many)


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


def test_torch_finds_no_fault_in_the_reference():
    """It is an operator, too."""
    args = *scene(2, 20), torch.zeros(20, dtype=torch.int64), 0.5
    torch.library.opcheck(torch.ops.microtome.nms_reference.default, args)
