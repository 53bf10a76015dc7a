"""Maps of a frozen backbone, computed once for each image and kept."""

from __future__ import annotations

import logging
from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor

from ..structures import Pyramid
from . import Backbone

__all__ = ["Remembered"]

log = logging.getLogger("microtome")


class Remembered(Backbone):
    """A frozen backbone that remembers, while training, the maps of each image it has seen.

    An image is known by its content after all transforms, so that a wrong map is never given; but
    only samples that are the same in every epoch are found again, and training refuses others.

    Args:
        backbone: any whose parameters are all frozen.
        gigabytes: of memory for maps; what is beyond is computed anew each time.

    Raises ValueError when the backbone has something to train, and for no memory.
    """

    def __init__(self, backbone: Backbone, gigabytes: float = 8.0) -> None:
        super().__init__()
        trained = [name for name, p in backbone.named_parameters() if p.requires_grad]
        if trained or gigabytes <= 0:
            raise ValueError(
                f"expected a frozen backbone and some memory, got {gigabytes} gigabytes and "
                f"{len(trained)} parameters to train{': ' * bool(trained)}{', '.join(trained[:3])}"
            )
        self.backbone, self.room = backbone, gigabytes * 1e9
        self.in_channels, self.spec = backbone.in_channels, backbone.spec
        self.normalisation, self.origin = backbone.normalisation, backbone.origin
        self.mask_unit = backbone.mask_unit
        self.forget()

    def forget(self) -> None:
        """Drop all maps, as other weights ask for."""
        self.maps: dict[bytes, Pyramid] = {}
        self.held = 0

    def forward(
        self, image: Tensor, spacing: Tensor | None = None, keep: Tensor | None = None
    ) -> Pyramid:
        """Compute the maps, or remember them; in eval mode, and with `keep`, compute them."""
        if not self.training or keep is not None:
            return self.backbone(image, spacing, keep)  # type: ignore[no-any-return]
        keys = [self._key(image, spacing, i) for i in range(len(image))]
        new = [i for i, key in enumerate(keys) if key not in self.maps]
        made: dict[bytes, Pyramid] = {}
        if new:
            with torch.no_grad():
                maps = self.backbone(image[new], None if spacing is None else spacing[new])
            made = {keys[i]: tuple(x[at] for x in maps) for at, i in enumerate(new)}
        found = [made.get(key) or self.maps[key] for key in keys]
        for key, pyramid in made.items():
            self._keep(key, pyramid)
        return tuple(
            torch.stack([x.to(image.device) for x in level]) for level in zip(*found, strict=True)
        )

    def _load_from_state_dict(self, *args: Any, **options: Any) -> None:
        super()._load_from_state_dict(*args, **options)
        self.forget()

    def _keep(self, key: bytes, pyramid: Pyramid) -> None:
        size = sum(x.nbytes for x in pyramid)
        if self.held + size > self.room:
            if self.room:
                log.warning("%s maps fill %.3g GB: others are computed anew each time",
                            len(self.maps), self.room / 1e9)  # fmt: skip
            self.room = 0.0
            return
        self.held += size
        self.maps[key] = tuple(x.cpu().clone() for x in pyramid)

    def _key(self, image: Tensor, spacing: Tensor | None, index: int) -> bytes:
        """What the maps of one image depend on: its pixels, its spacing, and the precision."""
        one = image[index].detach().cpu().contiguous()
        kind = image.device.type
        narrow = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
        where = None if spacing is None else spacing[index].tolist()
        key = blake2b(repr((one.dtype, one.shape, narrow, where)).encode(), digest_size=16)
        key.update(one.view(torch.uint8).numpy().data)
        return key.digest()
