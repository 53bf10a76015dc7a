"""Triton kernels of deformable attention and convolution; imported at the first launch only.

As in kernel.h, both sum samples between the cells of a value. A program takes `ROWS` rows of
batch x query x head, all their channels side by side. `KIND` says where samples lie: 0 at
locations, 1 at offsets from reference points, 2 at offsets from the taps of a convolution, whose
`lattice` is *O, kernel size, stride, padding and dilation, D numbers each.
"""

from __future__ import annotations

import triton
from triton import language as tl


@triton.jit
def _tap(lattice, place, point, AXIS: tl.constexpr, D: tl.constexpr):
    """The pixel of a tap of a convolution, on an axis."""
    for later in tl.static_range(AXIS + 1, D):
        place = place // lattice[later]
        point = point // lattice[D + later]
    corner = (place % lattice[AXIS]) * lattice[2 * D + AXIS] - lattice[3 * D + AXIS]
    return corner + (point % lattice[D + AXIS]) * lattice[4 * D + AXIS]


@triton.jit
def _locate(
    places, around, row, point_row, place, level, point, live, shapes, lattice,
    AXIS: tl.constexpr, L: tl.constexpr, P: tl.constexpr, D: tl.constexpr, KIND: tl.constexpr,
):  # fmt: skip
    """On an axis: the level's size, the cell below the sample, the shares of it and of the next.

    Shares are 0 beyond the border; nan, beyond it, where the place is not finite.
    """
    size = shapes[level * D + AXIS]
    given = tl.load(places + ((row * L + level) * P + point) * D + AXIS, mask=live, other=0.0)
    if KIND == 0:
        x = given * size - 0.5
    elif KIND == 1:
        near = tl.load(around + (point_row * L + level) * D + AXIS, mask=live, other=0.0)
        x = near * size - 0.5 + given
    else:
        x = _tap(lattice, place, point, AXIS, D).to(tl.float32) + given
    spoilt = x - x  # 0, or nan
    x = tl.where(x > -2.0, x, -2.0)
    x = tl.minimum(x, size + 1.0)
    floor = tl.floor(x)
    at = floor.to(tl.int32)
    part = x - floor
    less = tl.where((at >= 0) & (at < size), 1.0 - part, 0.0)
    more = tl.where((at >= -1) & (at < size - 1), part, 0.0)
    return size, at, less + spoilt, more + spoilt


@triton.jit
def _side(UPPER: tl.constexpr, size, at, less, more):
    """Cell, share and slope of the share of a neighbour, and whether it exists."""
    if UPPER:
        return at + 1, more, 1.0, (at >= -1) & (at < size - 1)
    else:
        return at, less, -1.0, (at >= 0) & (at < size)


@triton.jit
def _soft(weights, row, live, S: tl.constexpr, PAD_S: tl.constexpr):
    """Largest logit and sum of exponentials of each row."""
    s = tl.arange(0, PAD_S)
    mask = live[:, None] & (s < S)[None, :]
    logits = tl.load(weights + row[:, None] * S + s[None, :], mask=mask, other=float("-inf"))
    logits = logits.to(tl.float32)
    most = tl.where(live, tl.max(logits, 1), 0.0)
    total = tl.sum(tl.exp(logits - most[:, None]), 1)
    return most, tl.where(live, total, 1.0)


@triton.jit
def _weight(weights, at, live, most, total, SOFTMAX: tl.constexpr):
    weight = tl.load(weights + at, mask=live, other=0.0).to(tl.float32)
    if SOFTMAX:
        weight = tl.exp(weight - most) / total
    return weight


@triton.jit
def forward(
    value, places, weights, around, out, count, queries, positions, point_step, shapes, lattice,
    H: tl.constexpr, C: tl.constexpr, L: tl.constexpr, P: tl.constexpr, D: tl.constexpr,
    KIND: tl.constexpr, SOFTMAX: tl.constexpr,
    ROWS: tl.constexpr, PAD_C: tl.constexpr, PAD_S: tl.constexpr,
):  # fmt: skip
    """Sum samples; `count` rows, `point_step` is 0 where reference points are for all the batch."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    live = row < count
    head, query, batch = row % H, row // H % queries, row // (H * queries)
    point_row = batch * point_step + query
    c = tl.arange(0, PAD_C)[None, :]
    most, total = row, row
    if SOFTMAX:
        most, total = _soft(weights, row, live, L * P, PAD_S)
    summed = tl.zeros((ROWS, PAD_C), tl.float32)
    start = 0
    for level in tl.static_range(L):
        cells = 1
        for axis in tl.static_range(D):
            cells = cells * shapes[level * D + axis]
        for point in range(P):
            weight = _weight(weights, (row * L + level) * P + point, live, most, total, SOFTMAX)
            y_size, y, y_less, y_more = _locate(
                places, around, row, point_row, query, level, point, live, shapes, lattice,
                D - 2, L, P, D, KIND,
            )  # fmt: skip
            x_size, x, x_less, x_more = _locate(
                places, around, row, point_row, query, level, point, live, shapes, lattice,
                D - 1, L, P, D, KIND,
            )  # fmt: skip
            if D == 3:
                z_size, z, z_less, z_more = _locate(
                    places, around, row, point_row, query, level, point, live, shapes, lattice,
                    0, L, P, D, KIND,
                )  # fmt: skip
            for k in tl.static_range(2**D):
                x_cell, share, _, inside = _side(k % 2, x_size, x, x_less, x_more)
                y_cell, y_share, _, y_inside = _side(k // 2 % 2, y_size, y, y_less, y_more)
                cell = y_cell * x_size + x_cell
                share = share * y_share
                inside = inside & y_inside
                if D == 3:
                    z_cell, z_share, _, z_inside = _side(k // 4, z_size, z, z_less, z_more)
                    cell = cell + z_cell * y_size * x_size
                    share = share * z_share
                    inside = inside & z_inside
                at = ((batch * positions + start + cell) * H + head) * C
                mask = (live & inside)[:, None] & (c < C)
                seen = tl.load(value + at[:, None] + c, mask=mask, other=0.0)
                summed += (weight * share)[:, None] * seen.to(tl.float32)
        start += cells
    to = out + row[:, None] * C + c
    tl.store(to, summed.to(out.dtype.element_ty), mask=live[:, None] & (c < C))


@triton.jit
def backward(
    grad, value, places, weights, around, by_value, by_places, by_weights, scale,
    count, queries, positions, point_step, shapes, lattice,
    H: tl.constexpr, C: tl.constexpr, L: tl.constexpr, P: tl.constexpr, D: tl.constexpr,
    KIND: tl.constexpr, SOFTMAX: tl.constexpr, EXACT: tl.constexpr,
    ROWS: tl.constexpr, PAD_C: tl.constexpr, PAD_S: tl.constexpr,
):  # fmt: skip
    """Gradients; `by_value` adds floats, or with `EXACT` integers, whose sum has no order.

    `by_weights` is the gradient of what the samples were weighted with, after any softmax.
    """
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    live = row < count
    head, query, batch = row % H, row // H % queries, row // (H * queries)
    point_row = batch * point_step + query
    c = tl.arange(0, PAD_C)[None, :]
    most, total = row, row
    if SOFTMAX:
        most, total = _soft(weights, row, live, L * P, PAD_S)
    wanted = tl.load(grad + row[:, None] * C + c, mask=live[:, None] & (c < C), other=0.0)
    wanted = wanted.to(tl.float32)
    start = 0
    for level in tl.static_range(L):
        cells = 1
        for axis in tl.static_range(D):
            cells = cells * shapes[level * D + axis]
        for point in range(P):
            sample = (row * L + level) * P + point
            weight = _weight(weights, sample, live, most, total, SOFTMAX)
            y_size, y, y_less, y_more = _locate(
                places, around, row, point_row, query, level, point, live, shapes, lattice,
                D - 2, L, P, D, KIND,
            )  # fmt: skip
            x_size, x, x_less, x_more = _locate(
                places, around, row, point_row, query, level, point, live, shapes, lattice,
                D - 1, L, P, D, KIND,
            )  # fmt: skip
            if D == 3:
                z_size, z, z_less, z_more = _locate(
                    places, around, row, point_row, query, level, point, live, shapes, lattice,
                    0, L, P, D, KIND,
                )  # fmt: skip
            of_weight = tl.zeros((ROWS,), tl.float32)
            spoilt = (y_less - y_less) + (x_less - x_less)  # 0, or nan: on all axes
            if D == 3:
                spoilt += z_less - z_less
            of_z, of_y, of_x = spoilt, spoilt, spoilt
            for k in tl.static_range(2**D):
                x_cell, x_share, x_slope, inside = _side(k % 2, x_size, x, x_less, x_more)
                y_cell, y_share, y_slope, y_inside = _side(k // 2 % 2, y_size, y, y_less, y_more)
                cell = y_cell * x_size + x_cell
                inside = inside & y_inside
                z_share, z_slope = 1.0, 0.0
                if D == 3:
                    z_cell, z_share, z_slope, z_inside = _side(k // 4, z_size, z, z_less, z_more)
                    cell = cell + z_cell * y_size * x_size
                    inside = inside & z_inside
                share = z_share * y_share * x_share
                at = ((batch * positions + start + cell) * H + head) * C
                at = at[:, None] + c
                mask = (live & inside)[:, None] & (c < C)
                seen = tl.load(value + at, mask=mask, other=0.0).to(tl.float32)
                dot = tl.sum(wanted * seen, 1)
                of_weight += share * dot
                of_x += x_slope * (z_share * y_share * dot)
                of_y += y_slope * (z_share * x_share * dot)
                of_z += z_slope * (y_share * x_share * dot)
                part = (weight * share)[:, None] * wanted
                if EXACT:
                    whole = (part.to(tl.float64) * tl.load(scale)).to(tl.int64)
                    tl.atomic_add(by_value + at, whole, mask=mask, sem="relaxed")
                else:
                    tl.atomic_add(by_value + at, part, mask=mask, sem="relaxed")
            if KIND == 0:  # locations are shares of the level
                of_y = of_y * y_size
                of_x = of_x * x_size
            tl.store(by_places + sample * D + D - 2, weight * of_y, mask=live)
            tl.store(by_places + sample * D + D - 1, weight * of_x, mask=live)
            if D == 3:
                if KIND == 0:
                    of_z = of_z * z_size
                tl.store(by_places + sample * D, weight * of_z, mask=live)
            tl.store(by_weights + sample, of_weight, mask=live)
        start += cells
