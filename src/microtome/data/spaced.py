"""MONAI dictionary transforms of our own, which know how large a voxel is."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from monai.data import MetaTensor
from monai.data.utils import affine_to_spacing
from monai.transforms import MapTransform, RandomizableTransform
from torch import Tensor

from ..geometry import Spacing


class SpacedTransform(RandomizableTransform, MapTransform):  # type: ignore[misc]
    """A transform that is done with some probability and depends on the spacing.

    Attributes:
        needs_spacing: whether samples of unknown spacing are refused.
    """

    needs_spacing = True

    def __init__(self, keys: Sequence[str], prob: float) -> None:
        RandomizableTransform.__init__(self, prob)
        MapTransform.__init__(self, keys, allow_missing_keys=True)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the dictionary with the changed arrays; all chance comes from `self.R`."""
        self.randomize(None)
        if not self._do_transform:
            return dict(data)
        image = data["image"]
        spacing = affine_to_spacing(image.affine, r=image.ndim - 1)
        found = {key: data[key] for key in self.key_iterator(data)}
        tensors = {key: value.as_tensor() for key, value in found.items()}
        changed = self.changed(tensors, tuple(float(s) for s in spacing))
        return dict(data) | {
            key: MetaTensor(value, affine=found[key].affine) for key, value in changed.items()
        }

    @abstractmethod
    def changed(self, data: Mapping[str, Tensor], spacing: Spacing) -> dict[str, Tensor]:
        """Change arrays [C, *S] of one shape; they must not be written into."""


def between(name: str, limits: Sequence[float]) -> tuple[float, float]:
    """Lowest and highest value to draw from, above 0; raises ValueError for others."""
    if len(limits) != 2 or not 0 < limits[0] <= limits[1]:
        raise ValueError(f"{name}: expected [lowest, highest] above 0, got {list(limits)}")
    return float(limits[0]), float(limits[1])
