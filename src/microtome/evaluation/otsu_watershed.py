"""What a network that finds objects must beat: a threshold, and a watershed of distances.

*S the spatial shape.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.segmentation import watershed

from ..geometry import Spacing
from ..structures import DataSample, Instances, LabelLayers, Segmentation
from .baselines import Side, checked_side

SMOOTH = 1.0  # pixels, of the Gaussian that noise is removed with
Array = npt.NDArray[np.float32]


class OtsuWatershed:
    """Objects by Otsu's threshold (1979), touching ones parted where they are narrow.

    In what is foreground the distance to the background is flooded from its peaks (Beucher &
    Lantuéjoul, 1979). The threshold is found anew in each sample: give it whole images, not tiles.

    Args:
        foreground: which side of the threshold objects are on: stained nuclei are bright in
            fluorescence and dark in haematoxylin.
        radius: pixels (of the finest axis), about the radius of the smallest objects: peaks that
            are nearer to each other are one.
        label: the class of the objects.
    """

    def __init__(self, foreground: Side = "bright", radius: float = 5.0, label: int = 1) -> None:
        if radius < 1:
            raise ValueError(f"radius: expected at least 1 pixel, got {radius}")
        self.foreground = checked_side(foreground)
        self.radius, self.label = radius, label

    def predict_samples(self, samples: Sequence[DataSample]) -> list[Segmentation]:
        """Objects with masks, without scores."""
        return [self._objects(sample) for sample in samples]

    def _objects(self, sample: DataSample) -> Segmentation:
        grey = sample.image.float().mean(0).cpu().numpy()
        ids = self._flooded(self._inside(grey), sample.spacing)
        masks = LabelLayers.from_ids(torch.from_numpy(ids.astype(np.int64)))
        labels = torch.full((len(masks),), self.label)
        return Segmentation(instances=Instances(labels, masks=masks).to(sample.device))

    def _inside(self, grey: Array) -> npt.NDArray[np.bool_]:
        smooth = ndimage.gaussian_filter(grey, SMOOTH)
        above = smooth > float(threshold_otsu(smooth))
        return np.asarray(above if self.foreground == "bright" else ~above)

    def _flooded(
        self, inside: npt.NDArray[np.bool_], spacing: Spacing | None
    ) -> npt.NDArray[np.int32]:
        steps = np.ones(inside.ndim) if spacing is None else np.array(spacing) / min(spacing)
        far = ndimage.distance_transform_edt(inside, sampling=steps)
        far = ndimage.gaussian_filter(far, SMOOTH / steps)
        reach = [int(self.radius / step) for step in steps]
        axes = np.ogrid[tuple(slice(-r, r + 1) for r in reach)]
        near = sum((x * s) ** 2 for x, s in zip(axes, steps, strict=True)) <= self.radius**2
        peaks = (far == ndimage.maximum_filter(far, footprint=near)) & inside
        return np.asarray(watershed(-far, ndimage.label(peaks)[0], mask=inside))
