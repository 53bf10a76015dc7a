"""What compiled backends take, and the reasons why they refuse the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["CPU", "GPU", "Limits"]


class Limits(NamedTuple):
    """Of one kind of device.

    Attributes:
        device: its type, as of tensors.
        tolerance: how far answers may be from the reference, by the dtype of values: sums are in
            another order, in at least float32; half precision rounds the answer once.
        mixed: weights are of any of these dtypes, not only the values' or that of sums.
    """

    device: str
    tolerance: Mapping[torch.dtype, float]
    mixed: bool

    def of_device(self, given: Tensor) -> list[str]:
        """Reasons against the device of a tensor."""
        fits = given.device.type == self.device
        return [] if fits else [f"needs {self.device.upper()} tensors, got {given.device}"]

    def of_values(self, values: Tensor, name: str) -> list[str]:
        """Reasons against the device and dtype of values."""
        odd = [] if values.dtype in self.tolerance else [f"{name} of {values.dtype}"]
        return self.of_device(values) + odd

    def of_labels(self, *maps: Tensor) -> list[str]:
        """Reasons against the devices and dtypes of label maps."""
        odd = [f"label maps of {x.dtype}" for x in maps if x.dtype not in _LABELS]
        return [reason for x in maps for reason in self.of_device(x)] + odd

    def of_places(self, values: Tensor, name: str, *places: Tensor | None) -> list[str]:
        """Reasons against coordinates, which are of the dtype that sums are held in."""
        exact = self._exact(values)
        odd = [x.dtype for x in places if x is not None and x.dtype != exact]
        return [f"{name} of {odd[0]} where sums are {exact}"] if odd else []

    def of_weights(self, values: Tensor, weights: Tensor, name: str) -> list[str]:
        """Reasons against the dtype of weights."""
        known = set(self.tolerance) if self.mixed else {values.dtype, self._exact(values)}
        return [] if weights.dtype in known else [f"{name} of {weights.dtype}"]

    def _exact(self, values: Tensor) -> torch.dtype:
        wide = values.dtype == torch.float64 and torch.float64 in self.tolerance
        return torch.float64 if wide else torch.float32


def of_axes(count: int, known: Sequence[int]) -> list[str]:
    """Reasons against a number of axes."""
    return [] if count in known else [f"{count} axes, not {' or '.join(map(str, known))}"]


_LABELS = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
_SINGLE = {torch.float32: 1e-4, torch.bfloat16: 2**-7, torch.float16: 2**-9}

CPU = Limits("cpu", {torch.float64: 1e-10, **_SINGLE}, mixed=False)
GPU = Limits("cuda", _SINGLE, mixed=True)
