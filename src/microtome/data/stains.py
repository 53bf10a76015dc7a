"""Other hands, other dyes: stained sections as another laboratory would have coloured them.

Dyes add up in optical density, the negative logarithm of what light they let through (Beer and
Lambert). Only the image is changed; it must have red, green and blue.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from monai.apps.pathology.transforms.stain.array import ExtractHEStains
from skimage.color import rgb_from_hed
from torch import Tensor

from ..geometry import Spacing
from .colours import Coloured

DARKEST = 1 / 255  # densities of what is darker are endless
TISSUE = 0.15  # density in every channel, from which a pixel says something about dyes (Macenko)
LEAST = 100  # pixels of tissue that dyes can be told from


class StainJitter(Coloured):
    """Multiply the amount of each dye everywhere by one factor, and add one amount.

    Args:
        prob: how often.
        strength: factors are drawn within 1 - strength … 1 + strength, amounts within
            -strength … strength, in units of density (base 10).

    Raises ValueError for a strength outside 0…1.
    """

    def __init__(self, prob: float = 0.5, strength: float = 0.1) -> None:
        super().__init__(prob)
        if not 0 < strength < 1:
            raise ValueError(f"strength: expected a number above 0 and below 1, got {strength}")
        self.strength = strength

    def changed(self, data: Mapping[str, Tensor], spacing: Spacing) -> dict[str, Tensor]:
        """Densities that the dyes do not explain stay; what becomes brighter than white is cut."""
        image = data["image"]
        density = -torch.log10(image.clamp(DARKEST, 1)).flatten(1).double()  # [3, P]
        dyes = self.dyes(image)
        if dyes is None:
            return {}
        amounts = torch.linalg.pinv(dyes) @ density
        low, high, count = -self.strength, self.strength, len(amounts)
        factors = torch.from_numpy(self.R.uniform(1 + low, 1 + high, (count, 1)))
        shifts = torch.from_numpy(self.R.uniform(low, high, (count, 1)))
        density += dyes @ (amounts * (factors - 1) + shifts)
        return {"image": torch.pow(10.0, -density).clamp(0, 1).to(image.dtype).view_as(image)}

    def dyes(self, image: Tensor) -> Tensor | None:
        """[3, dyes] the density of each dye in red, green and blue; None leaves the image."""
        raise NotImplementedError


class RandHEDd(StainJitter):
    """Jitter of haematoxylin, eosin and DAB (Tellez et al., 2018).

    The dyes are those of Ruifrok and Johnston (2001), the same for every image.
    """

    def dyes(self, image: Tensor) -> Tensor:
        """Rows of scikit-image's matrix, as columns."""
        return torch.from_numpy(rgb_from_hed.T.copy())


class RandMacenkod(StainJitter):
    """Jitter of the two dyes that the image itself shows (Macenko et al., 2009).

    Images with hardly any tissue are left as they are.
    """

    def dyes(self, image: Tensor) -> Tensor | None:
        """What MONAI finds, in either order."""
        bytes_ = (image.clamp(0, 1) * 255).round().flatten(1).T.to(torch.uint8).numpy()  # [P, 3]
        find = ExtractHEStains(beta=TISSUE)
        tissue = (-np.log((bytes_ + 1.0).clip(max=find.tli) / find.tli) > TISSUE).all(1)
        if tissue.sum() < LEAST:
            return None
        return torch.from_numpy(find(bytes_).astype(np.float64))
