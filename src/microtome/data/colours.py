"""Hues and speckle, which MONAI and torchvision lack. Only the image is changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from skimage.color import hsv2rgb, rgb2hsv
from torch import Tensor

from ..geometry import Spacing
from .spaced import SpacedTransform, between


class Coloured(SpacedTransform):
    """A change of red, green and blue, which samples must have."""

    needs_spacing = False
    colours = (3,)

    def __init__(self, prob: float) -> None:
        super().__init__(("image",), prob)


class RandHueSaturationValued(Coloured):
    """Turn hues, and shift saturation and value (Smith, 1978).

    Values are brought to unit range first.

    Args:
        prob: how often.
        hue: the largest angle to either side, in degrees.
        saturation: the largest shift to either side, in unit range.
        value: the same.
    """

    def __init__(
        self, prob: float = 0.5, hue: float = 40, saturation: float = 0.12, value: float = 0.08
    ) -> None:
        super().__init__(prob)
        self.limits = hue / 360, saturation, value

    def changed(self, data: Mapping[str, Tensor], spacing: Spacing) -> dict[str, Tensor]:
        """Shift the three everywhere by the same."""
        image = data["image"]
        hsv = torch.from_numpy(rgb2hsv(image.clamp(0, 1).numpy(), channel_axis=0))
        moves = torch.tensor([self.R.uniform(-limit, limit) for limit in self.limits])
        hsv = hsv + moves.view(-1, *[1] * (hsv.ndim - 1))
        hsv = torch.cat([hsv[:1] % 1, hsv[1:].clamp(0, 1)])
        return {"image": torch.from_numpy(hsv2rgb(hsv.numpy(), channel_axis=0)).to(image.dtype)}


class RandMultiplicativeNoised(SpacedTransform):
    """Multiply each value by its own factor, as speckle does.

    Args:
        prob: how often.
        factors: lowest and highest.
    """

    needs_spacing = False

    def __init__(self, prob: float = 0.5, factors: Sequence[float] = (0.9, 1.1)) -> None:
        super().__init__(("image",), prob)
        self.factors = between("factors", factors)

    def changed(self, data: Mapping[str, Tensor], spacing: Spacing) -> dict[str, Tensor]:
        """Values may leave unit range."""
        image = data["image"]
        factors = self.R.uniform(*self.factors, tuple(image.shape))
        return {"image": image * torch.from_numpy(factors).to(image.dtype)}
