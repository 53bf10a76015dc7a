"""Effects of photographs taken outdoors, and shaken cameras: kornia's, and fog.

kornia (Apache-2.0) works on two axes; of a volume all slices get the same effect. Only the image
changes. Motion takes any channels; rain takes one or three, snow three.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from ..geometry import Spacing
from .resizing import resized
from .spaced import SpacedTransform, between

Effect = Literal["RandomMotionBlur", "RandomRain", "RandomSnow"]
COLOURS = {"RandomRain": (1, 3), "RandomSnow": (3,)}
COARSE = 5  # points along each axis between which fog changes


class RandKorniad(SpacedTransform):
    """One of kornia's intensity effects.

    Args:
        name: RandomMotionBlur, RandomRain or RandomSnow.
        prob: how often.
        options: of the effect, by kornia's names.

    Attributes:
        colours: how many channels an image may have; empty for any.

    Raises ValueError when kornia is not installed, and for other names or options.
    """

    needs_spacing = False

    def __init__(
        self, name: Effect, prob: float = 0.5, options: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(("image",), prob)
        if name not in get_args(Effect):
            raise ValueError(f"name: expected one of {get_args(Effect)}, got {name!r}")
        self.colours: tuple[int, ...] = COLOURS.get(name, ())
        self.name, self.effect = name, _effect(name, options or {})

    def changed(self, data: Mapping[str, Tensor], spacing: Spacing) -> dict[str, Tensor]:
        """kornia draws from torch's own chance, which `MonaiTransforms` seeds."""
        planes = data["image"].movedim(0, -3)  # [..., C, Y, X]
        changed = self.effect(planes.reshape(-1, *planes.shape[-3:]))
        return {"image": changed.reshape(planes.shape).movedim(-3, 0)}


class RandFogd(SpacedTransform):
    """Lay white over the image, here more and there less.

    Args:
        prob: how often.
        thickness: lowest and highest part of white where the fog is thickest.
    """

    needs_spacing = False

    def __init__(self, prob: float = 0.5, thickness: Sequence[float] = (0.2, 0.6)) -> None:
        super().__init__(("image",), prob)
        self.thickness = between("thickness", thickness)

    def changed(self, data: Mapping[str, Tensor], spacing: Spacing) -> dict[str, Tensor]:
        """Blend with white; all channels and values within unit range stay there."""
        image = data["image"]
        coarse = torch.from_numpy(self.R.uniform(0, 1, (1, *[COARSE] * (image.ndim - 1)))).float()
        fog = resized(coarse, tuple(image.shape[1:])) * self.R.uniform(*self.thickness)
        return {"image": image + fog * (1 - image)}


def _effect(name: str, options: Mapping[str, Any]) -> Any:
    try:
        from kornia import augmentation
    except ImportError as error:
        raise ValueError(
            f"{name} is kornia's, which is not installed; pip install 'microtome[augment]'"
        ) from error
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
    try:
        return getattr(augmentation, name)(p=1.0, same_on_batch=True, **given)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: {error}") from error
