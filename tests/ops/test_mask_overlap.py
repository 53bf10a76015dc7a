"""The sparse table of overlaps, against scikit-image and counting one pixel after the other."""

import os
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import torch
from skimage.metrics import contingency_table

from microtome.ops import using
from microtome.ops.mask_overlap import BACKENDS, mask_overlap

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


def test_every_pixel_a_pair_of_its_own(backend):
    """The worst case: nothing repeats, in no order."""
    a = torch.randperm(5000, generator=torch.Generator().manual_seed(0))
    b = torch.randperm(5000, generator=torch.Generator().manual_seed(1)) * 2**33
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


def test_more_pairs_than_a_cache_holds(backend):
    """Some of them often, from beginning to end."""
    generator = torch.Generator().manual_seed(0)
    a = torch.randint(-300, 300, (300, 400), generator=generator)
    b = torch.randint(-300, 300, (300, 400), generator=generator)
    a[::2], b[::2] = 7, 7
    assert rows(a, b) == by_counting(a, b)


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


@pytest.mark.skipif(HERE["cpu"] != "", reason=HERE["cpu"])
def test_torch_finds_no_fault_in_the_operator():
    args = label_map(2, 6), label_map(2, 9, 1)
    torch.library.opcheck(torch.ops.microtome.mask_overlap.default, args)
