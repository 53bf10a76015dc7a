"""A padded batch of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..geometry import Shape, Spacing, round_up, window
from .layout import arrange
from .tensor_tree import TensorTree


@dataclass(frozen=True)
class ImageList(TensorTree):
    """A padded batch.

    Attributes:
        tensor: [B, C, *canvas], zeros behind each image's true end.
        shapes: [B, D] integers, the true sizes.
        spacing: [B, D] micrometres per pixel, or None when unknown.
        sources: [B, D] integers, the sizes before images were resized; None when they were not.
    """

    tensor: Tensor
    shapes: Tensor
    spacing: Tensor | None = None
    sources: Tensor | None = None

    def __len__(self) -> int:
        return len(self.tensor)

    @classmethod
    def pad(
        cls,
        images: Sequence[Tensor],
        multiple: Sequence[int],
        spacing: Sequence[Spacing | None] = (),
    ) -> ImageList:
        """Pad images [C, *S] of any sizes to one canvas, a multiple of `multiple`.

        Raises ValueError when some spacings are known and others are not.
        """
        dims = images[0].ndim - 1
        largest = [max(i.shape[1 + axis] for i in images) for axis in range(dims)]
        tensor = images[0].new_zeros(len(images), images[0].shape[0], *round_up(largest, multiple))
        for row, image in zip(tensor, images, strict=True):
            row[(slice(None), *window(image.shape[1:]))] = image
        known = [s for s in spacing if s is not None]
        if known and len(known) < len(images):
            raise ValueError(
                "a batch mixes images with and without spacing: state `spacing_um` for all or none"
            )
        device = tensor.device
        return cls(
            tensor,
            torch.tensor([i.shape[1:] for i in images], device=device),
            torch.tensor(known, device=device) if known else None,
        )

    @classmethod
    def from_layout(
        cls,
        arrays: Sequence[Tensor],
        layout: str,
        multiple: Sequence[int],
        spacing: Sequence[Spacing | None] = (),
    ) -> ImageList:
        """Pad arrays of another axis order, such as `ZYXC` or `TCZYX`; see `layout.py`.

        An axis C that is missing becomes one channel; an axis T must be of length 1.
        """
        inside = "C" + "".join(axis for axis in "ZYX" if axis in layout)
        return cls.pad([arrange(array, layout, inside) for array in arrays], multiple, spacing)

    def to_layout(self, layout: str) -> Tensor:
        """The padded batch in another axis order, such as `BZYXC`."""
        return arrange(self.tensor, "BC" + "ZYX"[-len(self.canvas) :], layout)

    @property
    def canvas(self) -> Shape:
        """The padded spatial shape."""
        return tuple(self.tensor.shape[2:])

    @property
    def valid_mask(self) -> Tensor:
        """[B, *canvas], True on real pixels."""
        dims = self.tensor.ndim - 2
        axes = [torch.arange(s, device=self.tensor.device) for s in self.canvas]
        grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
        return (grid[None] < self.shapes.view(-1, *[1] * dims, dims)).all(-1)

    def unpadded(self) -> list[Tensor]:
        """Views [C, *S] of the images at their true sizes."""
        sizes = zip(self.tensor, self.shapes.tolist(), strict=True)
        return [image[(slice(None), *window(shape))] for image, shape in sizes]

    def standardised(
        self, mean: Sequence[float] | None = None, std: Sequence[float] | None = None
    ) -> ImageList:
        """Take off the mean and divide by the standard deviation; padding stays 0.

        Args:
            mean, std: one value per channel; when not given, each image's own, of its true pixels.
        """
        known, axes = self.valid_mask[:, None], tuple(range(2, self.tensor.ndim))

        def average(values: Tensor) -> Tensor:
            return (values * known).sum(axes, keepdim=True) / known.sum(axes, keepdim=True)

        def given(values: Sequence[float]) -> Tensor:
            return self.tensor.new_tensor(values).view(1, -1, *[1] * len(axes))

        centre = average(self.tensor) if mean is None else given(mean)
        moved = self.tensor - centre
        width = average(moved.square()).sqrt() if std is None else given(std)
        tiny = torch.finfo(moved.dtype).eps
        return replace(self, tensor=torch.where(known, moved / width.clamp(min=tiny), 0))
