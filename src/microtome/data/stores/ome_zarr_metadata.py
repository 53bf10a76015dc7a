"""What stands in the attributes of an OME-Zarr group, in version 0.4 and 0.5."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ...geometry import Shape, Spacing

Version = Literal["0.4", "0.5"]
VERSIONS = ("0.4", "0.5")


def attributes(version: Version, described: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of a group: 0.5 keeps them below `ome`, with the version once."""
    if version == "0.4":
        return dict(described)
    return {"ome": {"version": version, **described}}


def pyramid(
    name: str, version: Version, axes: str, spacing: Spacing | None, strides: Sequence[Shape]
) -> dict[str, Any]:
    """One entry of `multiscales`.

    Args:
        name: of the image.
        version: of OME-Zarr.
        axes: letters of the arrays' axes.
        spacing: micrometres per pixel of the last axes; None writes a scale of 1 without a unit.
        strides: of each coarser level over the one before, per spatial axis.

    The blocks that became one pixel have their middle between their pixels: `translation` says so.
    """
    leading = len(axes) - (len(spacing) if spacing else len(_spatial(axes)))
    steps = spacing or (1.0,) * len(_spatial(axes))
    blocks, datasets = (1,) * len(steps), []
    for level, factors in enumerate(((1,) * len(steps), *strides)):
        blocks = tuple(b * f for b, f in zip(blocks, factors, strict=True))
        scale = [1.0] * leading + [b * s for b, s in zip(blocks, steps, strict=True)]
        shift = [0.0] * leading + [(b - 1) / 2 * s for b, s in zip(blocks, steps, strict=True)]
        moved = [{"type": "translation", "translation": shift}] if any(shift) else []
        datasets.append({
            "path": str(level),
            "coordinateTransformations": [{"type": "scale", "scale": scale}, *moved],
        })  # fmt: skip
    entry = {"name": name, "axes": [_axis(a, spacing is not None) for a in axes]}
    stated = {"version": version} if version == "0.4" else {}
    return {**stated, **entry, "datasets": datasets}


def _spatial(axes: str) -> str:
    return "".join(a for a in axes if a in "zyx")


def _axis(letter: str, with_unit: bool) -> dict[str, str]:
    if letter == "c":
        return {"name": "c", "type": "channel"}
    unit = {"unit": "micrometer"} if with_unit else {}
    return {"name": letter, "type": "space", **unit}


def channel_attributes(names: Sequence[str], dtype: npt.DTypeLike) -> dict[str, Any]:
    """`omero`: the names of channels; colours and the range of the type, which it demands."""
    whole = np.dtype(dtype)
    low, high = (0.0, 1.0) if whole.kind == "f" else (np.iinfo(whole).min, np.iinfo(whole).max)
    window = {"min": float(low), "max": float(high), "start": float(low), "end": float(high)}
    colours = ("FF0000", "00FF00", "0000FF") if len(names) == 3 else ("FFFFFF",) * len(names)
    return {
        "omero": {
            "channels": [
                {"label": name, "color": colour, "active": True, "window": window}
                for name, colour in zip(names, colours, strict=True)
            ]
        }
    }
