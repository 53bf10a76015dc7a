"""Axis orders of arrays, by letters: T time, C channels, Z Y X space, B batch.

Inside, images are `CZYX` (or `CYX`); files and other programs have `ZYXC`, `TCZYX` and more.
"""

from __future__ import annotations

from torch import Tensor


def arrange(array: Tensor, have: str, want: str) -> Tensor:
    """View an array in another axis order.

    Args:
        array: one axis for each letter of `have`.
        have: its axes, such as `TZYXC`.
        want: the axes of the result. One that the array lacks becomes an axis of length 1; one
            that is left out must be of length 1, so that nothing is dropped silently.

    Raises ValueError, listing all that is wrong, for letters that repeat, another number of axes,
    or axes that cannot be left out.
    """
    wrong = [f"{axes!r} repeats a letter" for axes in (have, want) if len(set(axes)) < len(axes)]
    if len(have) != array.ndim:
        wrong.append(f"{have!r} are {len(have)} axes, but the array is {list(array.shape)}")
    else:
        sizes = zip(have, array.shape, strict=True)
        long = [f"{axis} of {size}" for axis, size in sizes if axis not in want and size != 1]
        wrong += [f"choose one {one} first, {want!r} has no such axis" for one in long]
    if wrong:
        raise ValueError("; ".join(wrong))
    kept = [axis for axis in want if axis in have]
    gone = [axis for axis in have if axis not in want]  # all of length 1
    array = array.permute([have.index(axis) for axis in kept + gone])
    array = array.reshape(array.shape[: len(kept)])
    for place, axis in enumerate(want):
        if axis not in have:
            array = array.unsqueeze(place)
    return array
