"""A padded batch of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..geometry import Shape, Spacing, round_up, window


@dataclass(frozen=True)
class ImageList:
    """A padded batch.

    Attributes:
        tensor: [B, C, *canvas], zeros behind each image's true end.
        shapes: [B, D] integers, the true sizes.
        spacing: [B, D] micrometres per pixel, or None when unknown.
    """

    tensor: Tensor
    shapes: Tensor
    spacing: Tensor | None = None

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
