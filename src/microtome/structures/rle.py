"""Masks as run lengths, as COCO writes them.

Runs of background and object alternate, beginning with background, and go along the first axis
first: down the columns of a picture (pycocotools' `maskApi.c`, Lin et al., 2014). The same holds
for volumes, where there is nobody to agree with.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from ..geometry import Shape

Mask = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int64]
_FIRST = 48  # the character for 0 in a packed string
_MORE, _SIGN, _BITS = 0x20, 0x10, 5


class RunLengths(TypedDict):
    """A mask: its shape in array order, and its runs as numbers or packed into a string."""

    size: list[int]
    counts: str | list[int]


def encode_rle(
    mask: Mask, corner: Sequence[int] | None = None, shape: Shape | None = None
) -> RunLengths:
    """Turn a mask into run lengths.

    Args:
        mask: [*S] bool, or what lies in a box of a larger image.
        corner: where that box begins in the image; the origin when not given.
        shape: of the image; the mask's own when not given.

    Returns:
        `size` and `counts`: for two axes the packed string that pycocotools reads, else numbers.
        The work grows with the box, not with the image.
    """
    shape = mask.shape if shape is None else tuple(shape)
    first = (0,) * len(shape) if corner is None else corner
    places = np.unravel_index(np.flatnonzero(np.ravel(mask, "F")), mask.shape, "F")
    moved = tuple(place + start for place, start in zip(places, first, strict=True))
    inside = np.ravel_multi_index(moved, shape, order="F")
    begins = np.flatnonzero(np.diff(inside, prepend=-2) > 1)
    ends = np.append(begins[1:], len(inside))[: len(begins)] - 1
    runs = np.stack([inside[begins], inside[ends] + 1], 1)
    counts = np.diff(runs.ravel(), prepend=0, append=prod(shape))
    counts = counts[:-1] if len(counts) > 1 and counts[-1] == 0 else counts
    packed = len(shape) == 2
    return {"size": list(shape), "counts": _packed(counts) if packed else counts.tolist()}


def decode_rle(rle: RunLengths) -> Mask:
    """Turn run lengths into a mask [*S].

    Args:
        rle: `counts` may be a packed string (or bytes) or numbers, whatever the number of axes.

    Raises ValueError when the counts do not fill `size`, or are none.
    """
    size, counts = [int(s) for s in rle["size"]], _numbers(rle["counts"])
    if (counts < 0).any() or counts.sum() != prod(size):
        raise ValueError(f"run lengths of {counts.sum()} pixels do not fill an image of {size}")
    values = np.arange(len(counts)) % 2 == 1
    return np.repeat(values, counts).reshape(size, order="F")


def _numbers(counts: str | bytes | Sequence[int]) -> Counts:
    if isinstance(counts, str):
        counts = counts.encode("ascii", errors="replace")
    if isinstance(counts, bytes):
        return _unpacked(np.frombuffer(counts, np.uint8).astype(np.int64) - _FIRST)
    return np.asarray(counts, np.int64)


def _packed(counts: Counts) -> str:
    """From the fourth on, the difference to the run two before; then 5 bits a character.

    A character says with its sixth bit that more follow; the last one's fifth bit is the sign.
    """
    steps = counts.copy()
    steps[3:] -= counts[1:-2]
    widest = max(int(abs(s)).bit_length() for s in (steps.min(initial=0), steps.max(initial=0)))
    shifts = _BITS * np.arange(widest // _BITS + 1)
    bits = (steps[:, None] >> shifts) & (_MORE - 1)
    rest = steps[:, None] >> (shifts + _BITS)
    more = np.where(bits & _SIGN, rest != -1, rest != 0)
    written = np.ones_like(more)
    written[:, 1:] = np.logical_and.accumulate(more[:, :-1], axis=1)
    codes: npt.NDArray[np.uint8] = (bits + _MORE * more + _FIRST)[written].astype(np.uint8)
    return codes.tobytes().decode("ascii")


def _unpacked(codes: Counts) -> Counts:
    """The inverse of `_packed`."""
    if not len(codes):
        return codes
    last = (codes & _MORE) == 0
    if codes.min() < 0 or codes.max() >= 2 * _MORE or not last[-1]:
        raise ValueError("this string holds no run lengths: it is damaged or of another kind")
    starts = np.concatenate([[0], last.nonzero()[0][:-1] + 1])
    place = np.arange(len(codes)) - np.repeat(starts, np.diff(starts, append=len(codes)))
    if place.max() > 12:
        raise ValueError("this string holds run lengths of more than 64 bits")
    parts = (codes & (_MORE - 1)) << (_BITS * place)
    negative = last & ((codes & _SIGN) != 0)
    parts[negative] -= np.int64(1) << (_BITS * (place[negative] + 1))
    steps = np.add.reduceat(parts, starts)
    counts = steps.copy()
    counts[1::2] = steps[1::2].cumsum()
    counts[2::2] = steps[2::2].cumsum()
    return counts
