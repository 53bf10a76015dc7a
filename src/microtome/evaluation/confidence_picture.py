"""The picture of how sure a model was: beside the image, with a colour bar."""

from __future__ import annotations

import numpy as np
from matplotlib import colormaps
from PIL import Image
from torch import Tensor

from ..geometry import Spacing
from .page import Page, Scale
from .pictures import panel_sizes
from .planes import Pixels, coloured, planes, resampled

COLOURS = np.asarray(colormaps["viridis"](np.arange(256), bytes=True))[:, :3]  # [256, 3]


def confidence_picture(
    image: Tensor, confidence: Tensor, title: str = "", spacing: Spacing | None = None
) -> Image.Image:
    """Draw image | confidence, from 0 (dark blue) to 1 (yellow).

    Args:
        image: [C, *S] in unit range, any number of channels.
        confidence: [*S]; what is above 1 is shown as 1.
        title: a line above.
        spacing: gives planes of a volume their true proportions.

    Of volumes the planes through the middle. Raises ValueError when shapes differ.
    """
    if confidence.shape != image.shape[1:]:
        raise ValueError(
            f"the confidence has the shape {list(confidence.shape)}, its image "
            f"{list(image.shape[1:])}"
        )
    cuts = planes(tuple(image.shape[1:]), spacing)
    flat = [image[(slice(None), *cut.pick)] for cut in cuts]
    sizes = panel_sizes(cuts, 2)
    rows = [
        [pixels, _shown(confidence[cut.pick], size)]
        for cut, pixels, size in zip(cuts, coloured(flat, sizes), sizes, strict=True)
    ]
    names = [cut.name for cut in cuts]
    scale = Scale("score of the class that was chosen", COLOURS, 0.0, 1.0)
    return Page(rows, ["image", "confidence"], names, [], title, scale).draw()


def _shown(confidence: Tensor, size: tuple[int, int]) -> Pixels:
    values = resampled(confidence[None], size)[0].clamp(0, 1)
    shown: Pixels = COLOURS[values.mul(255).round().long().numpy()]
    return shown
