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

Mask = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int64]
_FIRST = 48  # the character for 0 in a packed string
_MORE, _SIGN, _BITS = 0x20, 0x10, 5


class RunLengths(TypedDict):
    """A mask: its shape in array order, and its runs as numbers or packed into a string."""

    size: list[int]
    counts: str | list[int]


def encode_rle(mask: Mask) -> RunLengths:
    """Turn a mask into run lengths.

    Args:
        mask: [*S] bool.

    Returns:
        `size` and `counts`: for two axes the packed string that pycocotools reads, else numbers.
    """
    flat = np.asarray(mask, bool).ravel(order="F")
    turns = (flat[1:] != flat[:-1]).nonzero()[0] + 1
    counts = np.diff(turns, prepend=0, append=flat.size)
    if flat.size and flat[0]:
        counts = np.concatenate([[0], counts])
    packed = mask.ndim == 2
    return {"size": list(mask.shape), "counts": _packed(counts) if packed else counts.tolist()}


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
