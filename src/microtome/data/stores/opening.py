"""Opening an image, whatever it is stored in."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from .channels import ChannelPolicy
from .decoded import Levels
from .formats import open_stored
from .image_files import open_image_file
from .places import name_of
from .source import Source
from .volumes import Volume


def open_source(
    path: str | os.PathLike[str],
    *,
    spacing: float | Sequence[float] | None = None,
    levels: Levels | Sequence[Levels] | None = None,
    channels: ChannelPolicy | Sequence[int | str] = "rgb",
    time: int | None = None,
    axes: str | None = None,
) -> Source:
    """Open an image as a source in unit range.

    Volumes are read by region when they are asked for; PNG, JPEG, BMP and TIFF below 64 MiB are
    decoded at once.

    Args:
        path: PNG, JPEG, BMP or TIFF: (z,) y, x with any channel axis, 1 to 32 bits or float; a
            large TIFF, OME-TIFF or ImageJ stack; an OME-Zarr image, a zarr array or an fsspec URL
            of one; NIfTI; `file.h5:/dataset`; a folder with one DICOM series.
        spacing: micrometres per pixel, one for all axes or one per axis; it wins over the file's.
        levels: the raw values of black and white, one pair or one per channel; they win over the
            type's. Without them 1 to 15 bits use the type's range, and other types are measured:
            minimum and maximum per channel, over all three for red, green and blue together. A
            constant image becomes black. Of volumes a part is measured: see `volumes`.
        channels: "rgb" repeats grey and drops alpha; "grey" takes the luminance; "as_is" keeps all;
            a list picks them by number or name.
        time: which time point, from 0 on; needed where there are several.
        axes: of arrays that do not name their axes, one letter of t, c, z, y, x for each; without
            it yx, zyx, czyx or tczyx, by their number.

    Raises ImageReadError for every file that cannot be used, with the reason.
    """
    stored = open_stored(path, axes=axes)
    if stored is None:
        return open_image_file(Path(path), spacing, levels, channels)
    return Volume(
        stored, name_of(path), spacing=spacing, levels=levels, channels=channels, time=time
    )
