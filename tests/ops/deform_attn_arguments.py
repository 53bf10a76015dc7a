"""Arguments of deformable attention, random and drawn, in both its forms."""

from math import prod

import torch
from hypothesis.strategies import integers, sampled_from

SHAPES = {1: ((5,), (3,)), 2: ((4, 5), (2, 3)), 3: ((2, 3, 4), (1, 2, 2))}
HEADS, CHANNELS, QUERIES, POINTS = 2, 3, 3, 2


def arguments(dims, dtype=torch.float32, queries=QUERIES, batch=2, reach=0.3):
    """Random ones; `reach` is how far beyond the borders samples may lie."""
    generator = torch.Generator().manual_seed(dims)
    shapes = SHAPES[dims]
    exact = torch.float64 if dtype == torch.float64 else torch.float32
    sizes = (batch, queries, HEADS, len(shapes), POINTS)
    count = sum(prod(s) for s in shapes)
    value = torch.randn(batch, count, HEADS, CHANNELS, generator=generator, dtype=torch.float64)
    places = torch.rand(*sizes, dims, generator=generator, dtype=torch.float64)
    weights = torch.rand(*sizes, generator=generator, dtype=torch.float64)
    locations = (places * (1 + 2 * reach) - reach).to(exact)
    return value.to(dtype), shapes, locations, weights.to(dtype)


def around(args, batch=1):
    """Arguments of the fused form: offsets of a few pixels around points that the batch shares."""
    value, shapes, locations, weights = args
    points = locations[:batch, :, 0, :, 0].clamp(0, 1)
    if not len(value):  # nothing to take them from
        points = locations.new_zeros(batch, *points.shape[1:])
    return value, shapes, points, 3 * locations - 1, 4 * weights


def drawn(draw, dims):
    """Sizes from nothing on, channels beside whole vectors, samples anywhere."""
    count = integers(0, 3)
    levels = draw(integers(1, 3))
    shapes = tuple(tuple(draw(integers(1, 5)) for _ in range(dims)) for _ in range(levels))
    sizes = (draw(count), draw(count), draw(integers(1, 3)), levels, draw(integers(1, 6)))
    channels = draw(sampled_from([0, 1, 3, 8, 16, 17, 32, 40, 64, 100]))
    random = torch.Generator().manual_seed(draw(integers(0, 9)))
    value = torch.randn(
        sizes[0], sum(prod(s) for s in shapes), sizes[2], channels, generator=random
    )
    locations = 2 * torch.rand(*sizes, dims, generator=random) - 0.5
    return value, shapes, locations, torch.randn(sizes, generator=random)
