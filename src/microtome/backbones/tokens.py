"""Tokens that are cut from images, kept, taken, and laid back on their grid."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from . import TokenBackbone, Tokens


def check_divides(multiple: Sequence[int], image: Tensor) -> None:
    """Raise ValueError unless [B, C, *S] can be cut into whole units of `multiple` pixels."""
    shape = image.shape[2:]
    if any(size % unit for size, unit in zip(shape, multiple, strict=True)):
        raise ValueError(
            f"image of {[*shape]} pixels, expected a multiple of {[*multiple]}: pad it, as "
            "ImageList.pad does"
        )


def check_one_batch(vit: TokenBackbone) -> None:
    """Raise ValueError for models that see each channel as an image of its own."""
    if vit.spec.channels != (vit.embed_dim,):
        raise ValueError(
            f"tokens of {vit.embed_dim} channels make a map of {vit.spec.channels[0]}: this model "
            "looks at each channel alone, so nothing can work on its tokens; use its map"
        )


def even_cuts(depth: int, groups: int) -> list[int]:
    """Where each of some groups of blocks begins, and where the last one ends.

    Raises ValueError for less than one group.
    """
    if groups < 1:
        raise ValueError(f"expected at least one group of blocks, got {groups}")
    return [round(i * depth / groups) for i in range(groups + 1)]


def kept(keep: Tensor) -> Tensor:
    """[B, *grid] bool -> [B, n] indices of the kept tokens, in order.

    Raises ValueError when not equally many tokens of each image are kept.
    """
    flat = keep.flatten(1)
    counts = flat.sum(1)
    if not counts.eq(counts[0]).all():
        raise ValueError(f"keep must keep equally many units of each image, got {counts.tolist()}")
    return flat.nonzero()[:, 1].view(len(flat), -1)


def take(x: Tensor, index: Tensor) -> Tensor:
    """[B, N, C] and [B, n] -> [B, n, C]."""
    return x.gather(1, index[..., None].expand(-1, -1, x.shape[2]))


def spread(x: Tensor, keep: Tensor) -> Tensor:
    """Kept tokens [B, n, C] in their places among all [B, N, C], zeros elsewhere."""
    index = kept(keep)[..., None].expand(-1, -1, x.shape[2])
    full = x.new_zeros(len(x), keep[0].numel(), x.shape[2])
    return full.scatter(1, index, x)


def on_grid(tokens: Tokens) -> Tensor:
    """Prefix off: [B, C, *grid], zeros where tokens were dropped."""
    x = tokens.x[:, tokens.prefix :]  # [B, N, C]
    if tokens.keep is not None:
        x = spread(x, tokens.keep)
    maps: Tensor = x.mT.unflatten(2, tokens.grid)
    return maps
