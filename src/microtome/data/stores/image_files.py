"""Image files: PNG, JPEG, BMP and TIFF as sources in unit range.

A file is decoded once, when it is opened, and its raw pixels are kept; `read` turns a region of
them into unit range. What a file is, its first bytes say, not its name.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from ...geometry import Region, Spacing, per_axis
from ...structures import Intensity
from .arrays import measure, thinned
from .decoded import ALPHA, COLOUR, GREY, Decoded, Levels
from .decoding import check_finite, decode
from .source import ImageReadError, Source, SourceInfo, name_of

ChannelPolicy = Literal["rgb", "grey", "as_is"]
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's `convert("L")`


class ImageFile(Source):
    """The raw pixels of a file in memory, read out in unit range."""

    def __init__(
        self, file: Path, decoded: Decoded, levels: Sequence[Levels], stated: bool
    ) -> None:
        self._raw, self._levels, self._stated = decoded.values, tuple(levels), stated
        shape, dtype = decoded.values.shape[1:], str(decoded.values.dtype)
        self.info = SourceInfo(name_of(file), shape, decoded.channels, decoded.spacing, dtype)

    @cached_property
    def intensity(self) -> Intensity:
        """Levels and statistics of the whole file."""
        return measure(self.read(thinned(self.info.shape)), self._levels, self._stated)

    def read(self, region: Region) -> npt.NDArray[np.float32]:
        """[C, *region] in unit range; values beyond stated levels are clipped to 0 and 1."""
        raw = self._raw[(slice(None), *region)]
        # float32 holds integers up to 2^24 exactly; wider types subtract black in float64 first
        narrow = raw.dtype.itemsize <= 2 or raw.dtype == np.float32
        unit: npt.NDArray[np.floating] = raw.astype(np.float32 if narrow else np.float64, order="C")
        for channel, (black, white) in zip(unit, self._levels, strict=True):
            channel -= black
            channel /= white - black
        return np.clip(unit, 0, 1, out=unit).astype(np.float32, copy=False)


def open_source(
    path: str | os.PathLike[str],
    *,
    spacing: float | Sequence[float] | None = None,
    levels: Levels | Sequence[Levels] | None = None,
    channels: ChannelPolicy = "rgb",
) -> Source:
    """Open an image file as a source in unit range.

    Args:
        path: PNG, JPEG, BMP or TIFF: (z,) y, x with any channel axis; 1 to 32 bits or float.
        spacing: micrometres per pixel, one for all axes or one per axis; it wins over the file's.
        levels: the raw values of black and white, one pair or one per channel; they win over the
            type's. Without them 1 to 15 bits use the type's range, and other types are measured:
            minimum and maximum per channel, over all three for red, green and blue together. A
            constant image becomes black.
        channels: "rgb" repeats grey and drops alpha; "grey" takes the luminance; "as_is" keeps all.

    Raises ImageReadError for every file that cannot be used, with the reason.
    """
    file = Path(path)
    decoded = decode(file)
    check_finite(file, decoded.values)
    decoded = _with_policy(file, decoded, channels)
    if spacing is not None:
        decoded = decoded._replace(spacing=_spacing(file, spacing, decoded.values.ndim - 1))
    pairs, stated = _levels(file, decoded, levels)
    return ImageFile(file, decoded, pairs, stated)


def _with_policy(file: Path, decoded: Decoded, policy: ChannelPolicy) -> Decoded:
    if policy not in ("rgb", "grey", "as_is"):
        raise ValueError(f"channels: expected rgb, grey or as_is, got {policy!r}")
    if policy == "as_is":
        return decoded
    values, names = decoded.values, decoded.channels
    if names[-1] == ALPHA:
        values, names = values[:-1], names[:-1]
    if policy == "rgb" and len(values) in (1, 3):
        values = np.broadcast_to(values, (3, *values.shape[1:]))
        return decoded._replace(values=values, channels=COLOUR)
    if policy == "grey" and len(values) == 1:
        return decoded._replace(values=values, channels=GREY)
    if policy == "grey" and names == COLOUR:
        weights = np.array(LUMINANCE, np.float32)
        values = np.tensordot(weights, values.astype(np.float32), 1)[None]
        return decoded._replace(values=values, channels=GREY)
    listed = ", ".join(decoded.channels)
    raise ImageReadError(
        file, f"has {len(decoded.channels)} channels ({listed}), which channels={policy!r} cannot "
        "use; read it with channels='as_is', or save the wanted ones"
    )  # fmt: skip


def _spacing(file: Path, spacing: float | Sequence[float], spatial_dims: int) -> Spacing:
    try:
        steps = per_axis(spacing, spatial_dims)
    except ValueError as error:
        raise ImageReadError(file, f"spacing: {error}") from None
    if not all(np.isfinite(s) and s > 0 for s in steps):
        raise ImageReadError(file, f"spacing must be positive micrometres per pixel, got {steps}")
    return tuple(float(s) for s in steps)


def _levels(
    file: Path, decoded: Decoded, given: Levels | Sequence[Levels] | None
) -> tuple[tuple[Levels, ...], bool]:
    """One (black, white) per channel, and whether they are stated."""
    values, count = decoded.values, len(decoded.values)
    if given is None and decoded.levels is None:
        return _measured(decoded), False
    pairs = np.asarray(decoded.levels if given is None else given, np.float64)
    if pairs.shape not in ((2,), (1, 2), (count, 2)) or (pairs[..., 0] >= pairs[..., 1]).any():
        raise ImageReadError(
            file,
            f"levels must be (black, white) with black below white, once or for each of {count} "
            f"channels of {values.dtype}; got {pairs.tolist()}",
        )
    return tuple((b, w) for b, w in np.broadcast_to(pairs, (count, 2)).tolist()), True


def _measured(decoded: Decoded) -> tuple[Levels, ...]:
    axes = tuple(range(0 if decoded.channels == COLOUR else 1, decoded.values.ndim))
    low = np.broadcast_to(decoded.values.min(axes), len(decoded.values)).tolist()
    high = np.broadcast_to(decoded.values.max(axes), len(decoded.values)).tolist()
    return tuple(
        (float(b), float(w) if w > b else float(b) + 1.0) for b, w in zip(low, high, strict=True)
    )
