"""Overlaps of objects in layers, against their dense masks."""

import pytest
import torch
from hypothesis.strategies import integers, sampled_from

from microtome.ops import using
from microtome.ops.layer_overlap import BACKENDS, layer_overlap
from microtome.testing import BackendContract

SHAPES = {1: (300,), 2: (12, 37), 3: (5, 7, 9)}
INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
HERE = {b.name: b.lacking for b in BACKENDS}


@pytest.fixture(params=HERE)
def backend(request):
    if HERE[request.param]:
        pytest.skip(HERE[request.param])
    with using(layer_overlap=request.param):
        yield request.param


def layers(shape, count, seed, low=0):
    """`count` layers of objects in runs along the last axis, most of each empty; numbers repeat."""
    random = torch.Generator().manual_seed(seed)
    numbers = torch.randint(low, 9, (count, *shape), generator=random)
    numbers *= torch.rand(numbers.shape, generator=random) < 0.2
    return numbers.repeat_interleave(3, -1)[..., : shape[-1]]


def by_masks(a, b):
    """Every row, from a mask of pixels for each layer of each object."""
    rows = []
    ids = [[0, *(i for i in x.unique().tolist() if i)] for x in (a, b)]
    ones = torch.ones_like(a[:1], dtype=torch.int64) if len(a) else b[:1] * 0 + 1
    masks = [
        {i: (x == i).sum(0) if i else ones[0] for i in own}
        for x, own in zip((a, b), ids, strict=True)
    ]
    for i, mine in masks[0].items():
        for j, other in masks[1].items():
            pixels = int((mine * other).sum())
            if pixels and (i or j):
                rows.append((i, j, pixels))
    return sorted(rows)


def rows(a, b):
    return list(zip(*(x.tolist() for x in layer_overlap(a, b)), strict=True))


class TestLayerOverlap(BackendContract):
    """Drawn answers are also those of dense masks."""

    name = "layer_overlap"
    backends = BACKENDS
    dtypes = INTEGERS

    def call(self, *args):
        return layer_overlap(*args)

    def make(self, spatial_dims, dtype):
        shape = SHAPES[spatial_dims]
        return layers(shape, 3, 0).to(dtype), layers(shape, 2, 1)

    def empty(self, spatial_dims):
        return tuple(torch.zeros(2, *[0] * spatial_dims, dtype=torch.int64) for _ in range(2))

    def drawn(self, draw, spatial_dims):
        shape = [draw(integers(0, 12)) for _ in range(spatial_dims - 1)]
        shape = (*shape, draw(integers(0, 200)))
        maps = [
            layers(shape, draw(integers(1, 4)), draw(integers(0, 99))).to(
                draw(sampled_from(INTEGERS))
            )
            for _ in range(2)
        ]
        if draw(sampled_from([True, False])):
            maps = [x.transpose(1, -1).contiguous().transpose(1, -1) for x in maps]
        assert rows(*maps) == by_masks(*maps)
        return tuple(maps)

    def operations(self, *args):
        return [(torch.ops.microtome.layer_overlap, args)]


@pytest.mark.parametrize("shape", SHAPES.values())
def test_pairs_are_summed_over_layers_and_objects_stand_beside_0(backend, shape):
    a, b = layers(shape, 3, 0, low=-5), layers(shape, 2, 1)
    assert rows(a, b) == by_masks(a, b)
    assert rows(a[:0], b) == [row for row in by_masks(a, b) if row[0] == 0]
    assert rows(a[:1] * 0, b[:1] * 0) == []


def test_large_ids_are_kept_apart(backend):
    a = torch.tensor([[0, 2**24, 2**24 + 1, 2**63 - 1, 2**63 - 1]])
    b = torch.tensor([[2**40, 2**40, 0, 0, -1], [0, 7, 0, 0, 0]])
    big = 2**63 - 1
    assert rows(a, b) == [
        *[(0, -1, 1), (0, 7, 1), (0, 2**40, 2)],
        *[(2**24, 0, 1), (2**24, 7, 1), (2**24, 2**40, 1), (2**24 + 1, 0, 1)],
        *[(big, -1, 1), (big, 0, 2)],
    ]


def test_mistakes_are_named_at_once():
    with pytest.raises(ValueError, match=r"got torch.float32; layers .* \[2, 3\] and \[1, 4\]"):
        layer_overlap(torch.zeros(2, 3), torch.zeros(1, 4, dtype=torch.int64))
