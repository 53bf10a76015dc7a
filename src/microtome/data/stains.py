"""Other hands, other dyes: stained sections as another laboratory would have coloured them.

Dyes add up in optical density, the negative logarithm of what light they let through (Beer and
Lambert). Reinhard's way knows nothing of dyes: it gives colours another mean and deviation. Only
the image is changed; it must have red, green and blue. P pixels, *S the spatial shape.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from monai.apps.pathology.transforms.stain.array import ExtractHEStains
from skimage.color import lab2rgb, rgb2lab, rgb_from_hed
from torch import Tensor

from ..geometry import Spacing
from .colours import Coloured

DARKEST = 1 / 255  # densities of what is darker are endless
TISSUE = 0.15  # density (natural) from which a pixel says something about dyes (Macenko)
LEAST = 100  # pixels of tissue that dyes can be told from
SEEN = 1.0  # unit of Lab that an eye just tells apart; smaller deviations are not stretched

Floats = npt.NDArray[np.floating[Any]]


class StainJitter(Coloured):
    """Multiply each of what colours are told by with one factor, and add one amount.

    Args:
        prob: how often.
        strength: factors are drawn within 1 - strength … 1 + strength, amounts within
            -strength … strength, in the units that the subclass names.

    Raises ValueError for a strength outside 0…1.
    """

    def __init__(self, prob: float = 0.5, strength: float = 0.1) -> None:
        super().__init__(prob)
        if not 0 < strength < 1:
            raise ValueError(f"strength: expected a number above 0 and below 1, got {strength}")
        self.strength = strength

    def drawn(self, count: int) -> tuple[Floats, Floats]:
        """[count, 1] factors, and as many amounts."""
        factors = self.R.uniform(1 - self.strength, 1 + self.strength, (count, 1))
        return factors, self.R.uniform(-self.strength, self.strength, (count, 1))


class DyeJitter(StainJitter):
    """More or less of each dye, everywhere; `strength` is in units of density (base 10)."""

    def changed(self, data: Mapping[str, Tensor], spacing: Spacing) -> dict[str, Tensor]:
        """Densities that the dyes do not explain stay; what becomes brighter than white is cut."""
        image = data["image"]
        density = -torch.log10(image.clamp(DARKEST, 1)).flatten(1).double()  # [3, P]
        dyes = self.dyes(image)
        if dyes is None:
            return {}
        amounts = torch.linalg.pinv(dyes) @ density
        factors, shifts = map(torch.from_numpy, self.drawn(len(amounts)))
        density += dyes @ (amounts * (factors - 1) + shifts)
        return {"image": torch.pow(10.0, -density).clamp(0, 1).to(image.dtype).view_as(image)}

    def dyes(self, image: Tensor) -> Tensor | None:
        """[3, dyes] the density of each dye in red, green and blue; None leaves the image."""
        raise NotImplementedError


class RandHEDd(DyeJitter):
    """Jitter of haematoxylin, eosin and DAB (Tellez et al., 2018).

    The dyes are those of Ruifrok and Johnston (2001), the same for every image.
    """

    def dyes(self, image: Tensor) -> Tensor:
        """Rows of scikit-image's matrix, as columns."""
        return torch.from_numpy(rgb_from_hed.T.copy())


class RandMacenkod(DyeJitter):
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


class RandReinhardd(StainJitter):
    """Another mean and deviation of the tissue's colours (Reinhard et al., 2001).

    As most tools for sections do, in CIELAB (L 0…100, a, b), not in the authors' own space. Glass
    stays as it is from 93 % of white on, darker glass is changed in part; images with hardly any
    tissue stay, too.

    Args:
        prob: how often.
        strength: deviations are multiplied within 1 - strength … 1 + strength; means are shifted
            within -strength … strength times 100 units of Lab.
        mean, std: of L, a and b; what to jitter around, such as another laboratory's
            (`tissue_colours` measures them). Without them, around the image's own.

    Raises ValueError for a strength outside 0…1, and unless mean and std are three numbers each,
    deviations above 0.
    """

    def __init__(
        self,
        prob: float = 0.5,
        strength: float = 0.05,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        super().__init__(prob, strength)
        for name, given in (("mean", mean), ("std", std)):
            if given is not None and len(given) != 3:
                raise ValueError(f"{name}: expected three numbers, of L, a and b, got {given}")
        if std is not None and min(std) <= 0:
            raise ValueError(f"std: expected numbers above 0, got {std}")
        self.mean, self.std = mean, std

    def changed(self, data: Mapping[str, Tensor], spacing: Spacing) -> dict[str, Tensor]:
        """Move and stretch the colours of the tissue, fading out towards glass."""
        image = data["image"].clamp(0, 1)
        tissue = _tissue(image)
        if (tissue == 1).sum() < LEAST:
            return {}
        lab = rgb2lab(image.numpy(), channel_axis=0).reshape(3, -1)
        mean, std = _moments(lab, tissue)
        std = std.clip(SEEN)
        factors, shifts = self.drawn(3)
        goal = mean if self.mean is None else np.reshape(self.mean, (3, 1))
        width = std if self.std is None else np.reshape(self.std, (3, 1))
        moved = (lab - mean) * (factors * width / std) + goal + 100 * shifts
        other = torch.from_numpy(_colours(moved)).to(image).view_as(image)
        return {"image": image + tissue.view(image.shape[1:]) * (other - image)}


def tissue_colours(image: Tensor) -> tuple[list[float], list[float]]:
    """Mean and deviation of L, a and b of the tissue in an image [3, *S] in unit range.

    Raises ValueError where there is hardly any tissue.
    """
    tissue = _tissue(image.clamp(0, 1))
    if (tissue == 1).sum() < LEAST:
        raise ValueError(f"expected at least {LEAST} pixels of tissue, darker than glass")
    lab = rgb2lab(image.clamp(0, 1).numpy(), channel_axis=0).reshape(3, -1)
    mean, std = _moments(lab, tissue)
    return mean.ravel().tolist(), std.ravel().tolist()


def _tissue(image: Tensor) -> Tensor:
    """[P] 1 is tissue, 0 glass, by density (natural) over all colours; between them a ramp."""
    density = -image.flatten(1).clamp(DARKEST).log().mean(0)
    return (2 * density / TISSUE - 1).clamp(0, 1)


def _moments(lab: Floats, tissue: Tensor) -> tuple[Floats, Floats]:
    """[3, 1] mean and deviation of pixels that are tissue for sure."""
    inside = lab[:, tissue.numpy() == 1]
    return inside.mean(1, keepdims=True), inside.std(1, keepdims=True)


def _colours(lab: Floats) -> Floats:
    """[3, P] red, green and blue; what no screen shows is cut."""
    light, a, b = lab
    light = light.clip(0, 100)
    b = np.minimum(b, 199 * (light + 16) / 116)  # from 200 on there would be less than no blue
    return np.asarray(lab2rgb(np.stack([light, a, b]), channel_axis=0))
