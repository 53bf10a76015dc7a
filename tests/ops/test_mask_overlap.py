"""The sparse table of overlaps, against scikit-image and counting one pixel after the other."""

import os
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis.strategies import integers, lists, sampled_from
from skimage.metrics import contingency_table

from microtome.ops import using
from microtome.ops.mask_overlap import BACKENDS, mask_overlap
from microtome.testing import BackendContract

SHAPES = {1: (40,), 2: (12, 17), 3: (5, 7, 9)}
HERE = {b.name: b.lacking for b in BACKENDS if b.name != "gpu"}  # tensors lie on CPUs


@pytest.fixture(params=HERE)
def backend(request):
    if HERE[request.param]:
        pytest.skip(HERE[request.param])
    with using(mask_overlap=request.param):
        yield request.param


def label_map(dims, count, seed=0, blocks=True):
    """Objects 0…count in blocks of pixels, or noise."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, count + 1, SHAPES[dims], generator=generator)
    if blocks:
        for axis in range(dims):
            labels = labels.repeat_interleave(3, axis).narrow(axis, 0, SHAPES[dims][axis])
    return labels


def by_counting(a, b):
    pairs = sorted(Counter(zip(a.flatten().tolist(), b.flatten().tolist(), strict=True)).items())
    return [(*ids, count) for ids, count in pairs]


def rows(a, b):
    return list(zip(*(x.tolist() for x in mask_overlap(a, b)), strict=True))


INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


class TestMaskOverlap(BackendContract):
    """Drawn answers are also those of counting one pixel after the other."""

    name = "mask_overlap"
    backends = BACKENDS
    dtypes = INTEGERS

    def call(self, *args):
        return mask_overlap(*args)

    def make(self, spatial_dims, dtype):
        return label_map(spatial_dims, 6).to(dtype), label_map(spatial_dims, 9, 1)

    def empty(self, spatial_dims):
        return tuple(torch.zeros(2, *[0] * spatial_dims, dtype=torch.int64) for _ in range(2))

    def drawn(self, draw, spatial_dims):
        """Few ids or as many as pixels, any numbers, in runs of any length, in any layout."""
        random = torch.Generator().manual_seed(draw(integers(0, 99)))
        shape = [draw(integers(0, 12)) for _ in range(spatial_dims)]
        maps = []
        for _ in range(2):
            dtype = draw(sampled_from(INTEGERS))
            least, most = torch.iinfo(dtype).min, torch.iinfo(dtype).max
            ids = torch.tensor(draw(lists(integers(least, most), min_size=1, max_size=40)))
            runs = ids[torch.randint(len(ids), shape, generator=random)].to(dtype)
            times = draw(integers(1, 5))
            maps.append(runs.repeat_interleave(times, -1)[..., : shape[-1]].transpose(0, -1))
        if draw(sampled_from([True, False])):
            maps = [x.contiguous() for x in maps]
        assert rows(*maps) == by_counting(*maps)
        return tuple(maps)

    def operations(self, *args):
        return [(torch.ops.microtome.mask_overlap, args)]


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("blocks", [True, False])
def test_it_is_the_contingency_table_of_scikit_image(backend, dims, blocks):
    a, b = label_map(dims, 6, 0, blocks), label_map(dims, 9, 1, blocks)
    ids_a, ids_b, counts = mask_overlap(a, b)
    table = contingency_table(a.numpy(), b.numpy()).tocoo()
    theirs = {(i, j): n for i, j, n in zip(table.row, table.col, table.data, strict=True) if n}
    ours = zip(ids_a.tolist(), ids_b.tolist(), counts.tolist(), strict=True)
    assert {(i, j): n for i, j, n in ours} == theirs
    assert counts.sum() == a.numel() and counts.min() > 0


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_every_integer_and_layout(backend, dtype):
    a, b = label_map(3, 6).to(dtype), label_map(3, 9, 1)
    assert rows(a, b) == rows(b.new_tensor(a.numpy()), b) == by_counting(a, b)
    assert rows(a.transpose(0, 2), b.transpose(0, 2)) == by_counting(a, b)
    assert rows(a.bool(), b > 3) == by_counting(a.bool(), b > 3)


def test_ids_of_any_size_are_kept_apart(backend):
    """Beyond what float32 (2^24) and int32 (2^31) hold, and where a product of ids overflows."""
    ids = torch.tensor([0, 2**24, 2**24 + 1, 2**31, 2**40 + 7, 2**63 - 1, -1, -(2**63)])
    a, b = ids[label_map(2, 7)], ids[label_map(2, 7, 1)]
    assert rows(a, b) == by_counting(a, b)
    assert mask_overlap(a, b)[0].dtype == torch.int64


def test_unsigned_ids_stay_positive(backend):
    a = torch.tensor(np.array([0, 200, 255], np.uint8))
    assert rows(a, a.long()) == [(0, 0, 1), (200, 200, 1), (255, 255, 1)]


@pytest.mark.parametrize("step", [1, -1, 2**10, 2**43])
def test_every_pixel_a_pair_of_its_own(backend, step):
    """The worst case: nothing repeats, in no order; ids near each other, far, and very far."""
    pixels = 40_000
    a = torch.randperm(pixels, generator=torch.Generator().manual_seed(0)) - 7
    b = torch.randperm(pixels, generator=torch.Generator().manual_seed(1)) * step
    assert rows(a, b) == by_counting(a, b)


@pytest.mark.parametrize("shape", [(0,), (0, 4), (3, 0, 2)])
def test_no_pixels_no_pairs(backend, shape):
    empty = torch.zeros(shape, dtype=torch.int32)
    assert [len(x) for x in mask_overlap(empty, empty)] == [0, 0, 0]


def test_a_single_pixel(backend):
    assert rows(torch.tensor(3), torch.tensor(4)) == [(3, 4, 1)]


def test_an_image_is_a_volume_of_one_layer(backend):
    a, b = label_map(2, 6), label_map(2, 9, 1)
    assert rows(a[None], b[None]) == rows(a, b)


def test_what_does_not_fit_is_refused():
    with pytest.raises(
        ValueError, match=r"integer label maps, got torch\.float32; two maps of one"
    ):
        mask_overlap(torch.zeros(3), torch.zeros(4, dtype=torch.int64))


def test_it_is_one_graph_for_any_shape(backend):
    torch.compiler.reset()
    compiled = torch.compile(
        lambda a, b: mask_overlap(a, b)[2] + 1, fullgraph=True, dynamic=True, backend="aot_eager"
    )
    for dims in (2, 3):
        a, b = label_map(dims, 6), label_map(dims, 9, 1)
        assert compiled(a, b).equal(mask_overlap(a, b)[2] + 1)


@pytest.mark.parametrize("steps", [(1, 1), (1, 2**11), (2**17, 2**17), (1, 2**45)])
@pytest.mark.parametrize("threads", [1, 3])
def test_more_pairs_than_a_cache_holds(backend, steps, threads):
    """Some of them often, from beginning to end: in a table of all pairs, sorted, hashed."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randint(-200, 200, (300, 720), generator=generator) * step for step in steps)
    a[::2], b[::2] = 7, 7
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        ours = mask_overlap(a, b)
    finally:
        torch.set_num_threads(before)
    pairs, counts = np.unique(np.stack([a.flatten(), b.flatten()], 1), axis=0, return_counts=True)
    assert np.array_equal(torch.stack(ours, 1).numpy(), np.c_[pairs, counts])


def test_the_same_pairs_again_and_again(backend):
    """More pixels than are sorted at once, one thread: what was counted stays counted."""
    pairs = torch.arange(40_000)
    a, b = (pairs // 200).repeat(120), (pairs % 200 * 2**30).repeat(120)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        ids_a, ids_b, counts = mask_overlap(a, b)
    finally:
        torch.set_num_threads(before)
    assert ids_a.equal(pairs // 200) and ids_b.equal(pairs % 200 * 2**30)
    assert counts.eq(120).all()


@pytest.mark.slow
@pytest.mark.skipif(HERE["cpu"] != "", reason=HERE["cpu"])
def test_more_pixels_than_32_bits_count():
    """2^32 + 2^20 of them, which cost no memory while nothing is written to them."""
    a, b = (torch.from_numpy(np.zeros(2**32 + 2**20, np.uint8)) for _ in range(2))
    a[-3:], b[-2:] = 9, 1
    expected = [(0, 0, 2**32 + 2**20 - 3), (9, 0, 1), (9, 1, 2)]
    assert list(zip(*(x.tolist() for x in mask_overlap(a, b)), strict=True)) == expected


@pytest.mark.skipif(HERE["cpu"] != "", reason=HERE["cpu"])
def test_memory_does_not_grow_with_pixels():
    """Many pairs, then nothing new: 2^24 pixels in 200 MB, which 24 bytes for each are not."""
    code = """
import resource, torch
from microtome.ops.mask_overlap import mask_overlap
maps = torch.zeros(2, 2**24, dtype=torch.uint8)
maps[:, :40000] = torch.stack([torch.arange(40000) % 256, torch.arange(40000) // 256])
torch.set_num_threads(1)
mask_overlap(*maps[:, :100])
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 200 * 2**20,) * 2)
assert mask_overlap(*maps)[2].sum() == 2**24
"""
    subprocess.run([sys.executable, "-c", code], check=True, env=dict(os.environ))


@pytest.mark.parametrize("dtype", [torch.uint16, torch.uint32])
def test_types_that_torch_does_not_sort(dtype):
    a = torch.tensor([[1, 1], [65_535, 0]]).to(dtype)
    ids_a, ids_b, counts = mask_overlap(a, a)
    assert ids_a.tolist() == ids_b.tolist() == [0, 1, 65_535]
    assert counts.tolist() == [1, 2, 1]
