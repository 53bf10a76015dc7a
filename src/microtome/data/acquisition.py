"""What microscopes do to images: blur along z, lost slices, light that fades, noise.

Only the image is changed. Images without a z axis have no slices: only noise is for them too.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from math import ceil, exp

import torch
from torch import Tensor
from torch.nn import functional as F

from ..geometry import Spacing
from .spaced import SpacedTransform, between

_VOLUME = 4  # axes of an array [C, Z, Y, X]


class SliceEffect(SpacedTransform):
    """An effect along z, on images [C, Z, Y, X]; others are left as they are."""

    def __init__(self, prob: float) -> None:
        super().__init__(("image",), prob)

    def changed(self, data: Mapping[str, Tensor], spacing: Spacing) -> dict[str, Tensor]:
        """Change a volume."""
        image = data["image"]
        return {"image": self.degraded(image, spacing[0])} if image.ndim == _VOLUME else {}

    @abstractmethod
    def degraded(self, image: Tensor, step: float) -> Tensor:
        """Return another volume [C, Z, Y, X], its slices being `step` micrometres apart."""


class RandAxialBlurd(SliceEffect):
    """Blur along z, where the focus is longer than wide.

    Args:
        prob: how often.
        sigma_um: lowest and highest standard deviation of the Gaussian, in micrometres.
    """

    def __init__(self, prob: float, sigma_um: Sequence[float]) -> None:
        super().__init__(prob)
        self.sigma_um = between("sigma_um", sigma_um)

    def degraded(self, image: Tensor, step: float) -> Tensor:
        """Continue the border slices."""
        sigma = self.R.uniform(*self.sigma_um) / step
        reach = max(1, ceil(3 * sigma))
        weights = torch.tensor([exp(-((i / sigma) ** 2) / 2) for i in range(-reach, reach + 1)])
        weights = (weights / weights.sum()).view(1, 1, -1, 1)
        planes = image.flatten(2)[:, None]  # [C, 1, Z, Y * X]
        wide = F.pad(planes, (0, 0, reach, reach), mode="replicate")
        return F.conv2d(wide, weights)[:, 0].view_as(image)


class RandMissingSlicesd(SliceEffect):
    """Lose slices: each is black, or that before it once more.

    Args:
        prob: how often.
        most: the largest number of slices lost; never more than half of them.
    """

    needs_spacing = False

    def __init__(self, prob: float, most: int = 2) -> None:
        super().__init__(prob)
        self.most = most

    def degraded(self, image: Tensor, step: float) -> Tensor:
        """Leave the first slice, which has none before it."""
        slices = image.shape[1]
        count = min(self.R.randint(1, self.most + 1), slices // 2)
        image = image.clone()
        for lost in sorted(1 + self.R.permutation(slices - 1)[:count]):
            image[:, lost] = 0 if self.R.rand() < 0.5 else image[:, lost - 1]
        return image


class RandAttenuationd(SliceEffect):
    """Let the light fade with depth, from the first slice on or from the last.

    Args:
        prob: how often.
        length_um: lowest and highest depth at which a third (1/e) is left.
    """

    def __init__(self, prob: float, length_um: Sequence[float]) -> None:
        super().__init__(prob)
        self.length_um = between("length_um", length_um)

    def degraded(self, image: Tensor, step: float) -> Tensor:
        """Lambert and Beer's law."""
        length = self.R.uniform(*self.length_um) / step
        left = torch.exp(-torch.arange(image.shape[1]) / length)
        left = left.flip(0) if self.R.rand() < 0.5 else left
        return image * left.view(1, -1, 1, 1)


class RandPoissonGaussiand(SpacedTransform):
    """Count photons, and read them out (Foi et al., 2008).

    Args:
        prob: how often.
        photons: lowest and highest number that a white pixel collects.
        read_noise: standard deviation of the readout, in unit range.
    """

    needs_spacing = False

    def __init__(self, prob: float, photons: Sequence[float], read_noise: float = 0.01) -> None:
        super().__init__(("image",), prob)
        self.photons, self.read_noise = between("photons", photons), read_noise

    def changed(self, data: Mapping[str, Tensor], spacing: Spacing) -> dict[str, Tensor]:
        """Values stay in unit range on average; single ones may leave it."""
        image = data["image"]
        white = self.R.uniform(*self.photons)
        counted = self.R.poisson((image.clamp(min=0) * white).numpy()) / white
        read = self.R.normal(0, self.read_noise, tuple(image.shape))
        return {"image": torch.from_numpy(counted + read).to(image.dtype)}
