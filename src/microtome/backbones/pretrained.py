"""Any of timm's 2D models as a backbone: plain vision transformers, and all others as pyramids.

Both classes take `weights`: `none` for random ones, `hub` for those published under the name (only
then is the network used, through the Hugging Face cache, HF_HUB_OFFLINE respected), or a local
file or folder.
"""

from __future__ import annotations

from typing import Any

import torch
from timm.models import Eva, VisionTransformer
from torch import Tensor, nn

from ..structures import Pyramid, PyramidSpec
from . import TokenBackbone, Tokens
from .published_backbone import PublishedBackbone
from .tokens import kept, on_grid, take

__all__ = ["PretrainedPyramid", "PretrainedViT"]

_PLAIN = (VisionTransformer, Eva)


class PretrainedViT(PublishedBackbone, TokenBackbone):
    """A plain vision transformer of timm's: patches of any size, registers, rotary positions.

    Its one map has the stride of its patches. Position embeddings are resampled to any image size.
    """

    def _made(self, outline: Any) -> Any:
        if not isinstance(outline, _PLAIN):
            raise ValueError(
                f"{self.found.architecture} is not a plain vision transformer: "
                "take PretrainedPyramid"
            )
        vit = self.found.create(in_chans=self._stem_channels, dynamic_img_size=True)
        vit.prune_intermediate_layers([len(vit.blocks) - 1], prune_norm=False)
        patch = tuple(int(p) for p in vit.patch_embed.feat_ratio(as_scalar=False))
        self.depth, self.embed_dim, self.mask_unit = len(vit.blocks), vit.embed_dim, patch
        self.spec = PyramidSpec((vit.embed_dim,), (tuple(float(p) for p in patch),), patch)
        self.vit = vit
        return vit

    @property
    def _network(self) -> nn.Module:
        vit: nn.Module = self.vit
        return vit

    def embed(
        self, image: Tensor, spacing: Tensor | None = None, keep: Tensor | None = None
    ) -> Tokens:
        """Cut into tokens [B, prefix + N, C], with positions; `keep` must keep equally many each.

        Raises ValueError when it does not.
        """
        x = self.vit.patch_embed(image)  # [B, *grid, C]
        grid, prefix = tuple(x.shape[1:3]), int(self.vit.num_prefix_tokens)
        x, positions = self._placed(x)
        if keep is not None:
            index = kept(keep)
            x = torch.cat([x[:, :prefix], take(x[:, prefix:], index)], 1)
            positions = None if positions is None else self._kept_positions(positions, index)
        return Tokens(self.vit.norm_pre(x), grid, prefix, keep, positions)

    def run(self, tokens: Tokens, start: int, stop: int, attn_mask: Tensor | None = None) -> Tokens:
        """Apply blocks `start` to `stop`; `attn_mask` broadcasts to [B, H, T, T]."""
        x, positions = tokens.x, tokens.positions
        for index in range(start, stop):
            more = {} if attn_mask is None else {"attn_mask": attn_mask}
            if positions is not None:
                more["rope"] = positions[index] if self._own_positions else positions
            x = self.vit.blocks[index](x, **more)
        return tokens._replace(x=x)

    def normed(self, tokens: Tokens) -> Tensor:
        """Apply the final norm to all tokens."""
        x: Tensor = self.vit.norm(tokens.x)
        return x

    def last(self, blocks: int) -> list[nn.Module]:
        """The last blocks, and the final norm."""
        return [*self.vit.blocks[self.depth - blocks :], self.vit.norm]

    def to_map(self, tokens: Tokens) -> Tensor:
        """Final norm, prefix off: [B, C, *grid], zeros where tokens were dropped."""
        return on_grid(tokens._replace(x=self.normed(tokens)))

    def _placed(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Patches [B, *grid, C] as tokens [B, prefix + N, C], and their rotary positions."""
        embedded = self.vit._pos_embed(x)
        return embedded if isinstance(embedded, tuple) else (embedded, None)

    @property
    def _own_positions(self) -> bool:
        """Whether each block has rotary positions of its own: [depth, H, N, F], not [N, F]."""
        return bool(getattr(self.vit, "rope_mixed", False))

    def _kept_positions(self, positions: Tensor, index: Tensor) -> Tensor:
        """[N, F] -> [B, 1, n, F], or [depth, H, N, F] -> [depth, B, H, n, F]."""
        picked = positions[..., index, :]
        return picked.movedim(-3, 1) if self._own_positions else picked[:, None]


class PretrainedPyramid(PublishedBackbone):
    """Any other model of timm's that gives feature maps: CNNs, Swin, PVT, hybrids.

    Where several maps have the same stride the deepest is taken. Channels and strides are measured
    on a small image, not believed; models of one fixed image size are refused.
    """

    def _made(self, outline: Any) -> Any:
        if isinstance(outline, _PLAIN):
            raise ValueError(
                f"{self.found.architecture} is a plain vision transformer: take PretrainedViT"
            )
        self.net = self._build(outline)
        strides = self.net.feature_info.reduction()
        self.levels = tuple(i for i, s in enumerate(strides) if s not in strides[i + 1 :])
        self.spec = self._measured(max(strides))
        return self.net

    @property
    def _network(self) -> nn.Module:
        net: nn.Module = self.net
        return net

    def forward(
        self, image: Tensor, spacing: Tensor | None = None, keep: Tensor | None = None
    ) -> Pyramid:
        """Compute the maps, finest first.

        Raises NotImplementedError when `keep` is given: convolutions cannot skip units.
        """
        if keep is not None:
            raise NotImplementedError(f"{self.found.architecture} cannot work on some units only")
        maps = self.net(image)
        picked = (maps[i] for i in self.levels)
        return tuple(x.movedim(-1, 1) if self._channels_last else x for x in picked)

    def _build(self, outline: Any) -> Any:
        wanted = {"features_only": True, "in_chans": self.in_channels}
        if outline.pretrained_cfg.get("fixed_input_size"):
            try:
                return self.found.create(**wanted, strict_img_size=False)  # Swin: any size then
            except ValueError:  # others do not know the word, and may take any size nevertheless
                pass
        try:
            return self.found.create(**wanted)
        except AttributeError as error:
            raise ValueError(f"{self.found.architecture} gives no feature maps: {error}") from error

    def _measured(self, multiple: int) -> PyramidSpec:
        """Channels and strides from a small image."""
        size = (2 * multiple, 3 * multiple)
        mode, self._channels_last = self.net.training, _is_channels_last(self.net)
        self.net.eval()
        try:
            with torch.no_grad():
                maps = self(torch.zeros(1, self.in_channels, *size))
        except (AssertionError, RuntimeError) as error:
            raise ValueError(
                f"{self.found.architecture} does not take images of {size} pixels ({error}); "
                "microtome needs models that take any size"
            ) from error
        self.net.train(mode)
        strides = tuple(tuple(s / m for s, m in zip(size, x.shape[2:], strict=True)) for x in maps)
        return PyramidSpec(tuple(x.shape[1] for x in maps), strides, (multiple,) * len(size))


def _is_channels_last(net: Any) -> bool:
    return str(getattr(net, "output_fmt", "")).endswith("NHWC")
